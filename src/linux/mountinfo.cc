// Parser of mountinfo lines.
#include "linux/mountinfo.h"

#include "base/file.h"
#include "base/parse_number.h"
#include "base/take_field.h"

namespace kata::linux {
namespace {

Error Malformed(std::string_view what) {
  return MakeError(Code::kInvalidArgument, "parse mountinfo: {}", what);
}

template <typename T>
bool ReadNumber(std::string_view text, T& value) {
  const std::optional<T> number = ParseNumber<T>(text);
  if (number) value = *number;
  return number.has_value();
}

bool IsOctal(char c) {
  return c >= '0' && c <= '7';
}

// The kernel writes space, tab, newline and backslash as "\ooo" (seq_path(): mangle_path).
std::string Unescape(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && IsOctal(text[i + 1]) && IsOctal(text[i + 2]) &&
        IsOctal(text[i + 3])) {
      const int value = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
      result += static_cast<char>(value);
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

bool HasWord(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    if (TakeField(list, ',') == word) return true;
  }
  return false;
}

}  // namespace

bool MountInfo::HasOption(std::string_view name) const {
  return HasWord(options, name);
}
bool MountInfo::HasSuperOption(std::string_view name) const {
  return HasWord(super_options, name);
}

Result<MountInfo> ParseMountInfoLine(std::string_view line) {
  if (line.size() > kMaxMountInfoLine) return Malformed("line too long");
  if (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  MountInfo info;
  // Fields are separated by exactly one space.
  std::string_view rest = line;
  if (!ReadNumber(TakeField(rest, ' '), info.id)) return Malformed("mount id");
  if (!ReadNumber(TakeField(rest, ' '), info.parent_id)) return Malformed("parent id");
  std::string_view device = TakeField(rest, ' ');
  if (!ReadNumber(TakeField(device, ':'), info.major) || !ReadNumber(device, info.minor)) {
    return Malformed("device number");
  }
  info.root = Unescape(TakeField(rest, ' '));
  info.mount_point = Unescape(TakeField(rest, ' '));
  info.options = TakeField(rest, ' ');
  if (info.root.empty() || info.mount_point.empty() || info.options.empty())
    return Malformed("too few fields");
  for (;;) {
    if (rest.empty()) return Malformed("separator missing");
    const std::string_view field = TakeField(rest, ' ');
    if (field == "-") break;
    info.optional_fields.emplace_back(field);
  }
  info.fs_type = Unescape(TakeField(rest, ' '));
  if (info.fs_type.empty()) return Malformed("file system type");
  // An empty source is legal: mount("", ...) leaves two spaces in a row.
  info.source = Unescape(TakeField(rest, ' '));
  info.super_options = rest;
  return info;
}

Result<std::vector<MountInfo>> ParseMountInfo(std::string_view text) {
  std::vector<MountInfo> mounts;
  while (!text.empty()) {
    const std::string_view line = TakeField(text, '\n');
    if (!line.empty()) mounts.push_back(TRY(ParseMountInfoLine(line)));
  }
  return mounts;
}

Result<std::vector<MountInfo>> ReadMountInfo(const std::string& path) {
  return ParseMountInfo(TRY(ReadFile(path, kMaxMountInfoBytes)));
}

const MountInfo* FindMount(const std::vector<MountInfo>& mounts, std::string_view mount_point) {
  for (auto it = mounts.rbegin(); it != mounts.rend(); ++it) {
    if (it->mount_point == mount_point) return &*it;
  }
  return nullptr;
}

}  // namespace kata::linux
