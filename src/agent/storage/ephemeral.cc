// Storage driver "ephemeral": file systems in the guest's memory.
#include <string>

#include "agent/storage/handlers.h"
#include "agent/storage/storage_options.h"
#include "base/file.h"

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

}  // namespace kata::agent
