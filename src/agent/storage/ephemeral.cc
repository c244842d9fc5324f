// Storage driver "ephemeral": file systems in the guest's memory.
#include <fcntl.h>
#include <sys/mount.h>

#include <string>

#include "agent/storage/handlers.h"
#include "agent/storage/storage_options.h"
#include "base/file.h"
#include "linux/mounts.h"

namespace kata::agent {
namespace {

constexpr std::string_view kHugeTlbFs = "hugetlbfs";
constexpr std::string_view kHugePagesDirectory = "/sys/kernel/mm/hugepages";

// The mount succeeds without pages and the first access then kills its process, so the pages are set aside
// first.
Status ReserveHugePages(const HugePageRequest& request) {
  const std::string knob =
      fmt::format("{}/hugepages-{}kB/nr_hugepages", kHugePagesDirectory, request.page_bytes >> 10);
  const uint64_t wanted = request.size_bytes / request.page_bytes;
  TRY(WriteKnob(knob, fmt::format("{}", wanted)));
  const std::string text = TRY(ReadFile(knob));
  const uint64_t reserved = TRY(ParseByteSize(std::string_view(text).substr(0, text.find('\n'))));
  if (reserved < wanted) {
    return MakeError(Code::kResourceExhausted, "reserve {} huge pages of {} bytes: only {} are free", wanted,
                     request.page_bytes, reserved);
  }
  return {};
}

}  // namespace

Status MountEphemeral(const grpc::Storage& storage) {
  const StorageOptions options = TRY(ParseStorageOptions(storage, false));
  const std::string fs_type = storage.fstype().empty() ? "tmpfs" : storage.fstype();
  if (fs_type == kHugeTlbFs) TRY(ReserveHugePages(TRY(ParseHugePageRequest(options.rest))));
  TRY(MountStorage(storage, fs_type, options.rest));
  if (options.group) TRY(GiveToGroup(storage.mount_point(), *options.group));
  return {};
}

Status RemountEphemeral(const grpc::Storage& storage) {
  // Huge pages are set aside when they are mounted; nothing of them follows a size.
  if (storage.fstype() == kHugeTlbFs) return {};
  const StorageOptions options = TRY(ParseStorageOptions(storage, false));
  const linux::MountOptions parsed = TRY(linux::ParseMountOptions(options.rest));
  const UniqueFd mounted = TRY(Open(storage.mount_point(), O_PATH | O_DIRECTORY));
  // A remount sets all flags anew (mount(2)): those that are not mentioned stay.
  const unsigned long flags = TRY(linux::MountFlagsAt(mounted.get())) & ~parsed.cleared;
  return linux::Mount("", storage.mount_point(), "", MS_REMOUNT | flags | parsed.flags, parsed.data);
}

}  // namespace kata::agent
