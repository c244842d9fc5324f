// Container: one container as the sandbox server sees it: its processes, its status and what may be done in
// it.
#pragma once

#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cgroup/host_cgroup.h"
#include "oci/spec.h"
#include "proto/agent.pb.h"
#include "sandbox/attach.h"
#include "sandbox/container_events.h"
#include "sandbox/fd_watcher.h"
#include "sandbox/guest.h"
#include "sandbox/machine_sizer.h"
#include "sandbox/patience.h"
#include "sandbox/process.h"
#include "sandbox/resources_update.h"
#include "sandbox/state_directory.h"

namespace kata::sandbox {

// As the specification names them, and "paused".
enum class ContainerStatus { kCreating, kCreated, kRunning, kPaused, kStopped };
std::string_view StatusName(ContainerStatus status);

template <typename T>
using Reply = std::move_only_function<void(Result<T>)>;

// What an additional process is to be.
struct ExecDescription {
  oci::Process process;
  std::string cgroup;  // in the guest, as ExecProcessRequest of the agent has it
  // In a paused container its start waits for the container's resumption.
  bool ignore_paused = false;
};

// Everything on the loop thread. Owned by a shared_ptr: calls to the guest come back to it. A refusal is
// kFailedPrecondition or kNotFound with the text that engines know from runc ("container not running").
class Container : public std::enable_shared_from_this<Container> {
 public:
  struct Context {
    EventLoop& loop;
    WorkerPool& workers;
    FdWatcher& watcher;
    std::shared_ptr<Guest> guest;
    std::shared_ptr<MachineSizer> sizer;
    int host_mount_namespace = -1;  // that hooks run in (borrowed); -1: this process's own
    Patience patience;
  };
  struct Handlers {
    // kata-shim of init ended while the container was being created.
    std::function<void()> on_abandoned;
    // A process has stopped.
    std::function<void()> on_process_exit;
    // overdue_kill() is not empty any more.
    std::function<void()> on_kill_overdue;
  };

  // `state` is the container's record so far; it is written to `directory` whenever it changes.
  Container(Context context, StateDirectory directory, ContainerState state, AttachRequest attachment,
            Handlers handlers);

  Status Begin();  // once, before anything else
  const std::string& id() const { return state_.id; }
  const std::string& bundle() const { return state_.bundle; }
  const StateDirectory& directory() const { return directory_; }
  const ContainerState& state() const { return state_; }
  // Of its processes on the host.
  const cgroup::HostCgroup& cgroup() const { return cgroup_; }
  ContainerStatus status() const { return status_; }
  // No process of it runs in the guest any more.
  bool IsQuiet() const;
  // All of it shall be killed, and the guest has not done that in its time: what it fails to do; else empty.
  const std::string& overdue_kill() const { return overdue_kill_; }

  // The init process named by an empty id, or an additional one; null when there is none.
  Process* FindProcess(const std::string& exec_id);
  std::vector<pid_t> ShimPids() const;

  // Readable once CancelHooks was called: what hooks of this container listen to.
  int hooks_cancel_fd() const { return hooks_cancel_.get(); }
  void CancelHooks();
  ContainerEvents& events() { return events_; }

  // The guest has made it. Fails when the state cannot be written.
  Status OnCreated(const oci::Spec& spec, const std::string& rootfs, ProcessId vmm);
  // The agent listens for the container's word that it is ready: from now on it is among events(), and sent
  // to `monitor_socket` where that is valid.
  void AwaitReady(UniqueFd monitor_socket);
  // False: it began before.
  bool BeginRemoval() { return !std::exchange(removing_, true); }
  // Ids of the machine's devices that are there for this container alone.
  void TakeDisks(std::vector<std::string> disks) { disks_ = std::move(disks); }
  const std::vector<std::string>& disks() const { return disks_; }
  // A process of it was killed in the guest for lack of memory.
  void OnOomKill();
  // The guest was stopped after the end of its processes, and its memory given back.
  void OnGuestStopped();
  // The guest is gone: every process has ended, with `code`; `error` is empty when that was wanted.
  void OnGuestDown(int code, const std::string& error);

