#include "agent/storage/storage_options.h"

#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <limits>

#include "base/parse_number.h"
#include "base/take_field.h"
#include "linux/mounts.h"

namespace kata::agent {
namespace {

Result<uint32_t> ParseOption(std::string_view word, std::string_view digits, int base) {
  const std::optional<uint32_t> value = ParseNumber<uint32_t>(digits, base);
  if (!value) return MakeError(Code::kInvalidArgument, "option '{}': not a number", word);
  return *value;
}

}  // namespace

Result<StorageOptions> ParseStorageOptions(const grpc::Storage& storage, bool take_mode) {
  constexpr std::string_view kGroup = "fsgid=";
  constexpr std::string_view kMode = "mode=";
  StorageOptions options;
  for (const std::string& word : storage.options()) {
    const std::string_view text = word;
    if (text.starts_with(kGroup)) {
      options.group = TRY(ParseOption(word, text.substr(kGroup.size()), 10));
    } else if (take_mode && text.starts_with(kMode)) {
      const uint32_t mode = TRY(ParseOption(word, text.substr(kMode.size()), 8));
      if (mode > 07777) return MakeError(Code::kInvalidArgument, "option '{}': not a file mode", word);
      options.mode = mode;
    } else {
      options.rest.push_back(word);
    }
  }
  return options;
}

Status MountStorage(const grpc::Storage& storage, const std::string& fs_type,
                    const std::vector<std::string>& options) {
  const linux::MountOptions parsed = TRY(linux::ParseMountOptions(options));
  TRY(linux::Mount(storage.source(), storage.mount_point(), fs_type, parsed.flags, parsed.data));
  // A bind mount takes its other flags only by a remount (mount(2)).
  if (parsed.IsBind() && (parsed.flags & ~(MS_BIND | MS_REC)) != 0) {
    TRY(linux::Mount("", storage.mount_point(), "", MS_REMOUNT | MS_BIND | (parsed.flags & ~MS_REC)));
  }
  for (const unsigned long propagation : parsed.propagation) {
    TRY(linux::Mount("", storage.mount_point(), "", propagation));
  }
  return {};
}

Status GiveToGroup(const std::string& path, gid_t group) {
  struct stat info{};
  if (chown(path.c_str(), static_cast<uid_t>(-1), group) != 0) {
    return SysError("give '{}' to group {}", path, group);
  }
  if (stat(path.c_str(), &info) != 0) return SysError("stat '{}'", path);
  if (chmod(path.c_str(), (info.st_mode & 07777) | S_ISGID) != 0) return SysError("set mode of '{}'", path);
  return {};
}

Result<HugePageRequest> ParseHugePageRequest(const std::vector<std::string>& options) {
  constexpr std::string_view kPageSize = "pagesize=";
  constexpr std::string_view kSize = "size=";
  HugePageRequest request;
  for (const std::string& word : options) {
    std::string_view rest = word;
    while (!rest.empty()) {
      const std::string_view part = TakeField(rest, ',');
      if (part.starts_with(kPageSize)) {
        request.page_bytes = TRY_CTX(ParseByteSize(part.substr(kPageSize.size())), "option '{}'", part);
      } else if (part.starts_with(kSize)) {
        request.size_bytes = TRY_CTX(ParseByteSize(part.substr(kSize.size())), "option '{}'", part);
      }
    }
  }
  if (request.page_bytes == 0) return Error(Code::kInvalidArgument, "option 'pagesize' is missing");
  if (request.size_bytes == 0) return Error(Code::kInvalidArgument, "option 'size' is missing");
  return request;
}

Result<uint64_t> ParseByteSize(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return MakeError(Code::kInvalidArgument, "'{}' is not a size", text);
  std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  if (unit.ends_with('B')) unit.remove_suffix(1);
  if (unit.ends_with('i')) unit.remove_suffix(1);
  int shift = 0;
  if (unit == "k" || unit == "K") {
    shift = 10;
  } else if (unit == "m" || unit == "M") {
    shift = 20;
  } else if (unit == "g" || unit == "G") {
    shift = 30;
  } else if (!unit.empty()) {
    return MakeError(Code::kInvalidArgument, "'{}' is not a size", text);
  }
  if (value > std::numeric_limits<uint64_t>::max() >> shift) {
    return MakeError(Code::kInvalidArgument, "'{}' is too large", text);
  }
  return value << shift;
}

}  // namespace kata::agent
