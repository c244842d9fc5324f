#include "agent/agent.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>
// after <sys/socket.h>, which it needs
#include <linux/vm_sockets.h>

#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/debug_console.h"
#include "agent/guest_boot.h"
#include "agent/log_channel.h"
#include "agent/name_relay.h"
#include "agent/options.h"
#include "agent/sandbox.h"
#include "agent/serial_port.h"
#include "agent/server_address.h"
#include "agent/services.h"
#include "base/acceptor.h"
#include "base/file.h"
#include "base/log.h"
#include "base/version.h"
#include "jail/jail.h"
#include "linux/unix_socket.h"
#include "linux/vsock.h"
#include "protocol/constants.h"
#include "ttrpc/server.h"

namespace kata::agent {
namespace {

// Some jobs wait, for a device or a program; the others must not queue behind them.
constexpr size_t kWorkers = 4;
#ifdef __SANITIZE_THREAD__
constexpr size_t kThreadStackBytes = 8u << 20;  // the sanitizer's own data lies there, too
#else
constexpr size_t kThreadStackBytes = 256u << 10;
#endif
constexpr char kCgroupRoot[] = "/sys/fs/cgroup";
constexpr char kLogPort[] = "agent.log.0";
constexpr char kConsole[] = "/dev/console";
constexpr std::chrono::seconds kDialTimeout{30};
constexpr std::chrono::seconds kStopTimeout{10};
constexpr std::chrono::seconds kWatchInterval{2};

// vsock(7) knows no network namespaces: where the kernel has a loopback for it, every process of a container
// can connect to the agent. Only the host may; the kernel lets nobody else bind its CID.
Acceptor::Handler FromHostOnly(std::function<void(UniqueFd stream)> handler) {
  return [handler = std::move(handler)](UniqueFd stream, const sockaddr_storage& peer,
                                        const Acceptor::Place&) {
    if (peer.ss_family == AF_VSOCK && reinterpret_cast<const sockaddr_vm&>(peer).svm_cid != VMADDR_CID_HOST) {
      log::Warning("refused a connection that does not come from the host");
      return;
    }
    handler(std::move(stream));
  };
}

// One arena and early return of memory: the agent lives in the memory of its guest.
void KeepMemorySmall() {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, 128 << 10);
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kThreadStackBytes);
  pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
}

// What ends an agent that is not the guest's init.
sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// Before there are threads: one that does not block a signal would take its default action, the end of the
// program. A guest's init has nobody to stop it and just does not end.
void BlockStopSignals() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

// Everything that runs while the agent serves. Loop thread only.
class Agent {
 public:
  Agent(const Options& options, const Settings& settings)
      : options_(options),
        settings_(settings),
        reaper_(loop_),
        storages_(settings.hotplug_timeout),
        workers_(kWorkers),
        jobs_(loop_, workers_, reaper_),
        name_relay_(loop_, settings.cgroup_root),
        ready_sockets_(loop_),
        stop_signals_(loop_.context()),
        stop_timer_(loop_.context()),
        watch_timer_(loop_.context()) {
    storages_.OnWatch([this] { loop_.Post([this] { ArmWatch(); }); });
  }

  Status Run(const std::shared_ptr<LogStream>& log_stream);

 private:
  Status OpenChannel();
  void ServeStream(UniqueFd stream);
  Status ServeLog(const std::shared_ptr<LogStream>& log_stream);
  // On a vsock port, or on the console if the options name none; as far as the guest has a shell.
  void OfferDebugConsole();
  // Calls the host and serves this one connection.
  void DialHost(uint32_t port);
  // Brings watched storages up to date every two seconds, as long as there are some.
  void ArmWatch();
  Status AwaitStopSignal();
  void StopGracefully();

