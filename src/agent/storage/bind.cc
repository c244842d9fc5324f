// Storage driver "bind": a directory of the guest at a second place.
#include "agent/storage/handlers.h"
#include "agent/storage/storage_options.h"

namespace kata::agent {

Status MountBind(const grpc::Storage& storage) {
  StorageOptions options = TRY(ParseStorageOptions(storage, false));
  bool has_bind = false;
  for (const std::string& word : options.rest) has_bind |= word == "bind" || word == "rbind";
  if (!has_bind) options.rest.push_back("bind");
  return MountStorage(storage, "", options.rest);
}

}  // namespace kata::agent
