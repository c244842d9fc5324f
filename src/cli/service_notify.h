// A container that is a service: its word that it is ready goes on to the service manager of the host, which
// waits for it (NOTIFY_SOCKET, sd_notify(3)).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cli/task_client.h"

namespace kata::cli {

// What NOTIFY_SOCKET of this program names; empty: nobody waits.
std::string NotifyAddress();

class ServiceManager {
 public:
  // `address`: a path, or "@NAME" (unix(7), "abstract").
  static Result<ServiceManager> Connect(const std::string& address);

  // Says `line` and then that `pid` is the service's main process, and returns when the manager has taken
  // notice of both: whoever sends may end then (sd_notify_barrier(3)). One that does not answer to that
  // within `patience` is warned of and taken for an old one, as runc does. kCancelled once `stop_fd`
  // (borrowed; -1: none) is readable.
  Status TellReady(const std::string& line, pid_t pid, int stop_fd = -1,
                   std::chrono::milliseconds patience = std::chrono::seconds(30)) const;

 private:
  explicit ServiceManager(UniqueFd socket) : socket_(std::move(socket)) {}
  Status AwaitNotice(int stop_fd, std::chrono::milliseconds patience) const;

  UniqueFd socket_;
};

// Waits, as long as the container lives, until it says that it is ready, and passes that on. Success as well
// when it ends without, or when nobody listens to it.
Status PassReadyOn(TaskClient& server, const std::string& id, const ServiceManager& manager, pid_t pid,
                   int stop_fd = -1);

// Does so on a thread of its own until destruction, which ends it. What fails is warned of.
class ReadyForwarder {
 public:
  // `connection`: of the sandbox server's, for a TaskClient. `address` as for ServiceManager.
  static Result<std::unique_ptr<ReadyForwarder>> Start(UniqueFd connection, std::string id,
                                                       std::string address, pid_t pid);
  ~ReadyForwarder();
  ReadyForwarder(const ReadyForwarder&) = delete;
  ReadyForwarder& operator=(const ReadyForwarder&) = delete;

 private:
  explicit ReadyForwarder(UniqueFd stop) : stop_(std::move(stop)) {}

  UniqueFd stop_;  // an eventfd
  std::thread thread_;
};

}  // namespace kata::cli
