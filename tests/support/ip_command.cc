#include "support/ip_command.h"

#include <unistd.h>

#include "base/process.h"
#include "support/result_matchers.h"

namespace kata::test {

void Ip(const std::vector<std::string>& args, int namespace_fd) {
  Command command;
  command.program = "ip";
  command.args = args;
  command.stderr_fd = STDERR_FILENO;
  if (namespace_fd >= 0) command.namespace_fds = {namespace_fd};
  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(command));
  ASSERT_OK_AND_ASSIGN(const ExitStatus status, child.Wait(Deadline::After(std::chrono::seconds(60))));
  ASSERT_EQ(status.ShellCode(), 0) << command.Describe();
}

}  // namespace kata::test
