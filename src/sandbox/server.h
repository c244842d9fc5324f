// The sandbox server: the loop, the sockets and the sandbox in one process.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "config/config.h"
#include "sandbox/machine.h"
#include "sandbox/patience.h"

namespace kata::sandbox {

struct ServerOptions {
  std::string id;               // of the sandbox
  std::string state_directory;  // <root>/<id>; it exists
  config::Config config;
  UniqueFd task_socket;    // listening; the task API
  UniqueFd attach_socket;  // listening; attach.h
  MachineFactory machine_factory;
  UniqueFd host_mount_namespace;  // that hooks run in; not valid: this process's own
  // A client must have attached by then, else the server ends and removes the state directory. Before it
  // does, the client waits for systemd, half a minute at most.
  std::chrono::milliseconds idle_timeout{60000};
  Patience patience;
};

// Serves until the sandbox has ended: by Shutdown, by SIGTERM or SIGINT (all is ended then), or because
// nobody wants it. The calling thread becomes the loop thread. Ignores SIGPIPE for the whole process.
Status RunServer(ServerOptions options);

}  // namespace kata::sandbox
