// A container: its processes, and what can be done to it as a whole.
#pragma once

#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/container_setup.h"
#include "agent/context.h"
#include "agent/process.h"
#include "base/result.h"
#include "oci/spec.h"
#include "proto/agent.pb.h"

namespace kata::agent {

using StatusCallback = std::move_only_function<void(Status)>;

// A process that runs beside init, and our ends of its stdio.
struct StartedExec {
  ChildProcess child;
  StdioEnds stdio;
};

// From "created" to removed. Steps that block run as jobs, one after the other; signals overtake them. Loop
// thread only; owned by shared_ptr.
class Container : public std::enable_shared_from_this<Container> {
 public:
  // Takes over what SetUpContainer made. On failure it is torn down by a job.
  static Result<std::shared_ptr<Container>> Adopt(Context context, NewContainer created);

  const std::string& id() const { return id_; }
  // Init's pid in the agent's pid namespace.
  const std::shared_ptr<Process>& init() const { return init_; }
  // Of a container whose init has ended: a process of it was killed for lack of memory.
  bool oom_killed() const { return oom_killed_; }
  bool HasName(const std::string& name) const { return names_.contains(name); }
  // Where its termination log lies in the guest; empty: it has none.
  const std::string& termination_log() const { return termination_log_; }
  // An empty exec id, or the container's own, means init. kNotFound for an unknown one.
  Result<std::shared_ptr<Process>> FindProcess(const std::string& exec_id) const;

  void Start(StatusCallback callback);
  // Runs another process under the id `request.exec_id()`.
  void Exec(const grpc::ExecProcessRequest& request, StatusCallback callback);
  // To a process; SIGKILL with an empty exec id reaches every process of the container, and one that is being
  // started does not outlive it either.
  void Signal(const std::string& exec_id, int signal, StatusCallback callback);
  // To every process of the container.
  void SignalAll(int signal, StatusCallback callback);
  void Pause(StatusCallback callback);
  void Resume(StatusCallback callback);
  void Update(oci::Resources resources, StatusCallback callback);
  using StatsCallback = std::move_only_function<void(Result<grpc::StatsContainerResponse>)>;
  void Stats(StatsCallback callback);

  // Kills what runs, undoes the set-up and calls back; `callback` is kept if a removal is under way already.
  // After `timeout` (0: never) the callback gets kDeadlineExceeded, and the removal goes on.
  void Remove(std::chrono::seconds timeout, StatusCallback callback);
  // Runs once when nothing of the container is left.
  void OnRemoved(std::function<void()> callback) { on_removed_ = std::move(callback); }

  // Drops an exec that nobody can learn anything from any more. One that was waited for but whose output is
  // not read goes after a while too. Init stays until the removal.
  void ForgetIfFinished(const std::string& exec_id);
  void DropConnection(uint64_t connection_id);

 private:
  struct PendingRemoval {
    StatusCallback callback;
    std::unique_ptr<asio::steady_timer> timer;
  };

  // The gate is open, and init runs its startContainer hooks.
  struct PendingStart {
    asio::posix::stream_descriptor answer;
    asio::steady_timer timer;
    StatusCallback callback;
  };

  Container(Context context, ContainerParts parts);
  bool running() const { return !init_->ended(); }
  // kFailedPrecondition unless init runs and the container is neither being removed nor, with `unpaused`,
  // paused.
  Status CheckUsable(bool unpaused) const;
  void KillAll();
  void TerminateInit(StatusCallback callback);
  void InitEnded();
  void TearDown();
  void AwaitStart(jail::StartingProgram starting, StatusCallback callback);
  void AdoptExec(const std::string& exec_id, Result<StartedExec> exec, StatusCallback callback);
  // Runs `step` on the container, which has its jail, as a job and tells its outcome.
  void RunStep(std::move_only_function<Status(ContainerParts&)> step, StatusCallback callback);

  Context context_;
  const std::string id_;
  const std::string cgroup_directory_;
  const std::string termination_log_;
  const std::set<std::string> names_;
  // Touched by jobs of jobs_ only, which run one at a time.
  std::shared_ptr<ContainerParts> parts_;
  JobQueue jobs_;
  std::shared_ptr<Process> init_;
  std::map<std::string, std::shared_ptr<Process>> execs_;  // null while it is being started
  std::set<std::string> given_up_execs_;                   // those that are killed once they have started
  std::map<std::string, std::unique_ptr<asio::steady_timer>> forget_timers_;
  std::unique_ptr<PendingStart> start_;
  bool looks_at_init_ = false;  // whether it would take a SIGTERM
  bool paused_ = false;
  bool oom_killed_ = false;
  bool removing_ = false;
  std::vector<PendingRemoval> removals_;
  std::function<void()> on_removed_;
};

}  // namespace kata::agent
