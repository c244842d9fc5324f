#include "linux/knob_changes.h"

#include <fcntl.h>

#include <cstddef>

#include "base/file.h"
#include "base/log.h"
#include "base/take_field.h"

namespace kata::linux {
namespace {

constexpr size_t kMaxKnobBytes = 64u << 10;

// For a device that had no line: io.max takes "max" for each of its limits, the files of version 1 take 0.
std::string NoLimit(std::string_view path, std::string_view device, std::string_view settings) {
  std::string line(device);
  while (!settings.empty()) {
    const std::string_view word = TakeField(settings, ' ');
    const size_t equals = word.find('=');
    if (equals != std::string_view::npos) {
      line += " " + std::string(word.substr(0, equals)) + "=max";
    } else {
      line += path.ends_with("io.weight") ? " default" : " 0";
    }
  }
  return line;
}

bool IsSet(int directory_fd, const std::string& path) {
  const Result<UniqueFd> file = OpenAt(directory_fd, path, O_RDONLY);
  if (!file) return false;
  const Result<std::string> content = ReadFd(file->get(), kMaxKnobBytes);
  return content && content->starts_with('1');
}

}  // namespace

std::string ValueBefore(std::string_view path, std::string_view content, std::string_view written) {
  const size_t space = written.find(' ');
  if (space != std::string_view::npos) {
    const std::string_view key = written.substr(0, space);
    for (std::string_view rest = content; !rest.empty();) {
      const std::string_view line = TakeField(rest, '\n');
      if (line.substr(0, line.find(' ')) == key) return std::string(line);
    }
    if (key.contains(':')) return NoLimit(path, key, written.substr(space + 1));
  }
  while (content.ends_with('\n')) content.remove_suffix(1);
  // An empty write would reach no file of the kernel's.
  return content.empty() ? "\n" : std::string(content);
}

void KnobChanges::Remember(int directory_fd, const std::string& path, std::string_view written) {
  const Result<UniqueFd> file = OpenAt(directory_fd, path, O_RDONLY);
  if (!file) return;
  const Result<std::string> content = ReadFd(file->get(), kMaxKnobBytes);
  if (content) before_.push_back({directory_fd, path, ValueBefore(path, *content, written)});
}

Status KnobChanges::Write(int directory_fd, const std::string& path, std::string_view value) {
  constexpr std::string_view kIdle = "cpu.idle";
  const size_t remembered = before_.size();
  // A group that becomes idle loses its weight. What the file of one that is idle shows cannot be written.
  if (path.ends_with(kIdle) && !IsSet(directory_fd, path)) {
    const std::string directory = path.substr(0, path.size() - kIdle.size());
    for (const char* weight : {"cpu.weight", "cpu.shares"}) Remember(directory_fd, directory + weight, {});
  }
  Remember(directory_fd, path, value);
  Status written = WriteKnobAt(directory_fd, path, value);
  if (!written) before_.erase(before_.begin() + static_cast<std::ptrdiff_t>(remembered), before_.end());
  return written;
}

void KnobChanges::Undo() {
  const auto put_back = [](const Knob& knob) {
    return WriteKnobAt(knob.directory_fd, knob.path, knob.value);
  };
  std::vector<Knob> refused;
  for (; !before_.empty(); before_.pop_back()) {
    if (!put_back(before_.back())) refused.push_back(std::move(before_.back()));
  }
  // Some limits bound each other; these had to wait for the others.
  for (const Knob& knob : refused) {
    if (const Status status = put_back(knob); !status) {
      log::Warning("a limit was not put back", {{"value", knob.value}, {"error", status.error().message()}});
    }
  }
}

}  // namespace kata::linux
