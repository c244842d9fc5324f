// Storage driver "9p": the directory that the host shares over virtio, by its device's tag.
#include "agent/storage/handlers.h"
#include "agent/storage/storage_options.h"
#include "protocol/constants.h"

namespace kata::agent {

Status MountNineP(const grpc::Storage& storage) {
  StorageOptions options = TRY(ParseStorageOptions(storage, false));
  // The client's default transport is TCP; only virtio makes sense in a guest.
  bool has_transport = false;
  for (const std::string& word : options.rest) has_transport |= word.contains("trans=");
  if (!has_transport) options.rest.push_back("trans=virtio");
  return MountStorage(storage, std::string(protocol::kFsType9p), options.rest);
}

}  // namespace kata::agent
