// The task API: messages to calls of the sandbox and back.
#include "sandbox/task_service.h"

#include <string>
#include <utility>

#include "base/version.h"
#include "oci/json.h"
#include "proto/task.pb.h"
#include "proto/wellknown.pb.h"
#include "protocol/constants.h"
#include "sandbox/container_method.h"

namespace kata::sandbox {
namespace {

namespace task = containerd::task::v2;
using ttrpc::CallContext;
using ttrpc::Responder;

Timestamp ToTimestamp(std::chrono::system_clock::time_point time) {
  const auto since_epoch = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  Timestamp timestamp;
  timestamp.set_seconds(seconds.count());
  timestamp.set_nanos(static_cast<int32_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch - seconds).count()));
  return timestamp;
}

task::Status ToTaskStatus(ContainerStatus status) {
  switch (status) {
    case ContainerStatus::kCreating:
      return task::UNKNOWN;  // containerd has no name for it
    case ContainerStatus::kCreated:
      return task::CREATED;
    case ContainerStatus::kRunning:
      return task::RUNNING;
    case ContainerStatus::kPaused:
      return task::PAUSED;
    case ContainerStatus::kStopped:
      return task::STOPPED;
  }
  std::unreachable();
}

task::Status ToTaskStatus(Process::State state) {
  switch (state) {
    case Process::State::kCreating:
    case Process::State::kCreated:
      return task::CREATED;
    case Process::State::kRunning:
      return task::RUNNING;
    case Process::State::kStopped:
      return task::STOPPED;
  }
  std::unreachable();
}

// The process that a request names.
struct Target {
  std::shared_ptr<Container> container;
  Process* process;  // owned by the container
};

Result<Target> FindTarget(const Sandbox& sandbox, const std::string& id, const std::string& exec_id) {
  std::shared_ptr<Container> container = TRY(sandbox.FindContainer(id));
  Process* process = container->FindProcess(exec_id);
  if (!process) return MakeError(Code::kNotFound, "process '{}' does not exist", exec_id);
  return Target{std::move(container), process};
}

// Answers with Empty when the call has succeeded.
Reply<void> EmptyReply(Responder<Empty> responder) {
  return [responder = std::move(responder)](Status status) mutable {
    if (status) {
      responder.Respond(Empty());
    } else {
      responder.Respond(std::move(status).error());
    }
  };
}

// Answers with the pid.
template <typename Response>
Reply<pid_t> PidReply(Responder<Response> responder) {
  return [responder = std::move(responder)](Result<pid_t> pid) mutable {
    if (!pid) return responder.Respond(std::move(pid).error());
    Response response;
    response.set_pid(static_cast<uint32_t>(*pid));
    responder.Respond(response);
  };
}

Result<task::StateResponse> GetState(const Sandbox& sandbox, const task::StateRequest& request) {
  const Target target = TRY(FindTarget(sandbox, request.id(), request.exec_id()));
  task::StateResponse response;
  response.set_id(request.id());
  response.set_exec_id(request.exec_id());
  response.set_bundle(target.container->bundle());
  response.set_pid(static_cast<uint32_t>(target.process->shim_pid()));
  response.set_terminal(target.process->terminal());
  response.set_status(request.exec_id().empty() ? ToTaskStatus(target.container->status())
                                                : ToTaskStatus(target.process->state()));
  if (target.process->state() == Process::State::kStopped) {
    response.set_exit_status(static_cast<uint32_t>(target.process->exit().code));
    *response.mutable_exited_at() = ToTimestamp(target.process->exit().time);
  }
  return response;
}

Status AddExec(Sandbox& sandbox, const task::ExecProcessRequest& request) {
  ExecDescription description{.process = TRY_CTX(oci::ParseProcess(request.spec().value()), "process"),
                              .cgroup = request.cgroup(),
                              .ignore_paused = request.ignore_paused()};
  TRY_CTX(oci::Validate(description.process), "process");
  return sandbox.AddExec(request.id(), request.exec_id(), std::move(description));
}

void RegisterLifecycle(ttrpc::Server& server, const std::string& service,
                       const std::shared_ptr<Sandbox>& sandbox) {
  server.Handle<task::CreateTaskRequest, task::CreateTaskResponse>(
      service, "Create",
      [sandbox](const CallContext&, const task::CreateTaskRequest& request,
                Responder<task::CreateTaskResponse> responder) {
        if (!request.checkpoint().empty()) {
          responder.Respond(Error(Code::kUnimplemented, "containers cannot be restored from a checkpoint"));
          return;
        }
        if (request.rootfs_size() != 0) {
          responder.Respond(Error(Code::kUnimplemented, "root file systems are mounted by the caller"));
          return;
        }
        sandbox->Create(request.id(), request.bundle(), request.notify(), PidReply(std::move(responder)));
      });
  HandleContainer<task::StartRequest, task::StartResponse>(
      server, service, "Start", sandbox,
      [](Container& container, const task::StartRequest& request, Responder<task::StartResponse> responder) {
        if (request.exec_id().empty()) {
          container.Start(PidReply(std::move(responder)));
        } else {
          container.StartExec(request.exec_id(), PidReply(std::move(responder)));
        }
      });
  server.Handle<task::DeleteRequest, task::DeleteResponse>(
      service, "Delete",
      [sandbox](const CallContext&, const task::DeleteRequest& request,
                Responder<task::DeleteResponse> responder) {
        sandbox->Delete(request.id(), request.exec_id(),
                        [responder = std::move(responder)](Result<Sandbox::DeleteResult> result) mutable {
                          if (!result) {
                            responder.Respond(std::move(result).error());
                            return;
                          }
                          task::DeleteResponse response;
                          response.set_pid(static_cast<uint32_t>(result->pid));
                          response.set_exit_status(static_cast<uint32_t>(result->exit.code));
                          *response.mutable_exited_at() = ToTimestamp(result->exit.time);
                          responder.Respond(response);
                        });
      });
  server.Handle<task::ExecProcessRequest, Empty>(
      service, "Exec",
      [sandbox](const CallContext&, const task::ExecProcessRequest& request, Responder<Empty> responder) {
        EmptyReply(std::move(responder))(AddExec(*sandbox, request));
      });
  server.Handle<task::ShutdownRequest, Empty>(
      service, "Shutdown",
      [sandbox](const CallContext&, const task::ShutdownRequest& request, Responder<Empty> responder) {
        sandbox->Shutdown(request.now(), EmptyReply(std::move(responder)));
      });
}

