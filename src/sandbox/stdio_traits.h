// What of a process's stdio on the host the guest has to know to make the same of it.
#pragma once

namespace kata::sandbox {

struct StdioTraits {
  bool null_stdin = false;      // stdin is /dev/null, a device that the guest has as well
  bool plain_newlines = false;  // a terminal that was set to put no carriage return before a new line
};

}  // namespace kata::sandbox
