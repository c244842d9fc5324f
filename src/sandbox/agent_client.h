// AgentClient: the calls that the sandbox server makes to the agent in the guest, with their time limits.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "proto/agent.pb.h"
#include "proto/network_service.pb.h"
#include "sandbox/process_io.h"
#include "ttrpc/client.h"

namespace kata::sandbox {

// What a program in the guest has sent to the name server.
struct NameQuery {
  uint64_t id = 0;
  bool stream = false;  // over TCP
  std::string message;  // as the guest says, of any length
};

// Thread safe. Callbacks run on the loop thread, each exactly once. When the stream to the guest has ended
// all calls fail with kUnavailable.
class AgentClient : public std::enable_shared_from_this<AgentClient> {
 public:
  using StatusCallback = std::move_only_function<void(Status)>;
  template <typename T>
  using ResultCallback = std::move_only_function<void(Result<T>)>;

  // `loop` is borrowed. `stream` leads to the agent, which may not be up yet.
  AgentClient(EventLoop& loop, UniqueFd stream) : client_(loop, std::move(stream)) {}

  // --- Blocking; not on the loop thread. ---
  // Returns when the agent has said that it serves.
  Status Check(Deadline deadline);
  Result<grpc::GuestDetailsResponse> GetGuestDetails(Deadline deadline);
  Status CreateSandbox(const grpc::CreateSandboxRequest& request, Deadline deadline);
  Status CreateContainer(const grpc::CreateContainerRequest& request, std::chrono::nanoseconds timeout);

  // Brings `cpus` processors online that were plugged in, and all memory when `memory` has changed.
  Status OnlineCpusAndMemory(uint32_t cpus, bool memory);

  Status UpdateInterface(const types::Interface& interface, Deadline deadline);
  Status UpdateRoutes(const grpc::Routes& routes, Deadline deadline);
  Status AddArpNeighbors(const grpc::ARPNeighbors& neighbors, Deadline deadline);
  Status SetIpv6(const agent::v1::SetIpv6Request& request, Deadline deadline);
  // Queries of the guest for this address of its loopback interface are NextNameQuery's from now on.
  Status ListenForNames(const std::string& address, uint16_t port);

  // From now on there is a socket by which the container that will be created says that it is ready
  // (kGuestNotifyDirectory).
  Status ListenForReady(const std::string& container_id);

  // --- From any thread. ---
  // As the blocking Check.
  void Check(std::chrono::nanoseconds timeout, StatusCallback callback);
  // `hooks_time`: what startContainer hooks may take besides.
  void StartContainer(const std::string& container_id, std::chrono::seconds hooks_time,
                      StatusCallback callback);
  // `timeout`: how long the agent may wait for the container's processes to go.
  void RemoveContainer(const std::string& container_id, std::chrono::seconds timeout,
                       StatusCallback callback);
  void ExecProcess(const grpc::ExecProcessRequest& request, StatusCallback callback);
  // An empty exec_id means the whole container.
  void SignalProcess(const std::string& container_id, const std::string& exec_id, int signal,
                     StatusCallback callback);
  // To all processes of the container.
  void SignalAll(const std::string& container_id, int signal, StatusCallback callback);
  struct Exit {
    int code = 0;             // or 128 + signal
    bool oom_killed = false;  // of init: a process of the container was killed for lack of memory before
  };
  // Answers when the process has ended, without a limit of time.
  void WaitProcess(const std::string& container_id, const std::string& exec_id,
                   ResultCallback<Exit> callback);
  void UpdateContainer(const grpc::UpdateContainerRequest& request, StatusCallback callback);
  void PauseContainer(const std::string& container_id, StatusCallback callback);
  void ResumeContainer(const std::string& container_id, StatusCallback callback);
  void ResizeTerminal(const std::string& container_id, const std::string& exec_id, uint32_t rows,
                      uint32_t columns, StatusCallback callback);
  void StatsContainer(const std::string& container_id, ResultCallback<grpc::StatsContainerResponse> callback);
  void DestroySandbox(std::chrono::seconds timeout, StatusCallback callback);
  // Answers when a process was killed for lack of memory: its container's id.
  void GetOomEvent(ResultCallback<std::string> callback);

  // Answers when there is a query, without a limit of time.
  void NextNameQuery(ResultCallback<NameQuery> callback);
  void AnswerNameQuery(uint64_t id, std::string message, StatusCallback callback);

  // Answers when the container has said so, without a limit of time: a line that IsReadyLine() holds for.
  void AwaitReady(const std::string& container_id, ResultCallback<std::string> callback);

  // The streams of one process; they keep the client alive.
  std::shared_ptr<GuestStreams> Streams(const std::string& container_id, const std::string& exec_id);

  void OnClosed(std::function<void()> callback) { client_.OnClosed(std::move(callback)); }
  // Ends the stream: calls under way fail.
  void Close() { client_.Close(); }

 private:
  friend class AgentStreams;
  template <typename Request>
  void CallForStatus(const char* method, const Request& request, ttrpc::Client::Timeout timeout,
                     StatusCallback callback);

  ttrpc::Client client_;
};

}  // namespace kata::sandbox
