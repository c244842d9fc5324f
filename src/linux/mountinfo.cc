// Parser of mountinfo lines.
#include "linux/mountinfo.h"

#include <charconv>

#include "base/file.h"

namespace kata::linux {
namespace {

Error Malformed(std::string_view what) {
  return MakeError(Code::kInvalidArgument, "parse mountinfo: {}", what);
}

// Cuts the next field off `rest`; fields are separated by exactly one space.
std::string_view NextField(std::string_view& rest) {
  const size_t end = rest.find(' ');
  const std::string_view field = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return field;
}

template <typename T>
bool ParseNumber(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
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
    const size_t end = list.find(',');
    if (list.substr(0, end) == word) return true;
    if (end == std::string_view::npos) break;
    list.remove_prefix(end + 1);
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
  std::string_view rest = line;
  if (!ParseNumber(NextField(rest), info.id)) return Malformed("mount id");
  if (!ParseNumber(NextField(rest), info.parent_id)) return Malformed("parent id");
  const std::string_view device = NextField(rest);
  const size_t colon = device.find(':');
  if (colon == std::string_view::npos || !ParseNumber(device.substr(0, colon), info.major) ||
      !ParseNumber(device.substr(colon + 1), info.minor)) {
    return Malformed("device number");
  }
  info.root = Unescape(NextField(rest));
  info.mount_point = Unescape(NextField(rest));
  info.options = NextField(rest);
  if (info.root.empty() || info.mount_point.empty() || info.options.empty())
    return Malformed("too few fields");
  for (;;) {
    if (rest.empty()) return Malformed("separator missing");
    const std::string_view field = NextField(rest);
    if (field == "-") break;
    info.optional_fields.emplace_back(field);
  }
  info.fs_type = Unescape(NextField(rest));
  if (info.fs_type.empty()) return Malformed("file system type");
  // An empty source is legal: mount("", ...) leaves two spaces in a row.
  info.source = Unescape(NextField(rest));
  info.super_options = rest;
  return info;
}

Result<std::vector<MountInfo>> ParseMountInfo(std::string_view text) {
  std::vector<MountInfo> mounts;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (!line.empty()) mounts.push_back(TRY(ParseMountInfoLine(line)));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
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
