// Storage driver "overlayfs": layers in the guest as one file system.
#include <string>

#include "agent/storage/handlers.h"
#include "agent/storage/storage_options.h"
#include "base/file.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

// Options that are the agent's, not the kernel's.
constexpr std::string_view kOptionPrefix = "io.katacontainers.fs-opt.";
constexpr std::string_view kOptionWritable = "io.katacontainers.fs-opt.overlay-rw";
constexpr std::string_view kCreateDirectory = "io.katacontainers.volume.overlayfs.create_directory=";

}  // namespace

Status PrepareOverlay(const StorageContext& context, grpc::Storage& storage) {
  for (const std::string& option : storage.driver_options()) {
    if (option.starts_with(kCreateDirectory)) TRY(MakeDirectories(option.substr(kCreateDirectory.size())));
  }
  bool writable = false;
  google::protobuf::RepeatedPtrField<std::string> options;
  for (const std::string& option : storage.options()) {
    writable = writable || option == kOptionWritable;
    if (!option.starts_with(kOptionPrefix)) *options.Add() = option;
  }
  if (writable) {
    if (context.container_id.empty()) {
      return MakeError(Code::kInvalidArgument, "option '{}' needs a container", kOptionWritable);
    }
    // In the container's bundle directory, which goes with the container.
    const std::string base = fmt::format("{}/{}", protocol::kGuestBundlesDirectory, context.container_id);
    for (const char* name : {"upper", "work"}) {
      TRY(MakeDirectories(fmt::format("{}/{}", base, name)));
      *options.Add() = fmt::format("{}dir={}/{}", name, base, name);
    }
  }
  storage.mutable_options()->Swap(&options);
  return {};
}

Status MountOverlay(const grpc::Storage& storage) {
  return MountStorage(storage, "overlay", TRY(ParseStorageOptions(storage, false)).rest);
}

}  // namespace kata::agent