  const Options& options_;
  const Settings& settings_;
  EventLoop loop_;
  Reaper reaper_;          // blocks its signal before the threads of workers_ begin
  StorageTable storages_;  // outlives the jobs that use it
  WorkerPool workers_;
  JobRunner jobs_;
  NameRelay name_relay_;
  ReadySockets ready_sockets_;
  std::unique_ptr<OomWatcher> oom_watcher_;
  std::unique_ptr<Sandbox> sandbox_;
  std::unique_ptr<ttrpc::Server> server_;
  std::unique_ptr<Acceptor> acceptor_;
  std::unique_ptr<SerialPort> serial_port_;
  std::unique_ptr<Acceptor> log_acceptor_;
  std::unique_ptr<DebugConsole> debug_console_;
  std::unique_ptr<Acceptor> debug_console_acceptor_;
  asio::posix::stream_descriptor stop_signals_;
  asio::steady_timer stop_timer_;
  asio::steady_timer watch_timer_;
  bool watch_armed_ = false;
};

Status Agent::Run(const std::shared_ptr<LogStream>& log_stream) {
  oom_watcher_ = TRY(OomWatcher::Create(loop_));
  const Context context{settings_, loop_, reaper_, jobs_, *oom_watcher_, storages_, ready_sockets_};
  sandbox_ = std::make_unique<Sandbox>(context);
  server_ = std::make_unique<ttrpc::Server>(loop_);
  RegisterHealthService(*server_);
  RegisterSandboxService(*server_, *sandbox_, context);
  RegisterContainerService(*server_, *sandbox_, context);
  RegisterStdioService(*server_, *sandbox_);
  RegisterNetworkService(*server_, context);
  RegisterNameService(*server_, name_relay_);
  RegisterNotifyService(*server_, *sandbox_, context);
  RegisterGuestService(*server_, context);
  if (!settings_.is_init) TRY(AwaitStopSignal());
  TRY_CTX(OpenChannel(), "serve on '{}'", options_.server_addr);
  if (options_.log_vport != 0 && log_stream) {
    TRY_CTX(ServeLog(log_stream), "serve the log on vsock port {}", options_.log_vport);
  }
  if (options_.debug_console) OfferDebugConsole();
  loop_.Run();
  return {};
}

Status Agent::OpenChannel() {
  const ServerAddress address = TRY(ParseServerAddress(options_.server_addr));
  if (address.kind == ServerAddress::Kind::kSerial) {
    serial_port_ = std::make_unique<SerialPort>(loop_, address.name,
                                                [this](UniqueFd stream) { ServeStream(std::move(stream)); });
    serial_port_->Open();
    return {};
  }
  if (address.kind == ServerAddress::Kind::kHostVsock) {
    DialHost(address.port);
    return {};
  }
  UniqueFd socket = address.kind == ServerAddress::Kind::kVsock ? TRY(linux::ListenVsock(address.port))
                                                                : TRY(linux::ListenUnix(address.name));
  acceptor_ = TRY(Acceptor::Create(
      loop_, std::move(socket), FromHostOnly([this](UniqueFd stream) { ServeStream(std::move(stream)); })));
  return {};
}

void Agent::ServeStream(UniqueFd stream) {
  server_->Serve(std::move(stream), [this](uint64_t connection_id) {
    log::Info("the host closed its connection");
    sandbox_->DropConnection(connection_id);
    name_relay_.DropConnection(connection_id);
    if (serial_port_) serial_port_->Open();
  });
}

Status Agent::ServeLog(const std::shared_ptr<LogStream>& log_stream) {
  UniqueFd socket = TRY(linux::ListenVsock(options_.log_vport));
  log_acceptor_ = TRY(Acceptor::Create(loop_, std::move(socket), FromHostOnly([log_stream](UniqueFd stream) {
                                         log_stream->Attach(std::move(stream));
                                       })));
  return {};
}

void Agent::OfferDebugConsole() {
  const auto offer = [this]() -> Status {
    TRY(DebugConsole::FindShell());
    debug_console_ = std::make_unique<DebugConsole>(loop_, reaper_);
    if (options_.debug_console_vport == 0) {
      TRY(debug_console_->ServeTerminal(kConsole));
      log::Warning("a debug console is open", {{"terminal", kConsole}});
      return {};
    }
    UniqueFd socket = TRY(linux::ListenVsock(options_.debug_console_vport));
    debug_console_acceptor_ =
        TRY(Acceptor::Create(loop_, std::move(socket), FromHostOnly([this](UniqueFd stream) {
                               if (Status status = debug_console_->Serve(std::move(stream)); !status) {
                                 log::Warning("debug console", {{"error", status.error().message()}});
                               }
                             })));
    log::Warning("a debug console is open", {{"port", options_.debug_console_vport}});
    return {};
  };
  if (Status status = offer(); !status) {
    log::Warning("there is no debug console", {{"error", status.error().message()}});
  }
}

