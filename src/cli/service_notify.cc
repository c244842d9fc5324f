#include "cli/service_notify.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "base/deadline.h"
#include "base/log.h"
#include "linux/unix_socket.h"
#include "protocol/ready_line.h"

namespace kata::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Its queue is full only when the manager stands still.
constexpr seconds kSendTime{10};
// Between two questions to the sandbox server.
constexpr seconds kQuestionTime{60};

Error Cancelled() {
  return Error(Code::kCancelled, "the wait for the container to be ready was ended");
}

Error NotifySocketError(Error cause) {
  // "Unavailable" would mean that the container's server is.
  return std::move(cause).Wrap("NOTIFY_SOCKET").WithCode(Code::kFailedPrecondition);
}

// The container has gone, or its server is of a release that does not know of this.
bool IsEnd(const Error& error) {
  return error.code() == Code::kUnavailable || error.code() == Code::kNotFound ||
         error.code() == Code::kUnimplemented;
}

}  // namespace

std::string NotifyAddress() {
  const char* address = getenv("NOTIFY_SOCKET");
  return address == nullptr ? "" : address;
}

Result<ServiceManager> ServiceManager::Connect(const std::string& address) {
  Result<UniqueFd> socket = address.starts_with('@')
                                ? linux::ConnectUnixAbstract(address.substr(1))
                                : linux::ConnectUnix(address, SOCK_DGRAM, Deadline::After(kSendTime));
  if (!socket) return NotifySocketError(std::move(socket).error());
  return ServiceManager(std::move(*socket));
}

Status ServiceManager::TellReady(const std::string& line, pid_t pid, int stop_fd,
                                 milliseconds patience) const {
  for (const std::string& message : {line + "\n", fmt::format("MAINPID={}\n", pid)}) {
    Status sent = linux::SendUnixMessage(socket_.get(), message, {}, Deadline::After(kSendTime));
    if (!sent) return NotifySocketError(std::move(sent).error());
  }
  return AwaitNotice(stop_fd, patience);
}

// The manager closes what it gets with this message when it has dealt with those before.
Status ServiceManager::AwaitNotice(int stop_fd, milliseconds patience) const {
  PipeEnds barrier = TRY(MakePipe());
  Status sent =
      linux::SendUnixMessage(socket_.get(), "BARRIER=1", {barrier.write.get()}, Deadline::After(kSendTime));
  if (!sent) return NotifySocketError(std::move(sent).error());
  barrier.write.Reset();
  const Deadline deadline = Deadline::After(patience);
  for (;;) {
    pollfd fds[] = {{barrier.read.get(), 0, 0}, {stop_fd, POLLIN, 0}};
    const int count = poll(fds, 2, deadline.RemainingPollMs());
    if (count < 0 && errno != EINTR) return SysError("wait for the service manager");
    if (count < 0) continue;
    if (fds[0].revents != 0) return {};
    if (fds[1].revents != 0) return Cancelled();
    if (!deadline.Passed()) continue;
    log::Warning("the service manager does not say that it has taken notice", {{"ms", patience.count()}});
    return {};
  }
}

Status PassReadyOn(TaskClient& server, const std::string& id, const ServiceManager& manager, pid_t pid,
                   int stop_fd) {
  for (;;) {
    const Result<monitor::WaitReadyResponse> answer = server.WaitReady(id, kQuestionTime);
    if (!answer) {
      if (!IsEnd(answer.error())) return answer.error();
      log::Debug("the container is not ready", {{"container", id}, {"error", answer.error().message()}});
      return {};
    }
    // What the guest has sent was looked at by the server; this is the border to the host's service manager.
    if (protocol::IsReadyLine(answer->line())) return manager.TellReady(answer->line(), pid, stop_fd);
    if (answer->over()) return {};
  }
}

Result<std::unique_ptr<ReadyForwarder>> ReadyForwarder::Start(UniqueFd connection, std::string id,
                                                              std::string address, pid_t pid) {
  UniqueFd stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop) return SysError("create event descriptor");
  std::unique_ptr<ReadyForwarder> forwarder(new ReadyForwarder(std::move(stop)));
  forwarder->thread_ = std::thread([stop_fd = forwarder->stop_.get(), connection = std::move(connection),
                                    id = std::move(id), address = std::move(address), pid]() mutable {
    const auto forward = [&]() -> Status {
      const ServiceManager manager = TRY(ServiceManager::Connect(address));
      TaskClient server(std::move(connection));
      server.WatchWhileWaiting(stop_fd, []() -> Status { return Cancelled(); });
      return PassReadyOn(server, id, manager, pid, stop_fd);
    };
    const Status forwarded = forward();
    if (forwarded || forwarded.error().code() == Code::kCancelled) return;
    log::Warning("the service manager is not told that the container is ready",
                 {{"container", id}, {"error", forwarded.error().message()}});
  });
  return forwarder;
}

ReadyForwarder::~ReadyForwarder() {
  eventfd_write(stop_.get(), 1);  // cannot fail: the counter is 0
  thread_.join();
}

}  // namespace kata::cli
