#include "cli/bundle.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/file.h"
#include "linux/namespaces.h"
#include "oci/json.h"
#include "sandbox/pod.h"
#include "sandbox/pod_namespaces.h"

namespace kata::cli {
namespace {

constexpr char kSpecFile[] = "/config.json";

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

Status CheckSpec(const oci::Spec& spec) {
  TRY(oci::Validate(spec));
  const char* missing = !spec.process ? "process" : !spec.root ? "root" : !spec.linux ? "linux" : nullptr;
  if (missing != nullptr) return MakeError(Code::kInvalidArgument, "{}: it is missing", missing);
  return {};
}

// Namespaces of the host that a container cannot be given, and why.
struct HostsOwn {
  std::string_view type;
  std::string_view reason;
};
constexpr HostsOwn kHostsOwn[] = {{"pid", "the processes of a virtual machine are its kernel's own"},
                                  {"ipc", "a virtual machine shares no memory with the host"}};

Error RefuseHostNamespace(const HostsOwn& kind, std::string_view how) {
  return MakeError(Code::kInvalidArgument,
                   "host {} namespace is not supported: {}; give the container one of its own "
                   "(linux.namespaces {})",
                   kind.type, kind.reason, how);
}

// An absent entry means the runtime's own namespace, hence the host's. (Others may also be named by a path.)
Status CheckHostNamespaces(const oci::Linux& section) {
  for (const HostsOwn& kind : kHostsOwn) {
    const auto entry = std::ranges::find(section.namespaces, kind.type, &oci::Namespace::type);
    if (entry != section.namespaces.end()) continue;
    return RefuseHostNamespace(kind, fmt::format("has no entry '{}'", kind.type));
  }
  return {};
}

// Containers have a mount namespace of their own; those of this runtime are a kata-shim.
Result<bool> IsOfContainer(pid_t pid) {
  if (sandbox::IsKataShim(pid)) return true;
  const linux::NamespaceFd own = TRY(linux::NamespaceFd::OfProcess(0, CLONE_NEWNS));
  return !TRY(own.IsSameAs(TRY(linux::NamespaceFd::OfProcess(pid, CLONE_NEWNS))));
}

Error OfAnotherContainer(const oci::Namespace& entry) {
  return MakeError(
      Code::kInvalidArgument,
      "the {0} namespace of another container cannot be shared: each container has a virtual machine "
      "of its own; {1} (linux.namespaces names '{2}')",
      entry.type,
      entry.type == "network" ? "connect both to one network of the engine, or create them in a pod"
                              : "create both in a pod",
      entry.path);
}

// Others cannot share a kernel's objects; and the network would be taken away from the container that has it.
Status CheckOthersNamespace(const oci::Namespace& entry) {
  const int flag = TRY(linux::FindNamespaceKind(entry.type)).clone_flag;
  const pid_t pid = sandbox::ProcessOfNamespace(entry.path);
  if (pid != 0 && TRY_CTX(IsOfContainer(pid), "join {} namespace '{}'", entry.type, entry.path)) {
    return OfAnotherContainer(entry);
  }
  const auto* const kind = std::ranges::find(kHostsOwn, entry.type, &HostsOwn::type);
  const bool hosts_own = kind != std::end(kHostsOwn);
  // Engines make the others for a pod, and name them to its first container.
  if (!hosts_own && flag != CLONE_NEWCGROUP && flag != CLONE_NEWTIME) return {};
  const auto name_space = TRY_CTX(linux::NamespaceFd::FromPath(entry.path, flag), "linux.namespaces");
  const bool own = TRY(name_space.IsOwn());
  if (hosts_own) return own ? RefuseHostNamespace(*kind, fmt::format("names '{}'", entry.path)) : Status();
  if (own) return {};  // as if it were not listed
  return MakeError(Code::kInvalidArgument,
                   "the {} namespace '{}' cannot be joined: the container has a kernel of its own",
                   entry.type, entry.path);
}

// A pod's containers are in one machine and share what they like, which its sandbox server looks at.
Status CheckOthersNamespaces(const oci::Spec& spec) {
  const bool in_pod = !sandbox::PodSandboxOf(spec.annotations).empty();
  for (const oci::Namespace& entry : spec.linux->namespaces) {
    if (entry.path.empty() || entry.type == "user") continue;
    if (entry.type == "mount") {
      return MakeError(Code::kUnimplemented, "joining a mount namespace is not supported: '{}'", entry.path);
    }
    if (!in_pod) TRY(CheckOthersNamespace(entry));
  }
  return {};
}

}  // namespace

Result<oci::Spec> ReadSpec(const std::string& bundle_path) {
  const std::string file = bundle_path + kSpecFile;
  const std::string text = TRY_CTX(ReadConfig(file), "read specification");
  return TRY_CTX(oci::ParseSpec(text), "read specification '{}'", file);
}

Result<Bundle> LoadBundle(const std::string& path) {
  const std::unique_ptr<char, decltype(&free)> resolved(realpath(path.c_str(), nullptr), &free);
  if (!resolved) return SysError("open bundle '{}'", path);
  Bundle bundle;
  bundle.path = resolved.get();
  TRY_CTX(CheckDirectory(bundle.path), "open bundle");

  bundle.spec = TRY(ReadSpec(bundle.path));
  TRY_CTX(CheckSpec(bundle.spec), "read specification '{}{}'", bundle.path, kSpecFile);
  TRY(CheckHostNamespaces(*bundle.spec.linux));
  TRY(CheckOthersNamespaces(bundle.spec));

  const std::string& root = bundle.spec.root->path;
  bundle.rootfs = root.starts_with('/') ? root : bundle.path + "/" + root;
  TRY_CTX(CheckDirectory(bundle.rootfs), "open root file system");
  return bundle;
}

}  // namespace kata::cli
