// Sandbox: a virtual machine and the containers in it, from the first create to the last delete.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "config/config.h"
#include "sandbox/attach.h"
#include "sandbox/container.h"
#include "sandbox/creation.h"
#include "sandbox/fd_watcher.h"
#include "sandbox/guest.h"
#include "sandbox/machine.h"
#include "sandbox/machine_sizer.h"
#include "sandbox/patience.h"
#include "sandbox/state_directory.h"

namespace kata::sandbox {

// Everything on the loop thread; slow steps run on the worker pool and come back. Owned by a shared_ptr.
class Sandbox : public std::enable_shared_from_this<Sandbox> {
 public:
  struct Options {
    StateDirectory directory;  // of the container that the sandbox is named after
    config::Config config;
    MachineFactory machine_factory;
    Patience patience;
    // That hooks run in; not valid: this process's own.
    UniqueFd host_mount_namespace;
    // Nothing is left and nobody will come: the server shall end.
    std::function<void()> on_finished;
  };

  // `loop`, `workers` and `watcher` are borrowed and must outlive the object.
  Sandbox(EventLoop& loop, WorkerPool& workers, FdWatcher& watcher, Options options);

  const std::string& id() const { return options_.directory.id(); }

  // attach.sock: stdio and kata-shim of a process that is about to be created.
  Status Attach(AttachRequest request, uint64_t connection_id);
  // The client is gone. Without a commit nobody will ever ask for the process: it is ended and removed, a
  // container including its traces on the host, and with the sandbox's own container the whole sandbox.
  void OnAttachClosed(uint64_t connection_id, bool committed);
  // No client has come in the time in which one must have.
  void OnIdle();

  // Answers with the pid of kata-shim. The first container boots the virtual machine. `notify`: somebody will
  // ask when the container is ready.
  void Create(const std::string& container_id, const std::string& bundle, bool notify, Reply<pid_t> reply);
  Status AddExec(const std::string& container_id, const std::string& exec_id, ExecDescription description);
  void Kill(const std::string& container_id, const std::string& exec_id, int signal, bool all,
            Reply<void> reply);

  struct DeleteResult {
    pid_t pid = 0;
    ProcessExit exit;
  };
  // An empty exec_id: the container, which must be stopped or never have been started. After one whose
  // creation was cancelled only the end of that is waited for.
  void Delete(const std::string& container_id, const std::string& exec_id, Reply<DeleteResult> reply);
  // Without `now` it does nothing while there are containers. Otherwise everything is ended, and the server
  // with it when the answer is out.
  void Shutdown(bool now, Reply<void> reply);

  // kNotFound: "container does not exist".
  Result<std::shared_ptr<Container>> FindContainer(const std::string& container_id) const;

 private:
  struct Attachment {
    std::string container_id;
    std::string exec_id;
    AttachRequest request;                    // until a process has taken it
    std::optional<StateDirectory> directory;  // of a container that is to come, as it was then
  };

  // Ends and removes a further container that nobody wants, and what there is of it on the host.
  void Discard(const std::string& container_id, const StateDirectory& directory);
  void OnExecClientGone(const std::string& container_id, const std::string& exec_id, bool committed);
  // One of which no process has taken the request yet.
  Result<Attachment*> FindAttachment(const std::string& container_id, const std::string& exec_id);
  Result<std::shared_ptr<Container>> NewContainer(const std::string& container_id, const std::string& bundle);
  void OnCreateDone(const std::shared_ptr<Container>& container, Result<CreateResult> result,
                    Reply<pid_t> reply);
  // Ends a creation under way with kCancelled and this reason.
  void CancelCreate(Container& container, const std::string& reason);
  void FailCreate(const std::shared_ptr<Container>& container, Error error, Reply<pid_t> reply);

  // Ends the machine when nothing runs in it, or only what does not let itself be killed.
  void EndUnusedGuest();
  // Whether the machine's processes are stopped or frozen on the host.
  bool IsMachineHeld() const;
  // Of the machine: the host may have killed it for lack of memory, which is an event too.
  std::string ExplainEnd(std::string reason);
  void OnGuestDown(const std::string& reason);
  void OnOom(const std::string& container_id);
  void Remove(const std::shared_ptr<Container>& container, std::function<void()> done);
  // Runs the poststop hooks, too, and calls `done` in the end.
  void RemoveTracesLater(const StateDirectory& directory, std::function<void()> done);
  void Erase(const std::shared_ptr<Container>& container);
  bool Knows(const std::shared_ptr<Container>& container) const;
  bool IsCreating() const;

  // Ends all, answers and finishes.
  void ShutdownNow(const std::string& reason, std::function<void()> done);
  void Abandon(const std::string& reason);

  EventLoop& loop_;
  WorkerPool& workers_;
  FdWatcher& watcher_;
  Options options_;
  std::shared_ptr<Guest> guest_;
  std::shared_ptr<MachineSizer> sizer_;
  std::map<uint64_t, Attachment> attachments_;  // by connection
  std::map<std::string, std::shared_ptr<Container>> containers_;
  std::map<std::string, std::string> cancelled_creates_;  // container id, reason
  std::map<std::shared_ptr<Container>, std::vector<std::function<void()>>> when_erased_;
  bool ever_attached_ = false;
  bool booted_ = false;
  bool shutting_down_ = false;
  std::vector<std::function<void()>> when_idle_;  // until no creation is under way
};

}  // namespace kata::sandbox