// Once: whoever listens there later is not the one that started this guest.
void Agent::DialHost(uint32_t port) {
  jobs_.Run([this, port]() -> Completion {
    return
        [this, stream = linux::ConnectVsock(VMADDR_CID_HOST, port, Deadline::After(kDialTimeout))]() mutable {
          if (stream) return ServeStream(std::move(*stream));
          log::LogError("cannot reach the host", {{"error", stream.error().message()}});
        };
  });
}

void Agent::ArmWatch() {
  if (watch_armed_) return;
  watch_armed_ = true;
  watch_timer_.expires_after(kWatchInterval);
  watch_timer_.async_wait([this](const asio::error_code& error) {
    if (error) return;
    jobs_.Run(
        [this]() -> Completion {
          storages_.SyncWatched();
          return {};
        },
        [this] {
          watch_armed_ = false;
          if (storages_.Watching()) ArmWatch();
        });
  });
}

Status Agent::AwaitStopSignal() {
  const sigset_t signals = StopSignals();
  UniqueFd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return SysError("signalfd");
  stop_signals_.assign(fd.Release());
  stop_signals_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (!error) StopGracefully();
  });
  return {};
}

void Agent::StopGracefully() {
  stop_timer_.expires_after(kStopTimeout);
  stop_timer_.async_wait([this](const asio::error_code& error) {
    if (!error) loop_.Stop();
  });
  sandbox_->Destroy([this](const Status& status) {
    if (!status) log::Warning("sandbox was not removed cleanly", {{"error", status.error().message()}});
    loop_.Stop();
  });
}

// The port for log lines if the host gave one, else the console, else standard output. Opened anew in each
// case, so that "non-blocking" is the agent's own setting.
UniqueFd OpenLogDescriptor(const Settings& settings) {
  constexpr int kFlags = O_WRONLY | O_NONBLOCK | O_NOCTTY;
  if (settings.in_guest) {
    if (const Result<std::string> path = FindSerialPort(kLogPort)) {
      if (Result<UniqueFd> port = Open(*path, kFlags)) return std::move(*port);
    }
  }
  if (settings.is_init) {
    for (const char* console : {kConsole, "/dev/hvc0"}) {
      if (Result<UniqueFd> fd = Open(console, kFlags)) return std::move(*fd);
    }
  }
  Result<UniqueFd> output = Open("/proc/self/fd/1", kFlags);
  return output ? std::move(*output) : UniqueFd();
}

std::shared_ptr<LogStream> StartLog(const Options& options, const Settings& settings) {
  auto stream = std::make_shared<LogStream>();
  log::SetLevel(options.log_level);
  log::AddSink(MakeLogStreamSink(stream));
  if (options.log_vport == 0) stream->Attach(OpenLogDescriptor(settings));
  return stream;
}

void LogAnnouncement(const Options& options, const std::vector<std::string>& problems) {
  log::Info("announce", {{"agent-version", Version()},
                         {"agent-commit", Commit()},
                         {"api-version", "0.0.1"},
                         {"config", DescribeOptions(options)},
                         {"extra-features", ""}});
  for (const std::string& problem : problems) log::Warning("problem at start", {{"error", problem}});
}

struct Arguments {
  bool version = false;
  bool init = false;
  std::string config_file;
};

Result<Arguments> ParseArguments(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "-v" || word == "--version") {
      arguments.version = true;
    } else if ((word == "-c" || word == "--config") && i + 1 < argc) {
      arguments.config_file = argv[++i];
    } else if (word == "init") {
      arguments.init = true;
    } else {
      return MakeError(Code::kInvalidArgument,
                       "unknown argument '{}'; usage: kata-agent [-v|--version] [-c|--config FILE] [init]",
                       word);
    }
  }
  return arguments;
}

