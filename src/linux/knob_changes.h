// KnobChanges: control files that are changed together or not at all.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kata::linux {

// Remembers what files of control groups held before they were written, and puts it back unless told to keep
// the changes. Not thread safe.
class KnobChanges {
 public:
  KnobChanges() = default;
  KnobChanges(KnobChanges&& other) noexcept : before_(std::exchange(other.before_, {})) {}
  KnobChanges& operator=(KnobChanges&&) = delete;
  ~KnobChanges() { Undo(); }

  // As WriteKnobAt, with its errors. `directory_fd` is borrowed until Keep, Undo or the end of this object.
  Status Write(int directory_fd, const std::string& path, std::string_view value);
  void Keep() { before_.clear(); }
  // In reverse order. What cannot be put back is logged.
  void Undo();

 private:
  struct Knob {
    int directory_fd;
    std::string path;
    std::string value;
  };
  // A file that cannot be read is not put back.
  void Remember(int directory_fd, const std::string& path, std::string_view written);

  std::vector<Knob> before_;
};

// What has to be written to a file with this `content` to take back that `written` was. Some files have a
// line for each device, by its number, and take one such line at a time.
std::string ValueBefore(std::string_view path, std::string_view content, std::string_view written);

}  // namespace kata::linux
