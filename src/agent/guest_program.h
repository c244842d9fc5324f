// Programs of the guest's image that the agent calls where they are: iptables, mkfs, hooks. An initrd with
// nothing but the agent has none.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"

namespace kata::agent {

// The directories where they are, as a PATH names them.
inline constexpr std::string_view kGuestProgramPath = "/usr/sbin:/sbin:/usr/bin:/bin";

// The path of `name` in one of these directories; kUnimplemented "the guest has no program '<name>'".
Result<std::string> FindGuestProgram(std::string_view name);

struct GuestProgram {
  std::string path;
  std::vector<std::string> args;
  std::vector<std::string> environment;  // "K=V"; PATH is set if it is missing
  std::string input;                     // for its standard input
};

// Runs it to its end and returns its standard output, at most 4 MiB of it. Failure: what it wrote to standard
// error (cut to a line's length) with its exit status; kDeadlineExceeded, and it is killed. Blocks; for
// workers.
Result<std::string> RunGuestProgram(const GuestProgram& program, Deadline deadline);

}  // namespace kata::agent
