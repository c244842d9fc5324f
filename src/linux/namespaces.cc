// Namespace system calls.
#include "linux/namespaces.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include <csignal>

#include "base/deadline.h"
#include "base/file.h"
#include "base/process.h"
#include "linux/mounts.h"

namespace kata::linux {
namespace {

Status CallOnThread(const std::function<Status()>& function) {
  Status result;
  std::thread([&] { result = function(); }).join();
  return result;
}

// For the calling thread.
Status EnterMountNamespace(int namespace_fd) {
  // A thread that shares root and working directory with others cannot change over (setns(2)).
  TRY(Unshare(CLONE_FS));
  if (setns(namespace_fd, CLONE_NEWNS) < 0) return SysError("join mount namespace");
  return {};
}

}  // namespace

Result<NamespaceKind> FindNamespaceKind(std::string_view oci_name) {
  for (const NamespaceKind& kind : kNamespaceKinds) {
    if (kind.oci_name == oci_name) return kind;
  }
  return MakeError(Code::kInvalidArgument, "unknown namespace '{}'", oci_name);
}

Result<NamespaceFd> NamespaceFd::FromFd(UniqueFd fd, int clone_flag) {
  const int type = ioctl(fd.get(), NS_GET_NSTYPE);
  if (type < 0) return SysError("read namespace type");
  if (type != clone_flag) {
    return MakeError(Code::kInvalidArgument, "expected namespace of type {}, found {}",
                     DescribeNamespaces(clone_flag), DescribeNamespaces(type));
  }
  return NamespaceFd(std::move(fd), clone_flag);
}

Result<NamespaceFd> NamespaceFd::FromPath(const std::string& path, int clone_flag) {
  UniqueFd fd = TRY_CTX(Open(path, O_RDONLY), "open namespace");
  return TRY_CTX(FromFd(std::move(fd), clone_flag), "open namespace '{}'", path);
}

Result<NamespaceFd> NamespaceFd::OfProcess(pid_t pid, int clone_flag) {
  for (const NamespaceKind& kind : kNamespaceKinds) {
    if (kind.clone_flag != clone_flag) continue;
    const std::string process = pid == 0 ? "thread-self" : fmt::format("{}", pid);
    return FromPath(fmt::format("/proc/{}/ns/{}", process, kind.proc_name), clone_flag);
  }
  return MakeError(Code::kInvalidArgument, "unknown namespace flag {:#x}", clone_flag);
}

Status NamespaceFd::Enter() const {
  if (setns(fd_.get(), clone_flag_) < 0)
    return SysError("join {} namespace", DescribeNamespaces(clone_flag_));
  return {};
}

Result<bool> NamespaceFd::IsSameAs(const NamespaceFd& other) const {
  struct stat mine{};
  struct stat theirs{};
  if (fstat(fd_.get(), &mine) < 0 || fstat(other.get(), &theirs) < 0)
    return SysError("read namespace identity");
  return mine.st_dev == theirs.st_dev && mine.st_ino == theirs.st_ino;
}

Result<bool> NamespaceFd::IsOwn() const {
  return IsSameAs(TRY(OfProcess(0, clone_flag_)));
}

Status EnterNamespacesOf(int pidfd, int clone_flags) {
  if (setns(pidfd, clone_flags) < 0) return SysError("join {} namespaces", DescribeNamespaces(clone_flags));
  return {};
}

namespace {

constexpr std::chrono::seconds kChildTimeout{30};

// The error number that the child of StartIdle sends when it is where it shall be, 0 for none.
Status ReadChildsError(int fd) {
  TRY(WaitFd(fd, POLLIN, Deadline::After(kChildTimeout), "a process"));
  int error = 0;
  const ssize_t count = read(fd, &error, sizeof error);
  if (count < 0) return SysError("wait for a process");
  if (count == 0) return MakeError(Code::kAborted, "a process ended before it had said anything");
  if (error != 0) return ErrnoError(error, "enter user namespace");
  return {};
}

// A child that does nothing, born with `clone_flags`, which then enters a user namespace unless that is -1.
Result<ChildProcess> StartIdle(uint64_t clone_flags, int user_namespace) {
  PipeEnds entered = TRY(MakePipe());
  int pidfd = -1;
  clone_args args{};
  args.flags = clone_flags | CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  const pid_t pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof(args)));
  if (pid < 0) return SysError("start a process");
  if (pid == 0) {
    // Only system calls: another thread may have held any lock.
    int error = 0;
    if (user_namespace >= 0 && syscall(SYS_setns, user_namespace, CLONE_NEWUSER) < 0) error = errno;
    syscall(SYS_write, entered.write.get(), &error, sizeof error);
    for (;;) syscall(SYS_pause);
  }
  ChildProcess process(pid, UniqueFd(pidfd));
  entered.write.Reset();  // else its end would not end the wait
  TRY(ReadChildsError(entered.read.get()));
  return process;
}

}  // namespace

Result<NamespaceFd> MakeUserNamespace(const std::string& uid_map, const std::string& gid_map) {
  // The maps are written from outside, so somebody has to be inside meanwhile.
  const ChildProcess inside = TRY_CTX(StartIdle(CLONE_NEWUSER, -1), "create user namespace");
  const std::string directory = fmt::format("/proc/{}/", inside.pid());
  TRY_CTX(WriteKnob(directory + "uid_map", uid_map), "create user namespace: map user ids");
  TRY_CTX(WriteKnob(directory + "gid_map", gid_map), "create user namespace: map group ids");
  return NamespaceFd::OfProcess(inside.pid(), CLONE_NEWUSER);
}

Result<IdMaps> ReadIdMaps(const NamespaceFd& user_namespace) {
  // 340 lines at most (user_namespaces(7)).
  constexpr size_t kMaxBytes = 64u << 10;
  const ChildProcess inside = TRY(StartIdle(0, user_namespace.get()));
  const std::string directory = fmt::format("/proc/{}/", inside.pid());
  return IdMaps{.uids = TRY(ReadFile(directory + "uid_map", kMaxBytes)),
                .gids = TRY(ReadFile(directory + "gid_map", kMaxBytes))};
}

Status CallInMountNamespace(int namespace_fd, const std::function<Status()>& function) {
  if (namespace_fd < 0) return function();
  return CallOnThread([&]() -> Status {
    TRY(EnterMountNamespace(namespace_fd));
    return function();
  });
}

Status CallInMountNamespaceCopy(int namespace_fd, const std::function<Status()>& function) {
  return CallOnThread([&]() -> Status {
    if (namespace_fd >= 0) TRY(EnterMountNamespace(namespace_fd));
    TRY(Unshare(CLONE_NEWNS));
    // The copies of shared mounts are their peers (mount_namespaces(7)).
    TRY(Mount("", "/", "", MS_PRIVATE | MS_REC));
    return function();
  });
}

Status Unshare(int clone_flags) {
  if (unshare(clone_flags) < 0) return SysError("create {} namespaces", DescribeNamespaces(clone_flags));
  return {};
}

std::string DescribeNamespaces(int clone_flags) {
  std::string text;
  for (const NamespaceKind& kind : kNamespaceKinds) {
    if ((clone_flags & kind.clone_flag) == 0) continue;
    if (!text.empty()) text += ", ";
    text += kind.oci_name;
  }
  return text;
}

}  // namespace kata::linux
