// A virtio-serial port as a stream: found by name, served whenever the host has its end open.
#pragma once

#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::agent {

// The device node of the port with this name, e.g. "/dev/vport1p1". The kernel names nodes by number; the
// host's name stands in sysfs. kNotFound when there is no such port (yet).
Result<std::string> FindSerialPort(const std::string& name,
                                   const std::string& class_directory = "/sys/class/virtio-ports",
                                   const std::string& device_directory = "/dev");

// Waits for the port to appear, then for the host to open it, hands the stream out, and begins anew after
// Closed(). It waits for events only: a port without host is in hang-up all the time, which a level-triggered
// poll would report without end. Loop thread only.
class SerialPort {
 public:
  using StreamHandler = std::function<void(UniqueFd stream)>;
  // `loop` is borrowed.
  SerialPort(EventLoop& loop, std::string name, StreamHandler handler);

  // Starts, or starts again when the stream handed out has been closed: a port can be open only once.
  void Open();

 private:
  void AwaitPort();
  void AwaitHost();
  void RetryLater(const Error& error);
  // Whether the host has its end open.
  bool HostConnected() const;

  std::string name_;
  StreamHandler handler_;
  UniqueFd port_;
  asio::posix::stream_descriptor uevents_;  // open while the port is missing
  asio::posix::stream_descriptor changes_;  // an epoll set with port_, edge-triggered
  asio::steady_timer retry_;
};

}  // namespace kata::agent
