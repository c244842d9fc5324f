#include "agent/serial_port.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <chrono>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "linux/netlink/events.h"

namespace kata::agent {
namespace {

using asio::posix::stream_descriptor;

constexpr std::chrono::milliseconds kRetryPause{200};

}  // namespace

Result<std::string> FindSerialPort(const std::string& name, const std::string& class_directory,
                                   const std::string& device_directory) {
  const Result<std::vector<std::string>> ports = ListDirectory(class_directory);
  if (ports) {
    for (const std::string& port : *ports) {
      const Result<std::string> text = ReadFile(fmt::format("{}/{}/name", class_directory, port));
      if (!text) continue;
      if (std::string_view(*text).substr(0, text->find('\n')) == name) {
        return fmt::format("{}/{}", device_directory, port);
      }
    }
  }
  return MakeError(Code::kNotFound, "no virtio-serial port named '{}'", name);
}

SerialPort::SerialPort(EventLoop& loop, std::string name, StreamHandler handler)
    : name_(std::move(name)),
      handler_(std::move(handler)),
      uevents_(loop.context()),
      changes_(loop.context()),
      retry_(loop.context()) {}

void SerialPort::Open() {
  // Listening before looking: a port that appears in between is not missed.
  if (!uevents_.is_open()) {
    Result<UniqueFd> uevents = linux::OpenDeviceEvents();
    if (!uevents) return RetryLater(uevents.error());
    uevents_.assign(uevents->Release());
  }
  const Result<std::string> path = FindSerialPort(name_);
  if (!path) return AwaitPort();
  Result<UniqueFd> port = kata::Open(*path, O_RDWR | O_NONBLOCK | O_NOCTTY);
  if (!port) return RetryLater(port.error());
  uevents_.close();
  port_ = std::move(*port);

  UniqueFd changes(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLET;
  if (!changes.valid() || epoll_ctl(changes.get(), EPOLL_CTL_ADD, port_.get(), &event) != 0) {
    return RetryLater(SysError("watch '{}'", *path));
  }
  changes_.assign(changes.Release());
  AwaitHost();
}

void SerialPort::AwaitPort() {
  uevents_.async_wait(stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (error) return;
    linux::DrainEvents(uevents_.native_handle());
    Open();
  });
}

void SerialPort::AwaitHost() {
  // Takes what has happened so far out of the set; only a new event makes it readable again (epoll(7)).
  epoll_event event;
  epoll_wait(changes_.native_handle(), &event, 1, 0);
  if (HostConnected()) {
    changes_.close();
    handler_(std::move(port_));
    return;
  }
  changes_.async_wait(stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (!error) AwaitHost();
  });
}

void SerialPort::RetryLater(const Error& error) {
  log::Debug("virtio-serial port is not usable yet", {{"port", name_}, {"error", error.message()}});
  port_.Reset();
  retry_.expires_after(kRetryPause);
  retry_.async_wait([this](const asio::error_code& cancelled) {
    if (!cancelled) Open();
  });
}

bool SerialPort::HostConnected() const {
  pollfd entry{.fd = port_.get(), .events = POLLIN | POLLOUT, .revents = 0};
  return poll(&entry, 1, 0) >= 0 && (entry.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0;
}

}  // namespace kata::agent
