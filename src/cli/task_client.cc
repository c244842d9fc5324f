#include "cli/task_client.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <optional>

#include "base/deadline.h"
#include "oci/json.h"
#include "protocol/constants.h"
#include "sandbox/time_limits.h"

namespace kata::cli {
namespace {

using std::chrono::seconds;

// The server answers from memory.
constexpr seconds kStateTimeout{10};

// Where the answer of a call waits for the thread that called. Shared with the callback, which may come later
// than anybody waits.
class Answer {
 public:
  static Result<std::shared_ptr<Answer>> Create() {
    UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event) return SysError("create event descriptor");
    return std::make_shared<Answer>(std::move(event));
  }
  explicit Answer(UniqueFd event) : event_(std::move(event)) {}

  int fd() const { return event_.get(); }
  void Set(Result<std::string> payload) {
    const std::lock_guard lock(mutex_);
    payload_ = std::move(payload);
    eventfd_write(event_.get(), 1);  // cannot fail: the counter is 0
  }
  std::optional<Result<std::string>> Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(payload_, std::nullopt);
  }

 private:
  UniqueFd event_;
  std::mutex mutex_;
  std::optional<Result<std::string>> payload_;
};

}  // namespace

void TaskClient::WatchWhileWaiting(int fd, std::function<Status()> on_readable) {
  watches_.push_back({fd, std::move(on_readable)});
}

void TaskClient::Unwatch(int fd) {
  std::erase_if(watches_, [fd](const Watch& watch) { return watch.fd == fd; });
}