  // `exec_id` as for FindProcess. Start answers with the pid of kata-shim, after the poststart hooks; when
  // one of those fails the container is killed and the answer is kAborted.
  void Start(Reply<pid_t> reply);
  void StartExec(const std::string& exec_id, Reply<pid_t> reply);
  void Kill(const std::string& exec_id, int signal, bool all, Reply<void> reply);
  void Pause(Reply<void> reply);
  void Resume(Reply<void> reply);
  // Changes limits in the guest and on the host, and with them the size of the virtual machine; after a
  // failure they are what they were. Updates are done one after the other.
  void Update(const oci::Resources& resources, Reply<void> reply);
  void Stats(Reply<grpc::StatsContainerResponse> reply);
  void Resize(const std::string& exec_id, uint32_t rows, uint32_t columns, Reply<void> reply);
  Status CloseInput(const std::string& exec_id);
  // An additional process, which StartExec starts.
  Status AddExec(const std::string& exec_id, ExecDescription description, AttachRequest attachment);
  // Forgets an additional process that does not run.
  Result<ProcessExit> DeleteExec(const std::string& exec_id);
  // Forgets it when it has ended; until then it is there for those who know its id.
  void ForgetExecAtEnd(const std::string& exec_id);
  // Ends a process of the guest that nobody on the host knows any more.
  void KillInGuest(const std::string& exec_id);
  // Ends and forgets it: its kata-shim was killed, or the client that wanted it has gone before it said so.
  void AbandonExec(const std::string& exec_id);

 private:
  // Additional processes that the end of init leaves behind get this long to be reported by the agent.
  static constexpr std::chrono::seconds kExecEndTime{2};

  struct Exec {
    ExecDescription description;
    std::unique_ptr<Process> process;
    bool starting = false;
  };

  // A function for the answer to a call to the guest: nothing when `this` is gone, a failure explained, else
  // `on_success`.
  AgentClient::StatusCallback Then(Reply<void> reply, std::function<Status()> on_success);
  template <typename T>
  void ReplyError(Error error, Reply<T> reply);

  Status CheckRunning(std::string_view action, bool ignore_paused = false) const;
  void StartInGuest(AgentClient& agent, Reply<pid_t> reply);
  void OnStarted(Reply<pid_t> reply);
  void OnPoststartDone(const Status& status, Reply<pid_t> reply);
  // Replies when init has ended.
  void KillThenReply(Error error, Reply<pid_t> reply);
  // The steps of the first of updates_: the host and all that grows, the guest, then all that shrinks. What
  // the last steps fail at takes the first ones back.
  struct UpdateJob;
  void BeginUpdate();
  void UpdateGuest(std::shared_ptr<UpdateJob> job);
  void TakeBackUpdate(std::shared_ptr<UpdateJob> job, Error error);
  void FinishUpdate(Status status);
  // These block; for workers.
  Status PrepareHost(UpdateJob& job);
  static void ShrinkHost(std::shared_ptr<Container> self);
  void SetStatus(ContainerStatus status);
  Status Persist();
  void OnInitExit(const ProcessExit& exit);
  void EndRemainingExecs();
  void ReportOomKill();
  void NoteOomKill();
  void KillWholeContainer();
  // SIGKILL for all of it: not sent, on its way, answered by the guest.
  enum class Killing { kNo, kSent, kAnswered };
  void OnKillSent();
  void OnKillAnswer(const Status& answer);
  // The end must be known within `time`, or the kill is overdue for this reason.
  void AwaitDeath(Killing stage, std::chrono::milliseconds time, std::string reason);

  Context context_;
  StateDirectory directory_;
  ContainerState state_;
  Handlers handlers_;
  ContainerStatus status_ = ContainerStatus::kCreating;
  std::vector<std::string> disks_;
  bool removing_ = false;
  std::unique_ptr<Process> init_;
  bool starting_ = false;
  std::map<std::string, Exec> execs_;
  std::vector<std::function<void()>> when_not_paused_;
  const cgroup::HostCgroup cgroup_;
  oci::Resources resources_;  // limits that hold
  struct PendingUpdate {
    oci::Resources resources;
    Reply<void> reply;
  };
  std::deque<PendingUpdate> updates_;  // the first one is under way
  std::vector<oci::Hook> start_container_;
  std::vector<oci::Hook> poststart_;
  UniqueFd hooks_cancel_;
  ContainerEvents events_;
  bool oom_kill_in_guest_ = false;
  Killing killing_ = Killing::kNo;
  std::string overdue_kill_;
  asio::steady_timer kill_timer_;
};

}  // namespace kata::sandbox
