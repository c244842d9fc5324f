// The directory that stands for a container on the host: <root>/<id>/, with what `state`, `list` and `delete`
// need also after the sandbox server is gone.
//
//   state.json   ContainerState, written atomically
//   hooks.json   the hooks that are still to be run
//   console.sock SOCK_STREAM: the guest's console, where debug_console_enabled asks for it
//   task.sock    ttrpc: containerd.task.v2.Task, served by the sandbox server (only in the sandbox's own
//   directory) attach.sock  SOCK_SEQPACKET: hands a process's stdio and its kata-shim to the server
//   (attach.h) shared/      exported to the guest
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/spec.h"

namespace kata::sandbox {

inline constexpr char kDefaultRoot[] = "/run/kata-containers";

// A process named so that pid reuse is noticed.
struct ProcessId {
  pid_t pid = 0;                      // 0: none
  unsigned long long start_time = 0;  // clock ticks since boot, /proc/<pid>/stat
};
// False when there is no such process, when it is a zombie, or when the pid belongs to a later one.
bool IsAlive(const ProcessId& process);

struct ContainerState {
  std::string oci_version;
  std::string id;
  std::string
      sandbox_id;  // of the container whose directory has the sockets; equals id for a single container
  std::string bundle;
  std::string rootfs;
  std::string created;  // RFC 3339 with nanoseconds
  std::string owner;    // user name or uid
  std::string status;   // creating, created, running, paused, stopped: as last written
  std::string error;    // why it stopped, when that was not the container's own doing
  int exit_code = 0;    // when stopped
  ProcessId creator;    // which makes the container and removes it on failure; matters while "creating"
  ProcessId shim;       // kata-shim of init: the pid that engines see
  ProcessId server;
  ProcessId vmm;
  std::map<std::string, std::string> annotations;
  std::map<std::string, std::string> cgroups;  // on the host: cgroup::HostCgroup::Directories
  std::string systemd_unit;                    // the scope that systemd has made of them; empty: none

  // False of a further container of a pod.
  bool OwnsServer() const { return sandbox_id.empty() || sandbox_id == id; }
  // Its creator is at it, perhaps not yet as far as its server.
  bool IsBeingCreated() const { return status == "creating" && IsAlive(creator); }
};

// One container's directory. Copyable value (a path and a descriptor); the directory itself is shared state.
// Whatever is read, written or connected to is this directory's, never that of a later container which has
// its path by then: kNotFound.
class StateDirectory {
 public:
  // Makes <root>/<id> (0700). kAlreadyExists: "container with given ID already exists". `id` is checked to be
  // a valid container id before any path is built from it.
  static Result<StateDirectory> Create(const std::string& root, const std::string& id);
  // kNotFound: "container does not exist" (the text engines look for).
  static Result<StateDirectory> Open(const std::string& root, const std::string& id);
  // ids of all containers below root, sorted; an absent root is an empty list.
  static Result<std::vector<std::string>> List(const std::string& root);

  // False when the directory is gone, also when that of a later container with the same id stands in its
  // place.
  bool IsCurrent() const;
  // For whoever removes the container: until the descriptor is closed, also by this process's death, nobody
  // else does. As its directory stands so long, neither can there be a later container with its id.
  Result<UniqueFd> Lock(Deadline deadline) const;

  const std::string& path() const { return path_; }
  const std::string& root() const { return root_; }
  const std::string& id() const { return id_; }

  Result<ContainerState> ReadState() const;
  Status WriteState(const ContainerState& state) const;

  Status WriteHooks(const oci::Hooks& hooks) const;
  // None when there is no file.
  Result<oci::Hooks> ReadHooks() const;

  // Sockets live at paths that may be longer than sun_path allows; these go through a directory descriptor.
  Result<UniqueFd> ListenTask() const;
  Result<UniqueFd> ListenAttach() const;
  Result<UniqueFd> ConnectTask() const;  // kUnavailable when no server listens
  Result<UniqueFd> ConnectAttach() const;

  // Removes the directory and all in it (never across mounts). Idempotent. REQUIRES: Lock().
  Status Remove() const;

 private:
  StateDirectory(std::string root, std::string id);
  // Opens the directory that has been found or made at the path.
  Status Pin();
  Result<std::string> Read(const char* name, size_t limit) const;
  Result<UniqueFd> Listen(const char* name, int type) const;
  Result<UniqueFd> Connect(const char* name, int type) const;
  std::string root_, id_, path_;
  std::shared_ptr<const UniqueFd> fd_;  // as long as it is open no later directory gets the inode's number
};

}  // namespace kata::sandbox
