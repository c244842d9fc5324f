// PATH search as execvp(3) does it, without executing.
#include "jail/exec_path.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <string_view>

#include "base/process.h"
#include "base/take_field.h"
#include "jail/accounts.h"

namespace kata::jail {
namespace {

// 0 or why it cannot be executed; EISDIR, which execve has no word for, lets a search go on.
int CheckExecutable(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) < 0) return errno;
  if (S_ISDIR(info.st_mode)) return EISDIR;
  if (!S_ISREG(info.st_mode)) return EACCES;
  return faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) < 0 ? errno : 0;
}

std::string_view Find(const std::vector<std::string>& environment, std::string_view prefix,
                      std::string_view fallback) {
  for (const std::string& entry : environment) {
    if (entry.starts_with(prefix)) return std::string_view(entry).substr(prefix.size());
  }
  return fallback;
}

}  // namespace

Error CannotExecute(const std::string& program, int sys_errno) {
  Error error = ErrnoError(sys_errno, "");
  std::string reason = error.message();
  if (const size_t letter = reason.find_first_not_of(": "); letter != std::string::npos) {
    reason[letter] = static_cast<char>(std::tolower(static_cast<unsigned char>(reason[letter])));
  }
  return Error(error.code(), fmt::format("execute '{}'{}", program, reason), sys_errno);
}

Result<std::string> FindExecutable(const std::string& program, const std::vector<std::string>& environment) {
  if (program.empty()) return CannotExecute(program, ENOENT);
  if (program.find('/') != std::string::npos) {
    const int error = CheckExecutable(program);
    // EACCES: "the file is not a regular file" (execve(2)). Engines know that word.
    if (error != 0) return CannotExecute(program, error == EISDIR ? EACCES : error);
    return program;
  }
  bool denied = false;
  std::string_view rest = Find(environment, "PATH=", kDefaultSearchPath);
  while (!rest.empty()) {
    const std::string_view directory = TakeField(rest, ':');
    std::string path = fmt::format("{}/{}", directory.empty() ? "." : directory, program);
    const int error = CheckExecutable(path);
    if (error == 0) return path;
    denied = denied || error == EACCES;
  }
  if (denied) return CannotExecute(program, EACCES);
  return MakeError(Code::kNotFound, "execute '{}': executable file not found in $PATH", program);
}

std::vector<std::string> CompleteEnvironment(const std::vector<std::string>& environment, uint32_t uid) {
  std::vector<std::string> result;
  for (const std::string& entry : environment) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    const auto same = std::find_if(result.begin(), result.end(), [&](const std::string& other) {
      return !name.empty() && other.starts_with(name);
    });
    if (same != result.end()) {
      *same = entry;
    } else {
      result.push_back(entry);
    }
  }
  if (Find(result, "HOME=", {}).empty()) {
    std::erase_if(result, [](const std::string& entry) { return entry.starts_with("HOME="); });
    const std::string home = HomeDirectory(ReadPasswd(), uid);
    result.push_back("HOME=" + (home.empty() ? "/" : home));
  }
  return result;
}

std::vector<char*> PointersTo(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  // execve takes char* but does not write to it.
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace kata::jail
