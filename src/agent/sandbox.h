// The sandbox: what its containers share, and the containers by id.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/container.h"
#include "agent/context.h"
#include "agent/guest_hooks.h"
#include "agent/sandbox_namespaces.h"
#include "base/result.h"
#include "proto/agent.pb.h"

namespace kata::agent {

// At most one at a time: a guest is one sandbox. Loop thread only.
class Sandbox {
 public:
  // `context` is borrowed with all it names.
  explicit Sandbox(Context context);

  // Makes the sandbox: namespaces, host name, resolv.conf, storages. kAlreadyExists if there is one.
  void Create(const grpc::CreateSandboxRequest& request, StatusCallback callback);
  // Removes all containers, then what Create made. Success without a sandbox.
  void Destroy(StatusCallback callback);

  // kFailedPrecondition without a sandbox, kAlreadyExists for an id in use.
  void CreateContainer(grpc::CreateContainerRequest request, StatusCallback callback);
  // Makes the socket by which the container that will be created under this id tells when it is ready.
  // kFailedPrecondition and kAlreadyExists as above.
  Status ListenForReady(const std::string& container_id);
  void RemoveContainer(const std::string& container_id, std::chrono::seconds timeout,
                       StatusCallback callback);

  // kInvalidArgument for an unknown container, kNotFound for an unknown process of a known one.
  Result<std::shared_ptr<Container>> FindContainer(const std::string& container_id) const;
  Result<std::shared_ptr<Process>> FindProcess(const std::string& container_id,
                                               const std::string& exec_id) const;

  // A connection is gone: nobody waits for what was asked over it.
  void DropConnection(uint64_t connection_id);

 private:
  enum class State { kNone, kCreating, kReady, kDestroying };

  void FinishCreate(Result<SandboxNamespaces> namespaces, GuestHooks hooks, StatusCallback callback);
  Result<std::vector<SharedMountSource>> FindSharedMounts(const grpc::CreateContainerRequest& request) const;
  Result<ContainerNamespaces> FindNamespaces(const grpc::CreateContainerRequest& request) const;
  void FinishContainer(const std::string& container_id, Result<NewContainer> created,
                       StatusCallback callback);
  // Goes on with the destruction when the last container is gone.
  void ContinueDestroy();

  Context context_;
  State state_ = State::kNone;
  std::shared_ptr<const SandboxNamespaces> namespaces_;
  std::shared_ptr<SharedPidNamespace> shared_pid_;
  std::shared_ptr<const GuestHooks> hooks_;
  // The sandbox's first container, which makes the pid namespace to share, and those that share it are
  // created one after the other.
  JobQueue shared_pid_jobs_;
  std::map<std::string, std::shared_ptr<Container>> containers_;  // null while it is being created
  std::vector<StatusCallback> destroy_callbacks_;
};

}  // namespace kata::agent