// What the kernel was told at its boot, if that concerns this agent: not outside of a guest, nor in a
// container of one.
Result<std::string> ReadKernelCommandLine(bool is_init) {
  if (!is_init && !InInitialPidNamespace()) return std::string();
  std::string text = TRY(ReadFile("/proc/cmdline", 64u << 10));
  if (!is_init && !NamesAgent(text)) text.clear();
  return text;
}

// From the kernel command line, or from the configuration file that replaces it.
Result<ParsedOptions> ReadOptions(const Arguments& arguments, std::string_view kernel_command_line) {
  ParsedOptions parsed = ParseCommandLine(kernel_command_line);
  const std::string config_file =
      arguments.config_file.empty() ? parsed.options.config_file : arguments.config_file;
  if (!config_file.empty()) {
    const std::string text = TRY_CTX(ReadFile(config_file, 1u << 20), "read configuration file");
    parsed = TRY_CTX(ParseConfigFile(text), "configuration file '{}'", config_file);
    parsed.options.config_file = config_file;
  }
  ApplyEnvironment(parsed);
  return parsed;
}

bool HasCgroup2() {
  constexpr long kCgroup2Magic = 0x63677270;  // CGROUP2_SUPER_MAGIC
  struct statfs info{};
  return statfs(kCgroupRoot, &info) == 0 && info.f_type == kCgroup2Magic;
}

Status RunAgent(const Arguments& arguments, bool is_init) {
  std::vector<std::string> problems;
  if (is_init) problems = TRY_CTX(BootGuest(), "boot the guest");
  const std::string kernel_command_line = TRY(ReadKernelCommandLine(is_init));
  ParsedOptions parsed = TRY(ReadOptions(arguments, kernel_command_line));
  problems.insert(problems.end(), parsed.problems.begin(), parsed.problems.end());

  Settings settings;
  settings.is_init = is_init;
  settings.in_guest = is_init || !kernel_command_line.empty();
  if (HasCgroup2()) settings.cgroup_root = kCgroupRoot;
  settings.pipe_size_bytes = parsed.options.container_pipe_size_bytes;
  settings.hotplug_timeout = parsed.options.hotplug_timeout;
  if (settings.in_guest) {
    for (std::string& problem : ProtectAgent(settings.cgroup_root, parsed.options.dev_mode)) {
      problems.push_back(std::move(problem));
    }
  }
  const std::shared_ptr<LogStream> log_stream = StartLog(parsed.options, settings);
  LogAnnouncement(parsed.options, problems);
  BlockStopSignals();
  Agent agent(parsed.options, settings);
  return agent.Run(log_stream);
}

}  // namespace

int AgentMain(int argc, char** argv) {
  // Only words of ours: the kernel hands those that it does not know to PID 1 as arguments.
  const bool is_init = IsGuestInit();
  Arguments arguments;
  if (!is_init) {
    Result<Arguments> parsed = ParseArguments(argc, argv);
    if (!parsed) {
      std::fprintf(stderr, "kata-agent: %s\n", parsed.error().message().c_str());
      return 2;
    }
    arguments = std::move(*parsed);
  }
  if (arguments.init) jail::JailMain();
  if (arguments.version) {
    std::printf("kata-agent version %s (api version: 0.0.1, commit version: %s, type: c++, features: )\n",
                std::string(Version()).c_str(), std::string(Commit()).c_str());
    return 0;
  }
  KeepMemorySmall();
  signal(SIGPIPE, SIG_IGN);
  if (is_init) HandleCrashes();
  const Status status = RunAgent(arguments, is_init);
  if (status && !is_init) return 0;
  const std::string reason = status ? "the event loop ended" : status.error().message();
  log::LogError("fatal", {{"error", reason}});
  if (!is_init) {
    std::fprintf(stderr, "kata-agent: %s\n", reason.c_str());
    return 1;
  }
  WriteKernelLog(reason);
  PowerOff();
}

}  // namespace kata::agent
