// What is kept of a guest's console: the last lines, bounded, and those that tell why the kernel gave up.
#pragma once

#include <string>
#include <string_view>

#include "base/line_tail.h"

namespace kata::hypervisor {

// The console of a Linux guest. Not thread safe.
class ConsoleLog {
 public:
  void Append(std::string_view bytes, const LineCallback& on_line);
  void Finish(const LineCallback& on_line);
  // One printable line: why the kernel gave up if it did, else the last lines; empty when there are none.
  std::string Summary() const;

 private:
  void Inspect(std::string_view line);

  LineTail tail_{200, 16u << 10, 256u << 10};
  std::string init_failure_;
  std::string panic_;
};

}  // namespace kata::hypervisor