void RegisterControl(ttrpc::Server& server, const std::string& service,
                     const std::shared_ptr<Sandbox>& sandbox) {
  server.Handle<task::KillRequest, Empty>(
      service, "Kill",
      [sandbox](const CallContext&, const task::KillRequest& request, Responder<Empty> responder) {
        sandbox->Kill(request.id(), request.exec_id(), static_cast<int>(request.signal()), request.all(),
                      EmptyReply(std::move(responder)));
      });
  HandleContainer<task::PauseRequest, Empty>(
      server, service, "Pause", sandbox,
      [](Container& container, const task::PauseRequest&, Responder<Empty> responder) {
        container.Pause(EmptyReply(std::move(responder)));
      });
  HandleContainer<task::ResumeRequest, Empty>(
      server, service, "Resume", sandbox,
      [](Container& container, const task::ResumeRequest&, Responder<Empty> responder) {
        container.Resume(EmptyReply(std::move(responder)));
      });
  HandleContainer<task::UpdateTaskRequest, Empty>(
      server, service, "Update", sandbox,
      [](Container& container, const task::UpdateTaskRequest& request, Responder<Empty> responder) {
        const Result<oci::Resources> resources = oci::ParseResources(request.resources().value());
        if (!resources) return responder.Respond(Error(resources.error()).Wrap("resources"));
        container.Update(*resources, EmptyReply(std::move(responder)));
      });
}

void RegisterTerminal(ttrpc::Server& server, const std::string& service,
                      const std::shared_ptr<Sandbox>& sandbox) {
  HandleContainer<task::ResizePtyRequest, Empty>(
      server, service, "ResizePty", sandbox,
      [](Container& container, const task::ResizePtyRequest& request, Responder<Empty> responder) {
        container.Resize(request.exec_id(), request.height(), request.width(),
                         EmptyReply(std::move(responder)));
      });
  HandleContainer<task::CloseIORequest, Empty>(
      server, service, "CloseIO", sandbox,
      [](Container& container, const task::CloseIORequest& request, Responder<Empty> responder) {
        EmptyReply(std::move(responder))(request.stdin() ? container.CloseInput(request.exec_id())
                                                         : Status());
      });
}

void RegisterQueries(ttrpc::Server& server, const std::string& service,
                     const std::shared_ptr<Sandbox>& sandbox) {
  server.Handle<task::StateRequest, task::StateResponse>(
      service, "State",
      [sandbox](const CallContext&, const task::StateRequest& request,
                Responder<task::StateResponse> responder) {
        responder.Respond(GetState(*sandbox, request));
      });
  server.Handle<task::WaitRequest, task::WaitResponse>(
      service, "Wait",
      [sandbox](const CallContext&, const task::WaitRequest& request,
                Responder<task::WaitResponse> responder) {
        const Result<Target> target = FindTarget(*sandbox, request.id(), request.exec_id());
        if (!target) {
          responder.Respond(Error(target.error()));
          return;
        }
        auto shared = std::make_shared<Responder<task::WaitResponse>>(std::move(responder));
        target->process->Wait([shared](const ProcessExit& exit) {
          task::WaitResponse response;
          response.set_exit_status(static_cast<uint32_t>(exit.code));
          *response.mutable_exited_at() = ToTimestamp(exit.time);
          shared->Respond(response);
        });
      });
  HandleContainer<task::PidsRequest, task::PidsResponse>(
      server, service, "Pids", sandbox,
      [](Container& container, const task::PidsRequest&, Responder<task::PidsResponse> responder) {
        task::PidsResponse response;
        for (const pid_t pid : container.ShimPids()) {
          response.add_processes()->set_pid(static_cast<uint32_t>(pid));
        }
        responder.Respond(response);
      });
  server.Handle<task::ConnectRequest, task::ConnectResponse>(
      service, "Connect",
      [sandbox](const CallContext&, const task::ConnectRequest& request,
                Responder<task::ConnectResponse> responder) {
        task::ConnectResponse response;
        response.set_shim_pid(static_cast<uint32_t>(getpid()));
        response.set_version(std::string(Version()));
        if (const Result<Target> target = FindTarget(*sandbox, request.id(), "")) {
          response.set_task_pid(static_cast<uint32_t>(target->process->shim_pid()));
        }
        responder.Respond(response);
      });
}

}  // namespace

void RegisterTaskService(ttrpc::Server& server, const std::shared_ptr<Sandbox>& sandbox) {
  const std::string service(protocol::kTaskService);
  RegisterLifecycle(server, service, sandbox);
  RegisterControl(server, service, sandbox);
  RegisterTerminal(server, service, sandbox);
  RegisterQueries(server, service, sandbox);
  // Checkpoint and Stats are not offered; the server answers them as it does any unknown method.
}

}  // namespace kata::sandbox
