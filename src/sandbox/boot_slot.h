// BootSlot: how many virtual machines boot at the same time on a host that emulates their processors.
//
// A boot keeps a processor busy for seconds there. Thirty at once would all take thirty times as long, each
// longer than anybody waits for it; one after the other they are all up by then.
#pragma once

#include <chrono>
#include <string>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::sandbox {

inline constexpr char kBootSlotDirectory[] = "/run/kata-containers-boot";
// The longest that a boot waits for its turn.
inline constexpr std::chrono::seconds kBootSlotTime{300};

// The right to boot, until its end, however that comes: the kernel gives it back.
class BootSlot {
 public:
  // None: nobody has to wait for it.
  BootSlot() = default;

  // Waits for one of `count` slots, which are files in `directory`. kDeadlineExceeded when there was none;
  // kCancelled when `cancel_fd` (borrowed) becomes readable. Blocking.
  static Result<BootSlot> Take(const std::string& directory, unsigned count, Deadline deadline,
                               int cancel_fd);

 private:
  explicit BootSlot(UniqueFd lock) : lock_(std::move(lock)) {}
  UniqueFd lock_;
};

}  // namespace kata::sandbox
