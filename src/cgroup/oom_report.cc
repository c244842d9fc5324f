#include "cgroup/oom_report.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <sstream>
#include <string>
#include <thread>

#include "base/file.h"
#include "base/process.h"
#include "base/scope_exit.h"
#include "cgroup/flat_keyed_file.h"

namespace kata::cgroup {
namespace {

// For a few small processes: far above what their kernel stacks and page tables need.
constexpr size_t kProcessBytes = 64u << 20;
constexpr size_t kVictimBytes = 2 * kProcessBytes;

// 0: none.
Result<pid_t> FindOther(const std::string& directory, const std::vector<pid_t>& bystanders) {
  std::istringstream pids(TRY(ReadFile(directory + "/cgroup.procs")));
  for (pid_t pid = 0; pids >> pid;) {
    if (std::find(bystanders.begin(), bystanders.end(), pid) == bystanders.end()) return pid;
  }
  return 0;
}

// The last processes of the machine may still be ending; the kernel tells only of groups that become empty.
Status AwaitAlone(const std::string& directory, const std::vector<pid_t>& bystanders, Deadline deadline) {
  constexpr std::chrono::milliseconds kPause{10};
  for (;;) {
    const pid_t other = TRY(FindOther(directory, bystanders));
    if (other == 0) return {};
    if (deadline.Passed()) {
      return MakeError(Code::kFailedPrecondition, "process {} is in control group '{}'", other, directory);
    }
    std::this_thread::sleep_for(kPause);
  }
}

// Files in memory, of which the container's volumes may have some, stay charged to the group of the daemon
// that wrote them and cannot be reclaimed: with less the kernel would kill the bystanders as well.
Result<size_t> ChooseLimit(const std::string& directory) {
  return kProcessBytes + FindNumber(TRY(ReadFile(directory + "/memory.stat")), "shmem");
}

// After a fork of a program with threads: only async-signal-safe calls.
[[noreturn]] void BeVictim(int procs_fd, int sync_fd) {
  constexpr size_t kPageBytes = 4096;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int score_fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  // In the group before its limit is lowered: of those that are in it when there is too much in it, the one
  // with the highest score is killed.
  if (write(score_fd, "1000", 4) != 4 || write(procs_fd, "0", 1) != 1) _exit(1);
  char byte = 0;
  if (write(sync_fd, &byte, 1) != 1 || read(sync_fd, &byte, 1) != 1) _exit(1);
  close_range(0, ~0U, 0);  // what the other processes of the sandbox wait for the end of
  // Locked, as there may be swap.
  void* const memory =
      mmap(nullptr, kVictimBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
  if (memory == MAP_FAILED) _exit(1);
  volatile char* const bytes = static_cast<char*>(memory);
  for (size_t offset = 0; offset < kVictimBytes; offset += kPageBytes) bytes[offset] = 1;
  _exit(0);
}

}  // namespace

Status ReportOomKill(const HostCgroup& cgroup, const std::vector<pid_t>& bystanders, Deadline deadline) {
  const std::string* const directory = cgroup.FindController("memory");
  if (directory == nullptr) return {};
  const std::string limit_file = *directory + (cgroup.unified() ? "/memory.max" : "/memory.limit_in_bytes");
  TRY(AwaitAlone(*directory, bystanders, deadline));
  const UniqueFd procs = TRY(Open(*directory + "/cgroup.procs", O_WRONLY));
  const std::string limit = TRY(ReadFile(limit_file));
  SocketPairEnds sync = TRY(MakeSocketPair(SOCK_STREAM));
  const pid_t pid = fork();
  if (pid < 0) return SysError("fork");
  if (pid == 0) BeVictim(procs.get(), sync.second.get());
  ChildProcess victim(pid, TRY(OpenPidfd(pid)));
  sync.second.Reset();
  TRY(WaitFd(sync.first.get(), POLLIN, deadline, "the victim"));
  char byte = 0;
  if (read(sync.first.get(), &byte, 1) != 1) return Error(Code::kInternal, "the victim is not in the group");
  TRY(WriteKnob(limit_file, fmt::format("{}", TRY(ChooseLimit(*directory)))));
  const ScopeExit restore([&] { (void)WriteKnob(limit_file, limit); });
  (void)send(sync.first.get(), &byte, 1, MSG_NOSIGNAL);  // it may be dead already
  const ExitStatus status = TRY(victim.Wait(deadline));
  if (status.signal != SIGKILL) {
    return MakeError(Code::kInternal, "the victim ended with {}", status.Describe());
  }
  return {};
}

}  // namespace kata::cgroup
