// RunServer.
#include "sandbox/server.h"

#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <csignal>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/event_loop.h"
#include "base/log.h"
#include "sandbox/attach_server.h"
#include "sandbox/fd_watcher.h"
#include "sandbox/monitor_service.h"
#include "sandbox/sandbox.h"
#include "sandbox/task_service.h"
#include "ttrpc/server.h"

namespace kata::sandbox {
namespace {

// One is held by the creation of a container while it waits for the guest, one perhaps by a hook; ending a
// machine, or removing another container's files, must not queue behind them.
constexpr size_t kWorkers = 4;

// One for each command under way.
constexpr size_t kMaxClients = 1024;

Result<StateDirectory> OpenStateDirectory(const ServerOptions& options) {
  const std::filesystem::path path(options.state_directory);
  if (!path.is_absolute() || path.filename() != options.id) {
    return MakeError(Code::kInvalidArgument, "state directory '{}' is not that of container '{}'",
                     options.state_directory, options.id);
  }
  return StateDirectory::Open(path.parent_path(), options.id);
}

}  // namespace

Status RunServer(ServerOptions options) {
  // A client that goes away while it is written to is an error of that write (EPIPE), not the end.
  std::signal(SIGPIPE, SIG_IGN);
  StateDirectory directory = TRY(OpenStateDirectory(options));

  EventLoop loop;
  const std::unique_ptr<FdWatcher> watcher = TRY(FdWatcher::Create(loop));
  WorkerPool workers(kWorkers);
  const auto sandbox = std::make_shared<Sandbox>(
      loop, workers, *watcher,
      Sandbox::Options{.directory = std::move(directory),
                       .config = std::move(options.config),
                       .machine_factory = std::move(options.machine_factory),
                       .patience = options.patience,
                       .host_mount_namespace = std::move(options.host_mount_namespace),
                       // What was answered before goes out first.
                       .on_finished = [&loop] { loop.Post([&loop] { loop.Stop(); }); }});

  ttrpc::Server server(loop);
  RegisterTaskService(server, sandbox);
  RegisterMonitorService(server, sandbox);
  const std::unique_ptr<AttachServer> attach_server = TRY(AttachServer::Create(
      loop, *watcher, std::move(options.attach_socket),
      {.on_attach = [sandbox](
                        AttachRequest request,
                        uint64_t connection) { return sandbox->Attach(std::move(request), connection); },
       .on_closed = [sandbox](uint64_t connection,
                              bool committed) { sandbox->OnAttachClosed(connection, committed); }}));
  server.Listen(std::move(options.task_socket), kMaxClients);

  asio::steady_timer idle_timer(loop.context(), options.idle_timeout);
  idle_timer.async_wait([sandbox](const std::error_code& error) {
    if (!error) sandbox->OnIdle();
  });
  asio::signal_set signals(loop.context(), SIGTERM, SIGINT);
  signals.async_wait([sandbox](const std::error_code& error, int signal) {
    if (error) return;
    log::Warning("the sandbox is ended by a signal", {{"signal", signal}});
    sandbox->Shutdown(/*now=*/true, [](const Status&) {});
  });

  loop.Run();
  return {};
}

}  // namespace kata::sandbox
