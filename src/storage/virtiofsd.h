// virtiofsd, the daemon that serves a directory of the host to a guest over vhost-user: QEMU's own (in C,
// until QEMU 7.2) and its successor in Rust.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/line_tail.h"
#include "base/process.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::storage {

enum class VirtiofsdKind { kQemu, kRust };

// From what `virtiofsd --version` printed. kUnimplemented for another program's words.
Result<VirtiofsdKind> ParseVirtiofsdVersion(std::string_view output);

// Asks the program itself.
Result<VirtiofsdKind> DetectVirtiofsdKind(const std::string& program, Deadline deadline);

// Whether a daemon of this kind takes VirtiofsdOptions::extra_args; kInvalidArgument names the first that it
// does not. Pure.
Status CheckExtraArguments(VirtiofsdKind kind, const std::vector<std::string>& args);

struct VirtiofsdOptions {
  std::string program;           // absolute path
  std::string shared_directory;  // absolute path
  std::string socket_directory;  // absolute path, ours alone; has the socket until its client is connected
  std::string cache = "auto";    // never, metadata, auto, always
  // The Rust daemon's options; for QEMU's they are translated, those without a counterpart refused. A
  // --sandbox among them replaces the default, "namespace".
  std::vector<std::string> extra_args;
  bool debug = false;  // it tells of all that it does
  // On the loop thread, for each line of its stderr.
  LineCallback on_error_line;
  std::vector<int> cgroup_procs_fds;  // (borrowed)
};

// The daemon's arguments; it accepts its one connection on the listening socket `listen_fd`. Pure.
Result<std::vector<std::string>> VirtiofsdArguments(VirtiofsdKind kind, const VirtiofsdOptions& options,
                                                    int listen_fd);

// A running daemon. Thread safe.
class Virtiofsd {
 public:
  // Called once on the loop thread when the daemon has ended without Stop(): "virtiofsd ended: exit status 1:
  // <last line of its stderr>". It ends by itself, with success, when the VMM closes the connection.
  using ExitCallback = std::function<void(const ExitStatus& status, std::string reason)>;

  // Starts the daemon with a client already connected to it: nobody else can ever connect, as the socket's
  // name is gone before the daemon runs. The daemon dies with the calling *thread*. Blocking; not from the
  // loop thread.
  static Result<std::unique_ptr<Virtiofsd>> Start(EventLoop& loop, const VirtiofsdOptions& options,
                                                  ExitCallback on_exit, Deadline deadline);
  ~Virtiofsd();  // Stop

  // The VMM's end of the connection, once; for VirtioFsDevice::socket_fd.
  UniqueFd TakeSocket();
  pid_t pid() const;
  bool running() const;
  // One printable line, bounded: how the daemon ended and the last that it said about an error; empty when
  // there is nothing to tell.
  std::string LastWords() const;
  // How it ended; nullopt when it still runs at the deadline. Blocking; not from the loop thread.
  std::optional<ExitStatus> WaitEnd(Deadline deadline);
  // SIGTERM, then SIGKILL after two seconds or when the deadline passes; reaps. Idempotent. Blocking.
  Status Stop(Deadline deadline);

  class Impl;

 private:
  explicit Virtiofsd(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace kata::storage
