// Finding the program to execute, and its environment.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace kata::jail {

// The path to execute for args[0], judged with the calling process's root, working directory and effective
// rights: with a '/' in it as it stands, else the first executable file in the PATH of `environment`. Errors:
// "execute 'nosuch': executable file not found in $PATH" (kNotFound), else those of CannotExecute.
Result<std::string> FindExecutable(const std::string& program, const std::vector<std::string>& environment);

// "execute '/x': no such file or directory": with the errno's text as Go spells it. Docker's client looks for
// that and for "permission denied" to exit with 127 and 126.
Error CannotExecute(const std::string& program, int sys_errno);

// Of several settings of one variable the last counts; HOME is added from /etc/passwd of the current root
// where it is not set ("/" if the user is not found there).
std::vector<std::string> CompleteEnvironment(const std::vector<std::string>& environment, uint32_t uid);

// argv or envp of execve(2): pointers into `strings`, which must outlive them, and a null pointer.
std::vector<char*> PointersTo(const std::vector<std::string>& strings);

}  // namespace kata::jail
