// Storage driver "local": a directory of the guest's own, for volumes that containers of a sandbox share.
#include <sys/stat.h>

#include "agent/storage/handlers.h"
#include "agent/storage/storage_options.h"

namespace kata::agent {

Status MountLocal(const grpc::Storage& storage) {
  const StorageOptions options = TRY(ParseStorageOptions(storage, true));
  if (options.mode && chmod(storage.mount_point().c_str(), *options.mode) != 0) {
    return SysError("set mode of '{}'", storage.mount_point());
  }
  if (options.group) TRY(GiveToGroup(storage.mount_point(), *options.group));
  return {};
}

}  // namespace kata::agent
