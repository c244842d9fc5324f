// The sandbox server's APIs, one function a call.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/spec.h"
#include "proto/monitor.pb.h"
#include "proto/task.pb.h"
#include "protocol/constants.h"
#include "ttrpc/client.h"

namespace kata::cli {

namespace task = ::containerd::task::v2;
namespace monitor = ::kata::sandbox::v1;

// For one thread. Every call waits for its answer, at most until its time-out.
class TaskClient {
 public:
  // `connection`: of StateDirectory::ConnectTask().
  explicit TaskClient(UniqueFd connection) : client_(loop_.loop(), std::move(connection)) {}

  // While a call waits, `on_readable` runs each time that `fd` (borrowed) is readable; an error that it
  // returns ends the wait and is the call's result.
  void WatchWhileWaiting(int fd, std::function<Status()> on_readable);
  // No longer.
  void Unwatch(int fd);

  // The exec id of all calls: empty for the container's init.
  Result<task::StateResponse> State(const std::string& id, const std::string& exec_id = {});
  // `notify`: WaitReady will be asked.
  Status Create(const std::string& id, const std::string& bundle, bool terminal, bool notify,
                std::chrono::nanoseconds timeout);
  Status Exec(const std::string& id, const std::string& exec_id, const oci::Process& process,
              const std::string& cgroup, bool ignore_paused);
  // `extra_time`: what hooks, or a wait for the resumption of the container, may take besides. kAborted: a
  // hook failed, and the container was killed.
  Status Start(const std::string& id, const std::string& exec_id, std::chrono::seconds extra_time);
  Status Kill(const std::string& id, int signal, bool all);
  // Until init has ended; kDeadlineExceeded.
  Status Wait(const std::string& id, std::chrono::nanoseconds timeout);
  Status Delete(const std::string& id, const std::string& exec_id = {});
  Status Pause(const std::string& id);
  Status Resume(const std::string& id);
  Status Update(const std::string& id, const oci::Resources& resources);
  Result<std::vector<pid_t>> Pids(const std::string& id);
  Result<grpc::StatsContainerResponse> Stats(const std::string& id);
  // Answers when more than `oom_kills` processes were killed for lack of memory, when the container has
  // stopped, or after `timeout`.
  Result<monitor::WaitEventResponse> WaitEvent(const std::string& id, uint64_t oom_kills,
                                               std::chrono::milliseconds timeout);
  // Answers when the container has said that it is ready or will not, or after `timeout`.
  Result<monitor::WaitReadyResponse> WaitReady(const std::string& id, std::chrono::milliseconds timeout);
  // Ends the server; `now`: whatever it has running.
  Status Shutdown(const std::string& id, bool now);

 private:
  struct Watch {
    int fd;
    std::function<Status()> on_readable;
  };

  template <typename Response, typename Request>
  Result<Response> Call(const char* method, const Request& request, std::chrono::nanoseconds timeout,
                        std::string_view service = protocol::kTaskService);
  Result<std::string> CallRaw(std::string_view service, const char* method, std::string payload,
                              std::chrono::nanoseconds timeout);

  EventLoopThread loop_;
  ttrpc::Client client_;  // behind the loop that it uses
  std::vector<Watch> watches_;
};

}  // namespace kata::cli
