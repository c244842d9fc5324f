#include "agent/sandbox.h"

#include <algorithm>
#include <utility>

#include "agent/sandbox_setup.h"
#include "protocol/ids.h"

namespace kata::agent {

Sandbox::Sandbox(Context context) : context_(context), shared_pid_jobs_(context.jobs) {}

void Sandbox::Create(const grpc::CreateSandboxRequest& request, StatusCallback callback) {
  if (state_ != State::kNone) return callback(Error(Code::kAlreadyExists, "the guest has a sandbox already"));
  state_ = State::kCreating;
  context_.jobs.Run(
      [this, settings = context_.settings, request, callback = std::move(callback)]() mutable -> Completion {
        Result<SandboxNamespaces> namespaces =
            CatchExceptions([&] { return SetUpSandbox(settings, context_.storages, request); });
        GuestHooks hooks = GuestHooks::Load(request.guest_hook_path());
        return [this, namespaces = std::move(namespaces), hooks = std::move(hooks),
                callback = std::move(callback)]() mutable {
          FinishCreate(std::move(namespaces), std::move(hooks), std::move(callback));
        };
      });
}

void Sandbox::FinishCreate(Result<SandboxNamespaces> namespaces, GuestHooks hooks, StatusCallback callback) {
  if (!namespaces) {
    state_ = State::kNone;
    return callback(std::move(namespaces).error().Wrap("create sandbox"));
  }
  namespaces_ = std::make_shared<const SandboxNamespaces>(std::move(*namespaces));
  hooks_ = std::make_shared<const GuestHooks>(std::move(hooks));
  state_ = State::kReady;
  callback({});
}

void Sandbox::CreateContainer(grpc::CreateContainerRequest request, StatusCallback callback) {
  const std::string container_id = request.container_id();
  if (Status status = protocol::CheckContainerId(container_id); !status) return callback(std::move(status));
  if (state_ != State::kReady) return callback(Error(Code::kFailedPrecondition, "there is no sandbox"));
  Result<std::vector<SharedMountSource>> shared_mounts = FindSharedMounts(request);
  if (!shared_mounts) return callback(std::move(shared_mounts).error());
  Result<ContainerNamespaces> own_namespaces = FindNamespaces(request);
  if (!own_namespaces) return callback(std::move(own_namespaces).error());
  // The first container lives as long as the sandbox: what others share is its pid namespace.
  const bool first = containers_.empty();
  if (first) shared_pid_ = std::make_shared<SharedPidNamespace>();
  if (!containers_.emplace(container_id, nullptr).second) {
    return callback(MakeError(Code::kAlreadyExists, "container '{}' exists already", container_id));
  }
  const bool share_pid = first || request.sandbox_pidns();
  Job job = [this, settings = context_.settings, namespaces = namespaces_,
             shared_pid = share_pid ? shared_pid_ : nullptr, hooks = hooks_,
             shared_mounts = std::move(*shared_mounts), own_namespaces = std::move(*own_namespaces),
             request = std::move(request), callback = std::move(callback)]() mutable -> Completion {
    Result<NewContainer> created = CatchExceptions([&] {
      return SetUpContainer(settings, context_.storages, *namespaces, own_namespaces, shared_pid.get(), hooks,
                            shared_mounts, request);
    });
    return [this, container_id = request.container_id(), created = std::move(created),
            callback = std::move(callback)]() mutable {
      FinishContainer(container_id, std::move(created), std::move(callback));
    };
  };
  if (share_pid) {
    shared_pid_jobs_.Add(std::move(job));
  } else {
    context_.jobs.Run(std::move(job));
  }
}

Result<std::vector<SharedMountSource>> Sandbox::FindSharedMounts(
    const grpc::CreateContainerRequest& request) const {
  std::vector<SharedMountSource> sources;
  for (const grpc::SharedMount& mount : request.shared_mounts()) {
    const auto found = std::find_if(containers_.begin(), containers_.end(), [&](const auto& entry) {
      return entry.second && entry.second->HasName(mount.src_ctr());
    });
    if (found == containers_.end()) {
      return MakeError(Code::kInvalidArgument, "shared mount '{}': unknown container '{}'", mount.name(),
                       mount.src_ctr());
    }
    UniqueFd pidfd = TRY_CTX(found->second->init()->DuplicatePidfd(), "shared mount '{}'", mount.name());
    sources.push_back(
        {std::make_shared<const UniqueFd>(std::move(pidfd)), mount.src_path(), mount.dst_path()});
  }
  return sources;
}

Result<ContainerNamespaces> Sandbox::FindNamespaces(const grpc::CreateContainerRequest& request) const {
  constexpr int kKinds = CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWCGROUP | CLONE_NEWTIME;
  ContainerNamespaces namespaces;
  for (const auto& [type, container_id] : request.namespaces()) {
    const int flag = TRY_CTX(linux::FindNamespaceKind(type), "namespaces").clone_flag;
    if ((flag & kKinds) == 0) {
      return MakeError(Code::kInvalidArgument, "containers do not share '{}' namespaces", type);
    }
    linux::NamespaceFd& joined = namespaces[type];
    if (container_id.empty()) continue;
    const std::shared_ptr<Container> other = TRY_CTX(FindContainer(container_id), "{} namespace", type);
    // Not reaped yet, so that its number is nobody else's.
    if (other->init()->ended()) {
      return MakeError(Code::kFailedPrecondition, "{} namespace: container '{}' is not running", type,
                       container_id);
    }
    joined =
        TRY_CTX(linux::NamespaceFd::OfProcess(other->init()->pid(), flag), "container '{}'", container_id);
  }
  return namespaces;
}

void Sandbox::FinishContainer(const std::string& container_id, Result<NewContainer> created,
                              StatusCallback callback) {
  const auto adopt = [&]() -> Result<std::shared_ptr<Container>> {
    NewContainer parts = TRY(std::move(created));
    return Container::Adopt(context_, std::move(parts));
  };
  Result<std::shared_ptr<Container>> container = adopt();
  if (!container) {
    containers_.erase(container_id);
    context_.ready_sockets.Remove(container_id);
    callback(std::move(container).error());
    ContinueDestroy();
    return;
  }
  containers_[container_id] = *container;
  (*container)->OnRemoved([this, container_id] {
    containers_.erase(container_id);
    context_.ready_sockets.Remove(container_id);
    ContinueDestroy();
  });
  if (state_ == State::kDestroying) (*container)->Remove({}, [](const Status&) {});
  callback({});
}

Status Sandbox::ListenForReady(const std::string& container_id) {
  TRY(protocol::CheckContainerId(container_id));
  if (state_ != State::kReady) return Error(Code::kFailedPrecondition, "there is no sandbox");
  if (containers_.contains(container_id)) {
    return MakeError(Code::kAlreadyExists, "container '{}' exists already", container_id);
  }
  return context_.ready_sockets.Listen(container_id);
}

void Sandbox::RemoveContainer(const std::string& container_id, std::chrono::seconds timeout,
                              StatusCallback callback) {
  Result<std::shared_ptr<Container>> container = FindContainer(container_id);
  if (!container) {
    // It may have got no further than to its socket.
    if (!containers_.contains(container_id)) context_.ready_sockets.Remove(container_id);
    return callback(std::move(container).error());
  }
  (*container)->Remove(timeout, std::move(callback));
}

void Sandbox::Destroy(StatusCallback callback) {
  if (state_ == State::kNone) return callback({});
  if (state_ == State::kCreating) {
    return callback(Error(Code::kFailedPrecondition, "the sandbox is being created"));
  }
  destroy_callbacks_.push_back(std::move(callback));
  if (state_ == State::kDestroying) return;
  state_ = State::kDestroying;
  // A copy, as removed containers leave the map.
  const auto containers = containers_;
  for (const auto& [id, container] : containers) {
    if (container) container->Remove({}, [](const Status&) {});
  }
  ContinueDestroy();
}

void Sandbox::ContinueDestroy() {
  if (state_ != State::kDestroying || !containers_.empty()) return;
  // Of containers that were never created, too.
  context_.ready_sockets.Clear();
  namespaces_.reset();
  shared_pid_.reset();
  hooks_.reset();
  context_.jobs.Run([this]() -> Completion {
    Status status = TearDownSandbox(context_.storages);
    return [this, status = std::move(status)] {
      state_ = State::kNone;
      for (StatusCallback& callback : std::exchange(destroy_callbacks_, {})) callback(status);
    };
  });
}

Result<std::shared_ptr<Container>> Sandbox::FindContainer(const std::string& container_id) const {
  const auto it = containers_.find(container_id);
  if (it == containers_.end() || !it->second) {
    return MakeError(Code::kInvalidArgument, "unknown container '{}'", container_id);
  }
  return it->second;
}

Result<std::shared_ptr<Process>> Sandbox::FindProcess(const std::string& container_id,
                                                      const std::string& exec_id) const {
  const std::shared_ptr<Container> container = TRY(FindContainer(container_id));
  return container->FindProcess(exec_id);
}

void Sandbox::DropConnection(uint64_t connection_id) {
  for (const auto& [id, container] : containers_) {
    if (container) container->DropConnection(connection_id);
  }
  context_.oom_watcher.DropConnection(connection_id);
  context_.ready_sockets.DropConnection(connection_id);
}

}  // namespace kata::agent
