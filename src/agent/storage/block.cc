// Storage drivers "blk", "mmioblk", "scsi" and "nvdimm": a file system on a block device that the host has
// plugged in.
#include <string>

#include "agent/device/devices.h"
#include "agent/guest_program.h"
#include "agent/storage/handlers.h"
#include "agent/storage/storage_options.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

constexpr std::chrono::seconds kMkfsTimeout{50};

// The device is new and empty: no journal to be replayed, no blocks kept for root, small inodes for many
// files.
Status CreateFilesystem(const grpc::Storage& storage) {
  if (storage.fstype() != "ext4") {
    return MakeError(Code::kUnimplemented, "create a file system of type '{}': only ext4 is supported",
                     storage.fstype());
  }
  const std::string program = TRY_CTX(FindGuestProgram("mkfs.ext4"), "create a file system");
  TRY(RunGuestProgram({program,
                       {"-F", "-O", "^has_journal", "-m", "0", "-i", "163840", "-I", "128", storage.source()},
                       {},
                       {}},
                      Deadline::After(kMkfsTimeout)));
  return {};
}

}  // namespace

Status PrepareBlock(const StorageContext& context, grpc::Storage& storage) {
  const BlockDevice device = TRY(FindBlockDevice(DeviceFinder(), storage.driver(), storage.source(),
                                                 Deadline::After(context.hotplug_timeout)));
  storage.set_source(device.node);
  return {};
}

Status MountBlock(const grpc::Storage& storage) {
  for (const std::string& option : storage.driver_options()) {
    if (option.starts_with("encryption_key=")) {
      return MakeError(Code::kUnimplemented, "driver option '{}': encrypted storages are not supported",
                       option);
    }
    if (option == "create_filesystem" || option == "create_filesystem=true") TRY(CreateFilesystem(storage));
  }
  const StorageOptions options = TRY(ParseStorageOptions(storage, false));
  TRY(MountStorage(storage, storage.fstype(), options.rest));
  if (options.group) TRY(GiveToGroup(storage.mount_point(), *options.group));
  return {};
}

}  // namespace kata::agent
