#include "storage/shared_directory.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "base/file.h"
#include "base/scope_exit.h"
#include "base/utf8.h"
#include "linux/mounts.h"
#include "linux/namespaces.h"
#include "protocol/constants.h"
#include "protocol/ids.h"

namespace kata::storage {
namespace {

// A file name has at most 255 bytes, of which digits and dashes take 18.
constexpr size_t kMaxId = 128;
constexpr size_t kMaxBaseName = 100;

std::string BaseName(std::string path) {
  while (path.ends_with('/')) path.pop_back();
  path = path.substr(path.rfind('/') + 1);
  return path.empty() ? "root" : std::string(TruncateUtf8(path, kMaxBaseName));
}

Result<std::string> RandomHex() {
  uint64_t value;
  if (getrandom(&value, sizeof value, 0) != sizeof value) return SysError("read random bytes");
  return fmt::format("{:016x}", value);
}

std::string GuestPath(const std::string& name) {
  return fmt::format("{}/{}", protocol::kGuestSharedDirectory, name);
}

// An empty directory or file at `path`, to be mounted on.
Result<UniqueFd> CreateMountPoint(const std::string& path, bool directory) {
  if (directory) {
    TRY(MakeDirectories(path));
    return Open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  }
  TRY(Open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
  return Open(path, O_PATH | O_NOFOLLOW);
}

void RemoveMountPoint(const std::string& path) {
  if (rmdir(path.c_str()) < 0 && errno == ENOTDIR) unlink(path.c_str());
}

}  // namespace

// A copy of what is mounted at a path, attached nowhere yet.
struct SharedDirectory::Source {
  UniqueFd mount;
  bool is_directory = false;
};

Result<std::unique_ptr<SharedDirectory>> SharedDirectory::Create(const std::string& state_directory,
                                                                 int source_namespace) {
  std::unique_ptr<SharedDirectory> shared(new SharedDirectory(state_directory, source_namespace));
  TRY_CTX(shared->Prepare(), "create shared directory in '{}'", state_directory);
  return shared;
}

SharedDirectory::~SharedDirectory() {
  (void)Destroy();
}

Status SharedDirectory::Prepare() {
  TRY(MakeDirectories(mounts_path_));
  TRY(MakeDirectories(export_path_));
  prepared_ = true;
  // A peer group of its own, whose only slave is the view.
  TRY(linux::Mount(mounts_path_, mounts_path_, "", MS_BIND));
  TRY(linux::Mount("", mounts_path_, "", MS_PRIVATE));
  TRY(linux::Mount("", mounts_path_, "", MS_SHARED));
  TRY(linux::Mount(mounts_path_, export_path_, "", MS_BIND));
  TRY(linux::Mount("", export_path_, "", MS_SLAVE));
  const UniqueFd view = TRY(Open(export_path_, O_PATH | O_DIRECTORY));
  return linux::SetMountAttributes(view.get(), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0,
                                   false);
}

Result<std::string> SharedDirectory::AddRootfs(const std::string& container_id, const std::string& rootfs,
                                               bool read_only) {
  TRY(protocol::CheckContainerId(container_id));
  const std::string name = container_id + "/rootfs";
  std::lock_guard lock(mutex_);
  const Source source =
      TRY_CTX(OpenSource(rootfs, /*recursive=*/true), "share root file system '{}'", rootfs);
  const BindOptions options{
      .set = read_only ? uint64_t{MOUNT_ATTR_RDONLY} : 0, .recursive = true, .slave = true};
  TRY_CTX(Add(container_id, source, name, options), "share root file system '{}'", rootfs);
  return GuestPath(name);
}

Result<std::string> SharedDirectory::AddBindMount(const std::string& container_id, const std::string& source,
                                                  const std::string& destination,
                                                  const BindOptions& options) {
  Source opened;
  const auto open = [&]() -> Status {
    opened = TRY(OpenSource(source, options.recursive));
    if (!options.id_map) return {};
    const linux::NamespaceFd user = TRY(oci::OpenIdMap(*options.id_map));
    return linux::MapMountIds(opened.mount.get(), user.get(), options.id_map->recursive);
  };
  TRY_CTX(linux::CallInMountNamespace(source_namespace_, open), "share '{}'", source);
  return TRY_CTX(AddMount(container_id, opened, destination, options), "share '{}'", source);
}

Result<std::string> SharedDirectory::AddOverlay(const std::string& container_id, const Overlay& overlay,
                                                const std::string& destination, const BindOptions& options) {
  const Source mounted{.mount = TRY(MountOverlay(overlay, source_namespace_, mounts_path_)),
                       .is_directory = true};
  return TRY_CTX(AddMount(container_id, mounted, destination, options), "share overlay");
}

Result<std::string> SharedDirectory::AddMount(const std::string& container_id, const Source& source,
                                              const std::string& destination, const BindOptions& options) {
  TRY(protocol::CheckContainerId(container_id));
  const std::string name =
      fmt::format("{}-{}-{}", container_id.substr(0, kMaxId), TRY(RandomHex()), BaseName(destination));
  std::lock_guard lock(mutex_);
  TRY(Add(container_id, source, name, options));
  return GuestPath(name);
}

Result<SharedDirectory::Source> SharedDirectory::OpenSource(const std::string& path, bool recursive) {
  // Opened once and then named by descriptor: what is checked is what is mounted.
  const UniqueFd fd = TRY(Open(path, O_PATH));
  struct stat status{};
  if (fstat(fd.get(), &status) < 0) return SysError("read status of '{}'", path);
  if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) {
    return Error(Code::kInvalidArgument, "neither a directory nor a regular file");
  }
  return Source{.mount = TRY(linux::CloneMount(fd.get(), "", recursive)),
                .is_directory = S_ISDIR(status.st_mode)};
}

Status SharedDirectory::Add(const std::string& container_id, const Source& source, const std::string& name,
                            const BindOptions& options) {
  // Complete before anybody can see it: slave or private, so that an unmount in here never reaches the host.
  TRY(linux::SetMountPropagation(source.mount.get(), (options.slave ? MS_SLAVE : MS_PRIVATE) | MS_REC));
  if (options.set != 0 || options.clear != 0) {
    Status changed = linux::SetMountAttributes(source.mount.get(), options.set, options.clear, false);
    // What the kernel has locked stays, as under a runtime on a host that is a container itself.
    if (!changed && changed.error().sys_errno() == EPERM)
      changed = linux::SetMountAttributes(source.mount.get(), options.set, 0, false);
    TRY(std::move(changed));
  }
  if (options.recursive_set != 0) {
    TRY(linux::SetMountAttributes(source.mount.get(), options.recursive_set, 0, true));
  }

  const std::string target = mounts_path_ + "/" + name;
  const UniqueFd mount_point = TRY(CreateMountPoint(target, source.is_directory));
  ScopeExit undo([&] { RemoveMountPoint(target); });
  TRY(linux::AttachMount(source.mount.get(), mount_point.get()));
  undo.Release();
  entries_[container_id].push_back(name);
  return {};
}

Status SharedDirectory::Remove(const std::string& container_id) {
  std::lock_guard lock(mutex_);
  return RemoveLocked(container_id);
}

Status SharedDirectory::RemoveLocked(const std::string& container_id) {
  const auto entry = entries_.find(container_id);
  if (entry == entries_.end()) return {};
  std::optional<Error> first_error;
  for (auto name = entry->second.rbegin(); name != entry->second.rend(); ++name) {
    const std::string target = mounts_path_ + "/" + *name;
    if (Status unmounted = linux::UnmountAll(target); !unmounted) {
      if (!first_error) first_error = std::move(unmounted).error();
      continue;
    }
    RemoveMountPoint(target);
  }
  RemoveMountPoint(mounts_path_ + "/" + container_id);
  entries_.erase(entry);
  if (first_error) return std::move(*first_error).Wrap(fmt::format("unshare container '{}'", container_id));
  return {};
}

Status SharedDirectory::Destroy() {
  std::lock_guard lock(mutex_);
  if (!prepared_) return {};
  std::optional<Error> first_error;
  const auto keep = [&](Status status) {
    if (!status && !first_error) first_error = std::move(status).error();
  };
  while (!entries_.empty()) keep(RemoveLocked(entries_.begin()->first));
  for (const std::string& path : {export_path_, mounts_path_}) {
    keep(linux::UnmountAll(path));
    keep(RemoveTree(path));
  }
  prepared_ = false;
  if (first_error) return std::move(*first_error).Wrap("remove shared directory");
  return {};
}

}  // namespace kata::storage
