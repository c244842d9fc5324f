#include "agent/guest_boot.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <string_view>
#include <thread>

#include "agent/container_limits.h"
#include "base/file.h"
#include "base/unique_fd.h"
#include "linux/cgroup2.h"
#include "linux/mounts.h"
#include "linux/netlink/route.h"
#include "linux/rlimits.h"

namespace kata::agent {
namespace {

constexpr char kCgroupRoot[] = "/sys/fs/cgroup";
constexpr uint64_t kAgentMemoryReserve = 16u << 20;
// Ten times the default: the agent answers also when containers use all CPUs.
constexpr char kAgentCpuWeight[] = "1000";
constexpr rlim_t kMaxOpenFiles = 1u << 20;
constexpr std::chrono::seconds kSyncTimeout{2};

struct EarlyMount {
  const char* source;
  const char* target;
  const char* type;
  unsigned long flags;
  const char* data;
};

constexpr EarlyMount kEarlyMounts[] = {
    {"proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""},
    {"sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""},
    {"devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755"},
    {"devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666"},
    {"shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
    {"run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"},
    {"tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
    {"cgroup2", kCgroupRoot, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME, "nsdelegate"},
};

struct EarlyLink {
  const char* path;
  const char* target;
};

constexpr EarlyLink kEarlyLinks[] = {
    {"/dev/fd", "/proc/self/fd"},       {"/dev/stdin", "/proc/self/fd/0"}, {"/dev/stdout", "/proc/self/fd/1"},
    {"/dev/stderr", "/proc/self/fd/2"}, {"/dev/ptmx", "pts/ptmx"},
};

bool RootIsInitramfs() {
  struct statfs info{};
  if (statfs("/", &info) != 0) return false;
  return info.f_type == RAMFS_MAGIC || info.f_type == TMPFS_MAGIC;
}

// pivot_root(2) refuses to work while the root is the kernel's initial rootfs, and containers need it. So the
// root becomes a tmpfs. The initramfs stays below it for this program's own text alone; read-only, so that no
// container can overwrite the program through /proc/<pid>/exe.
Status MoveRootToTmpfs() {
  constexpr char kNewRoot[] = "/new_root";
  if (mkdir(kNewRoot, 0755) != 0 && errno != EEXIST) return SysError("make '{}'", kNewRoot);
  TRY(linux::Mount("root", kNewRoot, "tmpfs", MS_NOSUID, "mode=0755"));
  if (chdir(kNewRoot) != 0) return SysError("enter '{}'", kNewRoot);
  TRY(linux::Mount("", "/", "", MS_REMOUNT | MS_RDONLY));
  TRY(linux::Mount(".", "/", "", MS_MOVE));
  if (chroot(".") != 0) return SysError("change the root to '{}'", kNewRoot);
  if (chdir("/") != 0) return SysError("enter '/'");
  return {};
}

Status MountEarly(const EarlyMount& mount) {
  TRY(MakeDirectories(mount.target));
  Status mounted = linux::Mount(mount.source, mount.target, mount.type, mount.flags, mount.data);
  // A kernel may have mounted its devtmpfs itself (CONFIG_DEVTMPFS_MOUNT); the same again is refused.
  if (!mounted && mounted.error().sys_errno() == EBUSY) return {};
  return mounted;
}

Status LinkEarly(const EarlyLink& link) {
  if (unlink(link.path) != 0 && errno != ENOENT) return SysError("replace '{}'", link.path);
  if (symlink(link.target, link.path) != 0) return SysError("link '{}' to '{}'", link.path, link.target);
  return {};
}

// A kernel without console starts PID 1 without standard streams; a descriptor opened later must not become
// one.
void FillStandardStreams() {
  while (true) {
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    if (fd > STDERR_FILENO) {
      ::close(fd);
      return;
    }
  }
}

Status SetHostName() {
  const Result<std::string> text = ReadFile("/etc/hostname", 4096);
  std::string name = text ? text->substr(0, text->find('\n')) : std::string();
  if (name.empty()) name = "kata";
  if (sethostname(name.data(), name.size()) != 0) return SysError("set host name '{}'", name);
  return {};
}

void Note(std::vector<std::string>& problems, const Status& status) {
  if (!status) problems.push_back(status.error().message());
}

void OnCrash(int signal) {
  // Async-signal-safe calls only.
  char line[] = "<2>kata-agent: fatal signal 00\n";
  const size_t digits = sizeof line - 4;
  line[digits] = static_cast<char>('0' + signal / 10);
  line[digits + 1] = static_cast<char>('0' + signal % 10);
  const int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
  if (fd >= 0) (void)!write(fd, line, sizeof line - 1);
  reboot(RB_POWER_OFF);
  _exit(128 + signal);
}

}  // namespace

bool InInitialPidNamespace() {
  constexpr ino_t kInitialPidNamespace = 0xEFFFFFFC;  // the kernel's PROC_PID_INIT_INO
  struct stat info{};
  return stat("/proc/self/ns/pid", &info) == 0 && info.st_ino == kInitialPidNamespace;
}

bool IsGuestInit() {
  // At the start of a machine there is no /proc yet.
  return getpid() == 1 && (InInitialPidNamespace() || access("/proc/self", F_OK) != 0);
}

Result<std::vector<std::string>> BootGuest() {
  umask(022);
  if (RootIsInitramfs()) TRY_CTX(MoveRootToTmpfs(), "move the root");
  for (const EarlyMount& mount : kEarlyMounts) TRY(MountEarly(mount));
  FillStandardStreams();

  std::vector<std::string> problems;
  for (const EarlyLink& link : kEarlyLinks) Note(problems, LinkEarly(link));
  Note(problems, linux::BringUpLoopback());
  Note(problems, SetHostName());
  return problems;
}

std::vector<std::string> ProtectAgent(const std::string& cgroup_root, bool allow_core_dump) {
  std::vector<std::string> problems;
  if (!cgroup_root.empty()) {
    const Result<linux::CgroupDir> cgroup = linux::CgroupDir::Create(cgroup_root, "/kata-agent");
    if (cgroup) {
      Note(problems, cgroup->AddProcess(getpid()));
      Note(problems, cgroup->Write("memory.min", fmt::format("{}", kAgentMemoryReserve)));
      Note(problems, cgroup->Write("cpu.weight", kAgentCpuWeight));
    } else {
      problems.push_back(cgroup.error().message());
    }
    const Result<ContainerLimits> limits = LimitContainers(cgroup_root);
    if (!limits) problems.push_back(limits.error().message());
  }
  for (std::string& problem : SetSharedLimits()) problems.push_back(std::move(problem));
  Note(problems, WriteKnob("/proc/self/oom_score_adj", "-1000"));
  Note(problems, linux::SetRlimit("RLIMIT_NOFILE", kMaxOpenFiles, kMaxOpenFiles));
  // The kernel's default depends on the guest's memory and would reach the containers, which cgroups limit.
  Note(problems, linux::SetRlimit("RLIMIT_NPROC", RLIM_INFINITY, RLIM_INFINITY));
  if (!allow_core_dump) Note(problems, linux::SetRlimit("RLIMIT_CORE", 0, RLIM_INFINITY));
  return problems;
}

void PowerOff() {
  static std::atomic<bool> synced = false;
  // sync(2) waits for the host where a file system lives there, and it may be dead.
  std::thread([] {
    sync();
    synced = true;
  }).detach();
  for (auto waited = std::chrono::milliseconds(0); !synced && waited < kSyncTimeout;
       waited += std::chrono::milliseconds(10)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  reboot(RB_POWER_OFF);
  // A machine that cannot switch itself off.
  reboot(RB_HALT_SYSTEM);
  while (true) pause();
}

void HandleCrashes() {
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS}) {
    struct sigaction action{};
    action.sa_handler = OnCrash;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(signal, &action, nullptr);
  }
}

void WriteKernelLog(const std::string& line) {
  const Result<UniqueFd> kmsg = Open("/dev/kmsg", O_WRONLY);
  if (!kmsg) return;
  const std::string text = fmt::format("<2>kata-agent: {}\n", line);
  (void)!write(kmsg->get(), text.data(), text.size());
}

}  // namespace kata::agent
