// A container on its way into the world: all that `create` and `run` make, and its removal when a step fails.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "cgroup/systemd_scope.h"
#include "cli/bundle.h"
#include "cli/commands.h"
#include "cli/launch.h"
#include "cli/service_notify.h"
#include "cli/signal_queue.h"
#include "cli/task_client.h"
#include "config/config.h"
#include "sandbox/attach.h"
#include "sandbox/state_directory.h"

namespace kata::cli {

// What create and run have in common.
struct NewContainerRequest {
  std::string id;
  std::string bundle;
  StdioOptions stdio;
};

// Until Release() everything is undone on destruction: processes ended, state directory and pid file removed.
// If this program is killed instead, the sandbox server does the same, as its client ends without a commit.
class NewContainer {
 public:
  // Makes directory, sandbox server and kata-shim, and lets the server boot the VM and create the container;
  // a container of a pod is created by the server, and in the VM, of the pod's first one. `signals` is
  // borrowed: when one of those that end a command comes, the result is kCancelled.
  static Result<std::unique_ptr<NewContainer>> Create(const GlobalOptions& globals,
                                                      const NewContainerRequest& request,
                                                      SignalQueue& signals);
  ~NewContainer();

  // Lets the container's program run.
  Status Start();
  // Leaves the container to the engine: the pid file is written, the server told, kata-shim set free. One
  // that was started is waited for until it is ready, where a service manager waits for that, too.
  Status Release();
  // Leaves a container that has ended where it is, for `delete`.
  Status Keep();
  // Serves the container in the foreground until it has ended; its exit code.
  Result<int> ServeToEnd();
  // Removes the container after its end.
  Status Remove();

 private:
  NewContainer(const GlobalOptions& globals, NewContainerRequest request, SignalQueue& signals,
               sandbox::StateDirectory directory, sandbox::StateDirectory server_directory)
      : globals_(globals),
        request_(std::move(request)),
        signals_(signals),
        directory_(std::move(directory)),
        server_directory_(std::move(server_directory)) {}

  Status Make(const Bundle& bundle, const config::Config& config);
  Status MakeCgroup(const Bundle& bundle);
  Status EnterSystemdScope(const Bundle& bundle);
  // Writes down what `make` is going to make, so that it can be found when this program is killed meanwhile.
  Status MakeRecorded(const Bundle& bundle, const cgroup::HostCgroup& planned,
                      const std::function<Result<cgroup::HostCgroup>()>& make);
  Status WriteFirstState(const Bundle& bundle, const cgroup::HostCgroup& cgroup);
  Status Launch(const Bundle& bundle, const std::string& config_file);
  Status CreateInServer(const Bundle& bundle, std::chrono::nanoseconds timeout);
  // A server of our own that has ended is the cause of the error.
  Error Explain(Error error);
  void EndServer();
  void LeavePod();
  void Undo();

  Status TellOfProcess();
  Status AwaitReady();
  Status ForwardReady(std::unique_ptr<ReadyForwarder>& forwarder);

  const GlobalOptions& globals_;
  NewContainerRequest request_;
  SignalQueue& signals_;
  const std::string notify_address_ = NotifyAddress();
  sandbox::StateDirectory directory_;
  sandbox::StateDirectory server_directory_;  // of the pod's sandbox; else the same
  oci::Hooks hooks_;
  std::optional<cgroup::SystemdScope> scope_;
  cgroup::HostCgroup cgroup_;
  std::optional<SandboxServer> server_;  // in a pod only of the first container
  Stdio stdio_;
  StandIn stand_in_;
  std::optional<sandbox::Attachment> attachment_;
  std::unique_ptr<TaskClient> client_;
  bool started_ = false;
  bool pid_file_written_ = false;
  bool released_ = false;
};

}  // namespace kata::cli
