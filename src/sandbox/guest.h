// Guest: the sandbox's virtual machine with the agent in it, from boot to its end, whoever causes that.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "sandbox/agent_client.h"
#include "sandbox/guest_network.h"
#include "sandbox/machine.h"
#include "sandbox/patience.h"

namespace kata::sandbox {

// Members say which thread may call them. Owned by a shared_ptr, because jobs of the worker pool use it.
class Guest : public std::enable_shared_from_this<Guest> {
 public:
  struct Options {
    MachineFactory factory;
    std::chrono::nanoseconds agent_timeout{};  // from the start of the machine until the agent answers
    Patience patience;
    // Once, on the loop thread: a guest that was up is gone although nobody asked for that.
    std::function<void(std::string reason)> on_down;
    // On the loop thread: somebody on the host keeps the machine from running, so that it cannot answer. May
    // be empty.
    std::function<bool()> is_held;
    // On the loop thread: the reason for the machine's end with what is known besides. May be empty.
    std::function<std::string(std::string reason)> explain_end;
    // On the loop thread: a process of the container was killed for lack of memory. The guest chose the id.
    std::function<void(const std::string& container_id)> on_oom;
  };

  struct BootRequest {
    MachineOptions machine;              // on_exit and network_devices are set here
    grpc::CreateSandboxRequest sandbox;  // storages are added here
  };

  // `loop` and `workers` are borrowed and must outlive the object.
  Guest(EventLoop& loop, WorkerPool& workers, Options options);
  ~Guest();

  // Worker thread, once. Starts the machine, waits for the agent, creates the sandbox in it. After a failure
  // nothing is left running; the error has the machine's last words.
  Status Boot(BootRequest request);
  // Worker thread. Makes the machine at least as large as `size`, as far as it can be (Machine::Resize).
  Status Grow(MachineSize size);
  // Worker thread. Makes it at most as large. A guest gives memory back when it finds the time, so this waits
  // for a moment only and returns the size then; nullopt when there is nothing to wait for any more.
  std::optional<MachineSize> Shrink(MachineSize size);
  // Any thread. A Boot under way or to come fails with kCancelled and this reason.
  void CancelBoot(const std::string& reason);

  // Any thread. Null before Boot has succeeded and after the end.
  std::shared_ptr<AgentClient> agent() const;
  std::shared_ptr<Machine> machine() const;
  bool supports_seccomp() const;
  // Loop thread. Calls `done` there when the guest has the network that the container has now, or has had its
  // time for that, or with what it cannot have.
  void SettleNetwork(std::move_only_function<void(Status)> done);

  // Loop thread. Ends the guest in good order: the agent unmounts what it has, then the machine is stopped.
  // `done` runs on the loop thread, also when there is nothing (any more) to stop.
  void Stop(std::function<void()> done);

  // Loop thread. Ends a guest that is up but does not do what it must, as if its machine had ended for this
  // reason. Does nothing when it is not up (any more).
  void GiveUp(const std::string& reason);

  // Loop thread. Gives `error` of a failed call back, or, if that failed because the guest is dying, the
  // reason for that, as soon as it is known.
  void Explain(Error error, std::function<void(Error)> callback);

 private:
  enum class State { kNew, kBooting, kUp, kStopping, kDown };
  // Short, as growing waits for it.
  static constexpr std::chrono::seconds kShrinkTime{1};
  // From the end of the agent's stream until the machine's end must have explained it.
  static constexpr std::chrono::seconds kExplanationTime{2};

  Result<std::shared_ptr<AgentClient>> BootSteps(BootRequest request);
  // Null for internetworking_model "none".
  Result<std::shared_ptr<GuestNetwork>> ConnectNetwork(const MachineOptions& options);
  Result<std::shared_ptr<Machine>> StartMachine(MachineOptions options, Deadline deadline);
  Result<std::shared_ptr<AgentClient>> ConnectAgent(Machine& machine, Deadline deadline);
  // Tells the agent, too, which brings processors online and gives the containers their part of the memory.
  Result<MachineSize> Resize(Machine& machine, MachineSize size, std::chrono::seconds time);
  Status FailIfCancelled() const;
  std::shared_ptr<GuestNetwork> network() const;
  // The best explanation for a failure while booting: a cancellation, the machine's end, its last words.
  Error ExplainBootFailure(Error error) const;

  void OnMachineExit(const std::string& reason);
  void OnAgentClosed();
  // Asks the agent from time to time whether it serves; gives the guest up when it does not answer.
  void WatchAgent(const std::shared_ptr<AgentClient>& agent);
  void CheckAgent(const std::shared_ptr<AgentClient>& agent, bool last_chance);
  void GoDown(const std::string& reason);
  void WaitForReason(Error error, std::function<void(Error)> callback);
  void StopMachine(std::function<void()> done);
  // Worker thread. Either may be null.
  static void End(Machine* machine, GuestNetwork* network);
  void FinishStop();
  void WaitForOomEvent(const std::shared_ptr<AgentClient>& agent);

  EventLoop& loop_;
  WorkerPool& workers_;
  const Options options_;

  std::mutex resize_mutex_;  // one change of the machine's size at a time

  mutable std::mutex mutex_;  // guards what follows, up to the blank line
  State state_ = State::kNew;
  bool cancelled_ = false;
  std::string cancel_reason_;
  std::string exit_reason_;  // of the machine
  std::shared_ptr<Machine> machine_;
  std::shared_ptr<AgentClient> agent_;
  std::shared_ptr<GuestNetwork> network_;
  bool supports_seccomp_ = false;

  // Loop thread.
  std::vector<std::function<void()>> stop_callbacks_;
  std::vector<std::function<void(Error)>> waiting_for_reason_;
};

}  // namespace kata::sandbox