Result<std::string> TaskClient::CallRaw(std::string_view service, const char* method, std::string payload,
                                        std::chrono::nanoseconds timeout) {
  const std::shared_ptr<Answer> answer = TRY(Answer::Create());
  client_.CallRaw(std::string(service), method, std::move(payload), timeout,
                  [answer](Result<std::string> response) { answer->Set(std::move(response)); });
  std::vector<pollfd> fds = {{answer->fd(), POLLIN, 0}};
  for (const Watch& watch : watches_) fds.push_back({watch.fd, POLLIN, 0});
  for (;;) {
    // Without a time-out of its own: the client answers when that of the call is over.
    if (poll(fds.data(), fds.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return SysError("wait for the sandbox server");
    }
    if (std::optional<Result<std::string>> response = answer->Take()) return std::move(*response);
    for (size_t i = 1; i < fds.size(); ++i) {
      if (fds[i].revents == 0) continue;
      TRY(watches_[i - 1].on_readable());
      // At its end a pipe stays readable; poll ignores a negative descriptor.
      if ((fds[i].revents & POLLHUP) != 0) fds[i].fd = -1;
    }
  }
}

template <typename Response, typename Request>
Result<Response> TaskClient::Call(const char* method, const Request& request,
                                  std::chrono::nanoseconds timeout, std::string_view service) {
  const std::string payload = TRY(CallRaw(service, method, request.SerializeAsString(), timeout));
  Response response;
  if (!response.ParseFromString(payload)) {
    return MakeError(Code::kInternal, "the sandbox server's answer to {} does not parse", method);
  }
  return response;
}

Result<task::StateResponse> TaskClient::State(const std::string& id, const std::string& exec_id) {
  task::StateRequest request;
  request.set_id(id);
  request.set_exec_id(exec_id);
  return Call<task::StateResponse>("State", request, kStateTimeout);
}

Status TaskClient::Create(const std::string& id, const std::string& bundle, bool terminal, bool notify,
                          std::chrono::nanoseconds timeout) {
  task::CreateTaskRequest request;
  request.set_id(id);
  request.set_bundle(bundle);
  request.set_terminal(terminal);
  request.set_notify(notify);
  TRY(Call<task::CreateTaskResponse>("Create", request, timeout));
  return {};
}

Status TaskClient::Exec(const std::string& id, const std::string& exec_id, const oci::Process& process,
                        const std::string& cgroup, bool ignore_paused) {
  task::ExecProcessRequest request;
  request.set_id(id);
  request.set_exec_id(exec_id);
  request.set_terminal(process.terminal);
  request.set_ignore_paused(ignore_paused);
  request.set_cgroup(cgroup);
  request.mutable_spec()->set_type_url(std::string(protocol::kProcessTypeUrl));
  request.mutable_spec()->set_value(oci::ToJson(process));
  TRY(Call<Empty>("Exec", request, sandbox::kCallLimit));
  return {};
}

Status TaskClient::Start(const std::string& id, const std::string& exec_id, seconds extra_time) {
  task::StartRequest request;
  request.set_id(id);
  request.set_exec_id(exec_id);
  TRY(Call<task::StartResponse>("Start", request, sandbox::kStartLimit + extra_time));
  return {};
}

Status TaskClient::Kill(const std::string& id, int signal, bool all) {
  task::KillRequest request;
  request.set_id(id);
  request.set_signal(static_cast<uint32_t>(signal));
  request.set_all(all);
  TRY(Call<Empty>("Kill", request, sandbox::kCallLimit));
  return {};
}

Status TaskClient::Wait(const std::string& id, std::chrono::nanoseconds timeout) {
  task::WaitRequest request;
  request.set_id(id);
  TRY(Call<task::WaitResponse>("Wait", request, timeout));
  return {};
}

Status TaskClient::Delete(const std::string& id, const std::string& exec_id) {
  task::DeleteRequest request;
  request.set_id(id);
  request.set_exec_id(exec_id);
  TRY(Call<task::DeleteResponse>("Delete", request, sandbox::kDeleteLimit));
  return {};
}

Status TaskClient::Pause(const std::string& id) {
  task::PauseRequest request;
  request.set_id(id);
  TRY(Call<Empty>("Pause", request, sandbox::kCallLimit));
  return {};
}

Status TaskClient::Resume(const std::string& id) {
  task::ResumeRequest request;
  request.set_id(id);
  TRY(Call<Empty>("Resume", request, sandbox::kCallLimit));
  return {};
}

Status TaskClient::Update(const std::string& id, const oci::Resources& resources) {
  task::UpdateTaskRequest request;
  request.set_id(id);
  request.mutable_resources()->set_type_url(std::string(protocol::kResourcesTypeUrl));
  request.mutable_resources()->set_value(oci::ToJson(resources));
  TRY(Call<Empty>("Update", request, sandbox::kUpdateLimit));
  return {};
}

Result<grpc::StatsContainerResponse> TaskClient::Stats(const std::string& id) {
  monitor::StatsRequest request;
  request.set_id(id);
  return Call<grpc::StatsContainerResponse>("Stats", request, sandbox::kCallLimit, protocol::kMonitorService);
}

Result<monitor::WaitEventResponse> TaskClient::WaitEvent(const std::string& id, uint64_t oom_kills,
                                                         std::chrono::milliseconds timeout) {
  monitor::WaitEventRequest request;
  request.set_id(id);
  request.set_oom_kills(oom_kills);
  request.set_timeout_ms(static_cast<uint32_t>(std::clamp<int64_t>(timeout.count(), 0, UINT32_MAX)));
  return Call<monitor::WaitEventResponse>("WaitEvent", request, sandbox::kCallLimit + timeout,
                                          protocol::kMonitorService);
}

Result<monitor::WaitReadyResponse> TaskClient::WaitReady(const std::string& id,
                                                         std::chrono::milliseconds timeout) {
  monitor::WaitReadyRequest request;
  request.set_id(id);
  request.set_timeout_ms(static_cast<uint32_t>(std::clamp<int64_t>(timeout.count(), 0, UINT32_MAX)));
  return Call<monitor::WaitReadyResponse>("WaitReady", request, sandbox::kCallLimit + timeout,
                                          protocol::kMonitorService);
}

Result<std::vector<pid_t>> TaskClient::Pids(const std::string& id) {
  task::PidsRequest request;
  request.set_id(id);
  const task::PidsResponse response = TRY(Call<task::PidsResponse>("Pids", request, kStateTimeout));
  std::vector<pid_t> pids;
  for (const task::ProcessInfo& process : response.processes())
    pids.push_back(static_cast<pid_t>(process.pid()));
  return pids;
}

Status TaskClient::Shutdown(const std::string& id, bool now) {
  task::ShutdownRequest request;
  request.set_id(id);
  request.set_now(now);
  TRY(Call<Empty>("Shutdown", request, sandbox::kShutdownLimit));
  return {};
}

}  // namespace kata::cli
