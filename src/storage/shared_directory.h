// The directory of the host that the guest sees: bind mounts of root file systems, volumes and single files.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/id_map.h"
#include "storage/overlay.h"

namespace kata::storage {

struct BindOptions {
  uint64_t set = 0;  // MOUNT_ATTR_*, of the mount itself, not of those below; else they are as the source's
  uint64_t clear = 0;
  uint64_t recursive_set = 0;        // of those below, too
  bool recursive = false;            // with the mounts below
  bool slave = false;                // what the host mounts or unmounts below later is followed
  std::optional<oci::IdMap> id_map;  // but not in mounts that are followed
};

// Below the sandbox's state directory: "mounts", where the bind mounts are made, and "shared", a read-only
// view of it that is exported, so that the guest can write into what is mounted but not beside it. Layout of
// both: <container id>/rootfs and <container id>-<16 hex digits>-<base name of the destination>, with names
// cut to what a file name can hold. The calls need CAP_SYS_ADMIN and a mount namespace of which no other
// process of the host is a peer: else the mounts would appear there too. Thread safe.
class SharedDirectory {
 public:
  // Makes both directories in `state_directory`, which must exist. What is mounted later appears also in
  // mount namespaces that were copied from this one after Create (virtiofsd makes one for itself).
  // `source_namespace`: the mount namespace in which sources of bind mounts are looked up, borrowed; -1: that
  // of the caller, as always for root file systems.
  static Result<std::unique_ptr<SharedDirectory>> Create(const std::string& state_directory,
                                                         int source_namespace = -1);
  ~SharedDirectory();  // Destroy
  SharedDirectory(const SharedDirectory&) = delete;
  SharedDirectory& operator=(const SharedDirectory&) = delete;

  // What to give to virtiofsd or the VMM.
  const std::string& export_path() const { return export_path_; }

  // Each returns the path in the guest. Mounts below `source` come along (AddBindMount: when
  // options.recursive), and those that the host makes there later. `read_only` holds for `rootfs` itself, not
  // for mounts below it.
  Result<std::string> AddRootfs(const std::string& container_id, const std::string& rootfs, bool read_only);
  // `source`: a directory or a regular file; `destination`, the path in the container, only lends its name.
  Result<std::string> AddBindMount(const std::string& container_id, const std::string& source,
                                   const std::string& destination, const BindOptions& options);
  // A new overlay, whose directories are looked up where sources of bind mounts are. Its ids cannot be mapped
  // (options.id_map).
  Result<std::string> AddOverlay(const std::string& container_id, const Overlay& overlay,
                                 const std::string& destination, const BindOptions& options);

  // Unmounts, detached, and removes all of a container, the newest first; goes on after an error and returns
  // the first. A container without anything is success.
  Status Remove(const std::string& container_id);
  // Everything of every container, the mounts of Create and both directories. Idempotent.
  Status Destroy();

 private:
  SharedDirectory(const std::string& state_directory, int source_namespace)
      : mounts_path_(state_directory + "/mounts"),
        export_path_(state_directory + "/shared"),
        source_namespace_(source_namespace) {}
  Status Prepare();
  struct Source;
  static Result<Source> OpenSource(const std::string& path, bool recursive);
  // Mounts `source` under a name for the destination; returns the path in the guest.
  Result<std::string> AddMount(const std::string& container_id, const Source& source,
                               const std::string& destination, const BindOptions& options);
  // Mounts `source` on `name` below mounts_path_ and records it. REQUIRES: mutex_ held.
  Status Add(const std::string& container_id, const Source& source, const std::string& name,
             const BindOptions& options);
  Status RemoveLocked(const std::string& container_id);

  const std::string mounts_path_;
  const std::string export_path_;
  const int source_namespace_;
  std::mutex mutex_;
  bool prepared_ = false;
  // Container id -> names below mounts_path_, in the order of mounting.
  std::map<std::string, std::vector<std::string>> entries_;
};

}  // namespace kata::storage
