// Files of a cgroup v2 directory (Documentation/admin-guide/cgroup-v2.rst).
#include "linux/cgroup2.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <functional>
#include <limits>
#include <memory>
#include <thread>

#include "base/file.h"
#include "base/parse_number.h"
#include "base/take_field.h"
#include "linux/rooted_path.h"

namespace kata::linux {
namespace {

constexpr size_t kMaxFileBytes = 4u << 20;

// A file of the cgroup to read. A container may hold a lease on it (fcntl(2)): EAGAIN then, where open(2)
// would wait.
Result<UniqueFd> OpenFile(int cgroup_fd, const std::string& name) {
  return OpenAt(cgroup_fd, name, O_RDONLY | O_NONBLOCK);
}

// Gives children of `directory` its controllers. A controller may refuse (busy with processes of the
// directory itself, threaded, none left): the limit that needs it then fails with the name of its file.
Status EnableControllers(const std::string& directory) {
  const UniqueFd file = TRY(OpenFile(AT_FDCWD, directory + "/cgroup.controllers"));
  const std::string controllers = TRY(ReadFd(file.get(), kMaxFileBytes));
  for (const std::string_view name : SplitWords(controllers, " \n")) {
    (void)WriteKnob(directory + "/cgroup.subtree_control", fmt::format("+{}", name));
  }
  return {};
}

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

// One that vanished meanwhile has none.
Result<std::vector<std::string>> ChildCgroups(int cgroup_fd) {
  UniqueFd fd = TRY(OpenAt(cgroup_fd, ".", O_RDONLY | O_DIRECTORY));
  const std::unique_ptr<DIR, CloseDir> dir(fdopendir(fd.get()));
  if (!dir) return SysError("list cgroups");
  (void)fd.Release();  // closedir closes it
  std::vector<std::string> names;
  while (const dirent* entry = readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

// Goes through `root` and all cgroups below it, with one descriptor at a time: a container that makes cgroups
// nests them as deep as its memory lets it, and gives them names that make a path longer than PATH_MAX.
// `leave` is called for each but the root when those below it are done, with the descriptor of its parent.
Status WalkCgroups(UniqueFd root, const std::function<Status(int cgroup_fd)>& enter,
                   const std::function<Status(int parent_fd, const std::string& name)>& leave) {
  struct Level {
    std::string name;
    std::vector<std::string> children;  // that are still to be visited
  };
  UniqueFd current = std::move(root);
  TRY(enter(current.get()));
  std::vector<Level> levels;
  levels.push_back({"", TRY(ChildCgroups(current.get()))});
  for (;;) {
    if (!levels.back().children.empty()) {
      std::string name = std::move(levels.back().children.back());
      levels.back().children.pop_back();
      Result<UniqueFd> child = OpenAt(current.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      if (!child && child.error().sys_errno() == ENOENT) continue;
      current = TRY(std::move(child));
      TRY(enter(current.get()));
      levels.push_back({std::move(name), TRY(ChildCgroups(current.get()))});
      continue;
    }
    if (levels.size() == 1) return {};
    current = TRY(OpenAt(current.get(), "..", O_RDONLY | O_DIRECTORY));
    TRY(leave(current.get(), levels.back().name));
    levels.pop_back();
  }
}

Status AddProcesses(int cgroup_fd, std::vector<pid_t>& pids) {
  const auto read = [&]() -> Result<std::string> {
    return ReadFd(TRY(OpenFile(cgroup_fd, "cgroup.procs")).get(), kMaxFileBytes);
  };
  Result<std::string> text = read();
  // A cgroup may vanish while it is read.
  if (!text && (text.error().sys_errno() == ENOENT || text.error().sys_errno() == ENODEV)) return {};
  const std::string lines = TRY(std::move(text));
  for (const std::string_view line : SplitWords(lines, "\n")) {
    // 0 stands for a process outside of the reader's pid namespace.
    const pid_t pid = ParseNumber<pid_t>(line).value_or(0);
    if (pid > 0) pids.push_back(pid);
  }
  return {};
}

// Children first: a cgroup with children cannot be removed.
Status RemoveCgroups(const std::string& directory) {
  if (rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  if (errno != EBUSY) return SysError("remove cgroup '{}'", directory);
  const auto remove = [&](int parent_fd, const std::string& name) -> Status {
    if (unlinkat(parent_fd, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
    return SysError("remove cgroup '{}' below '{}'", name, directory);
  };
  TRY(WalkCgroups(TRY(kata::Open(directory, O_RDONLY | O_DIRECTORY)), [](int) { return Status(); }, remove));
  if (rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  return SysError("remove cgroup '{}'", directory);
}

}  // namespace

Result<CgroupDir> CgroupDir::Open(const std::string& directory) {
  UniqueFd fd = TRY_CTX(kata::Open(directory, O_RDONLY | O_DIRECTORY), "open cgroup");
  struct statfs info{};
  if (fstatfs(fd.get(), &info) < 0) return SysError("open cgroup '{}'", directory);
  if (info.f_type != CGROUP2_SUPER_MAGIC) {
    return MakeError(Code::kFailedPrecondition, "open cgroup '{}': not on a cgroup2 file system", directory);
  }
  return CgroupDir(directory, std::move(fd));
}

Result<CgroupDir> CgroupDir::Create(const std::string& root, const std::string& path) {
  const std::vector<std::string_view> parts = SplitWords(path, "/");
  if (parts.empty())
    return MakeError(Code::kInvalidArgument, "create cgroup '{}': path names no cgroup", path);
  for (const std::string_view part : parts) {
    if (part == "." || part == "..")
      return MakeError(Code::kInvalidArgument, "create cgroup '{}': '{}' in path", path, part);
  }
  TRY(Open(root));
  std::string directory = root;
  for (const std::string_view part : parts) {
    TRY_CTX(EnableControllers(directory), "create cgroup '{}'", path);
    directory.append("/").append(part);
    if (mkdir(directory.c_str(), 0755) < 0 && errno != EEXIST)
      return SysError("create cgroup '{}'", directory);
  }
  return Open(directory);
}

Status CgroupDir::AddProcess(pid_t pid) const {
  return TRY_CTX(Write("cgroup.procs", fmt::format("{}", pid)), "add process {}", pid), Status();
}

Result<UniqueFd> CgroupDir::OpenProcs() const {
  return OpenAt(fd_.get(), "cgroup.procs", O_WRONLY | O_NONBLOCK);
}

Result<UniqueFd> CgroupDir::OpenBelow(const std::string& path) const {
  std::string relative = ".";
  for (const std::string_view part : SplitWords(path, "/")) {
    if (part == "..")
      return MakeError(Code::kInvalidArgument, "cgroup '{}': .. is not a sub cgroup path", path);
    relative.append("/").append(part);
  }
  constexpr uint64_t kStayBelow = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  return TRY_CTX(OpenAt2(fd_.get(), relative, O_RDONLY | O_DIRECTORY, kStayBelow), "cgroup below '{}'",
                 directory_);
}

bool CgroupDir::HasFile(const std::string& name) const {
  return faccessat(fd_.get(), name.c_str(), F_OK, 0) == 0;
}

Result<std::string> CgroupDir::Read(const std::string& name) const {
  const UniqueFd file = TRY_CTX(OpenFile(fd_.get(), name), "cgroup '{}'", directory_);
  std::string text = TRY_CTX(ReadFd(file.get(), kMaxFileBytes), "cgroup '{}': read '{}'", directory_, name);
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Result<uint64_t> CgroupDir::ReadNumber(const std::string& name) const {
  const std::string text = TRY(Read(name));
  if (text == "max") return std::numeric_limits<uint64_t>::max();
  const std::optional<uint64_t> value = ParseNumber<uint64_t>(text);
  if (!value) {
    return MakeError(Code::kInternal, "cgroup '{}': '{}' holds no number: '{}'", directory_, name,
                     text.substr(0, 64));
  }
  return *value;
}

Result<std::map<std::string, uint64_t>> CgroupDir::ReadKeyedNumbers(const std::string& name) const {
  std::map<std::string, uint64_t> values;
  const std::string text = TRY(Read(name));
  for (std::string_view number : SplitWords(text, "\n")) {
    const std::string_view key = TakeField(number, ' ');
    if (const auto value = ParseNumber<uint64_t>(number)) values[std::string(key)] = *value;
  }
  return values;
}

Status CgroupDir::Write(const std::string& name, std::string_view value) const {
  return TRY_CTX(WriteKnobAt(fd_.get(), name, value), "cgroup '{}': set '{}' to '{}'", directory_, name,
                 value),
         Status();
}

Status CgroupDir::WaitFrozen(bool frozen, Deadline deadline) const {
  const std::string wanted = frozen ? "frozen 1" : "frozen 0";
  const UniqueFd events = TRY_CTX(OpenFile(fd_.get(), "cgroup.events"), "cgroup '{}'", directory_);
  for (;;) {
    // A read re-arms the notification, so no change between read and poll is lost.
    char buffer[256];
    const ssize_t n = pread(events.get(), buffer, sizeof(buffer), 0);
    if (n < 0) return SysError("cgroup '{}': read 'cgroup.events'", directory_);
    if (std::string_view(buffer, static_cast<size_t>(n)).contains(wanted + "\n")) return {};
    TRY_CTX(WaitFd(events.get(), POLLPRI, deadline, fmt::format("'{}'", wanted)), "cgroup '{}'", directory_);
  }
}

Status CgroupDir::SetFrozen(bool frozen, Deadline deadline) const {
  TRY(Write("cgroup.freeze", frozen ? "1" : "0"));
  return WaitFrozen(frozen, deadline);
}

Status CgroupDir::Freeze(Deadline deadline) const {
  Status frozen = SetFrozen(true, deadline);
  // One process that waits in the kernel is enough to keep a cgroup from being frozen; the others are.
  if (!frozen) (void)Write("cgroup.freeze", "0");
  return frozen;
}
Status CgroupDir::Thaw(Deadline deadline) const {
  return SetFrozen(false, deadline);
}

Status CgroupDir::Kill() const {
  return Write("cgroup.kill", "1");
}

Result<bool> CgroupDir::Populated() const {
  const std::map<std::string, uint64_t> events = TRY(ReadKeyedNumbers("cgroup.events"));
  const auto found = events.find("populated");
  return found != events.end() && found->second != 0;
}

Result<std::vector<pid_t>> CgroupDir::Processes() const {
  std::vector<pid_t> pids;
  // The cgroup itself has to be there.
  TRY(OpenFile(fd_.get(), "cgroup.procs"));
  TRY(WalkCgroups(
      TRY(OpenAt(fd_.get(), ".", O_RDONLY | O_DIRECTORY)), [&](int fd) { return AddProcesses(fd, pids); },
      [](int, const std::string&) { return Status(); }));
  return pids;
}

Result<uint64_t> CgroupDir::OomKills() const {
  if (!HasFile("memory.events")) return 0;
  const std::map<std::string, uint64_t> events = TRY(ReadKeyedNumbers("memory.events"));
  const auto found = events.find("oom_kill");
  return found == events.end() ? 0 : found->second;
}

Status CgroupDir::Remove(Deadline deadline) {
  for (;;) {
    Status removed = RemoveCgroups(directory_);
    if (removed) {
      fd_.Reset();
      return {};
    }
    // A process that has ended counts until it is reaped: EBUSY for a moment.
    if (removed.error().sys_errno() != EBUSY || deadline.Passed()) return removed;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

Result<std::string> CgroupOfProcess(pid_t pid) {
  // Version 2 is the hierarchy 0 without controllers (cgroups(7)).
  constexpr std::string_view kHierarchy = "0::";
  const std::string text = TRY(ReadFile(fmt::format("/proc/{}/cgroup", pid)));
  for (const std::string_view line : SplitWords(text, "\n")) {
    if (line.starts_with(kHierarchy)) return std::string(line.substr(kHierarchy.size()));
  }
  return MakeError(Code::kNotFound, "process {} is in no cgroup of version 2", pid);
}

}  // namespace kata::linux
