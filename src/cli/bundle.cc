#include "cli/bundle.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>

#include "base/file.h"
#include "linux/namespaces.h"
#include "oci/json.h"
#include "sandbox/pod.h"

namespace kata::cli {
namespace {

Result<std::string> ReadConfig(const std::string& file) {
  // Without O_NONBLOCK the open of a FIFO would wait for a writer.
  const UniqueFd fd = TRY(Open(file, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat info{};
  if (fstat(fd.get(), &info) < 0) return SysError("stat '{}'", file);
  if (!S_ISREG(info.st_mode)) return MakeError(Code::kInvalidArgument, "'{}' is not a regular file", file);
  return TRY_CTX(ReadFd(fd.get(), oci::kMaxConfigBytes), "'{}'", file);
}

Status CheckDirectory(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) < 0) return SysError("'{}'", path);
  if (!S_ISDIR(info.st_mode)) return MakeError(Code::kInvalidArgument, "'{}' is not a directory", path);
  return {};
}

Status CheckSections(const oci::Spec& spec) {
  const char* missing = !spec.process ? "process" : !spec.root ? "root" : !spec.linux ? "linux" : nullptr;
  if (missing != nullptr) return MakeError(Code::kInvalidArgument, "{}: it is missing", missing);
  return {};
}

// An absent entry means the runtime's own namespace, hence the host's. (That of the network may also be named
// by a path.)
Status CheckHostNamespaces(const oci::Linux& section) {
  for (const auto& [type, reason] :
       {std::pair("pid", "the processes of a virtual machine are its kernel's own"),
        std::pair("ipc", "a virtual machine shares no memory with the host")}) {
    const bool listed =
        std::any_of(section.namespaces.begin(), section.namespaces.end(),
                    [type = type](const oci::Namespace& entry) { return entry.type == type; });
    if (!listed) {
      return MakeError(Code::kInvalidArgument,
                       "host {} namespace is not supported: {}; give the container one of its own "
                       "(linux.namespaces has no "
                       "entry '{}')",
                       type, reason, type);
    }
  }
  return {};
}

// The process of "/proc/<pid>/ns/<kind>", by which engines name the namespaces of a container; 0: another
// path.
pid_t ProcessOfNamespace(std::string_view path) {
  constexpr std::string_view kProc = "/proc/";
  if (!path.starts_with(kProc)) return 0;
  path.remove_prefix(kProc.size());
  const std::string_view digits = path.substr(0, path.find('/'));
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), pid);
  return error == std::errc() && end == digits.data() + digits.size() ? pid : 0;
}

// Containers have a mount namespace of their own; those of this runtime are a kata-shim.
Result<bool> IsOfContainer(pid_t pid) {
  char program[PATH_MAX];
  const ssize_t length = readlink(fmt::format("/proc/{}/exe", pid).c_str(), program, sizeof program);
  if (length > 0 && std::string_view(program, static_cast<size_t>(length)).ends_with("/kata-shim"))
    return true;
  const linux::NamespaceFd own = TRY(linux::NamespaceFd::OfProcess(0, CLONE_NEWNS));
  return !TRY(own.IsSameAs(TRY(linux::NamespaceFd::OfProcess(pid, CLONE_NEWNS))));
}

// A pod's containers are in one machine and share what they like. Others cannot share a kernel's objects; and
// the network would be taken away from the container that has it.
Status CheckOthersNamespaces(const oci::Spec& spec) {
  if (!sandbox::PodSandboxOf(spec.annotations).empty()) return {};
  for (const oci::Namespace& entry : spec.linux->namespaces) {
    if (entry.type != "network" && entry.type != "pid" && entry.type != "ipc") continue;
    const pid_t pid = ProcessOfNamespace(entry.path);
    if (pid == 0 || !TRY_CTX(IsOfContainer(pid), "join {} namespace '{}'", entry.type, entry.path)) continue;
    return MakeError(
        Code::kInvalidArgument,
        "the {0} namespace of another container cannot be shared: each container has a virtual machine "
        "of its own; {1} (linux.namespaces names '{2}')",
        entry.type,
        entry.type == "network" ? "connect both to one network of the engine, or create them in a pod"
                                : "create both in a pod",
        entry.path);
  }
  return {};
}

}  // namespace

Result<Bundle> LoadBundle(const std::string& path) {
  const std::unique_ptr<char, decltype(&free)> resolved(realpath(path.c_str(), nullptr), &free);
  if (!resolved) return SysError("open bundle '{}'", path);
  Bundle bundle;
  bundle.path = resolved.get();
  TRY_CTX(CheckDirectory(bundle.path), "open bundle");

  const std::string file = bundle.path + "/config.json";
  const std::string text = TRY_CTX(ReadConfig(file), "read specification");
  bundle.spec = TRY_CTX(oci::ParseSpec(text), "read specification '{}'", file);
  TRY_CTX(oci::Validate(bundle.spec), "read specification '{}'", file);
  TRY_CTX(CheckSections(bundle.spec), "read specification '{}'", file);
  TRY(CheckHostNamespaces(*bundle.spec.linux));
  TRY(CheckOthersNamespaces(bundle.spec));

  const std::string& root = bundle.spec.root->path;
  bundle.rootfs = root.starts_with('/') ? root : bundle.path + "/" + root;
  TRY_CTX(CheckDirectory(bundle.rootfs), "open root file system");
  return bundle;
}

}  // namespace kata::cli
