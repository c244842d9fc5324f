// containerd-shim-kata-v2: the sandbox server. kata-runtime starts it with its listening sockets and a state
// directory; the command line has the form that containerd uses for its shims (single-dash long flags, a verb
// last).
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "base/version.h"
#include "config/config.h"
#include "oci/spec.h"
#include "sandbox/server.h"
#include "sandbox/state_directory.h"
#include "sandbox/virtual_machine.h"

namespace kata {
namespace {

// Inherited from kata-runtime.
constexpr int kTaskSocketFd = 3;
constexpr int kAttachSocketFd = 4;

struct Arguments {
  bool version = false;
  bool debug = false;
  bool log_to_stderr = false;  // kata-runtime shows the records as long as it waits for an answer
  std::string id;
  std::string state_dir;
  std::optional<std::string> config;
  std::string log;
  log::Format log_format = log::Format::kText;
  std::string verb;
};

// Flags as Go's flag package reads them: one or two dashes, "-flag value" or "-flag=value", "-flag" alone for
// a boolean; they end at the first word without a dash. containerd's own flags are accepted.
class ArgumentParser {
 public:
  ArgumentParser(int argc, char** argv) : argc_(argc), argv_(argv) {}

  Result<Arguments> Parse() {
    for (index_ = 1; index_ < argc_; ++index_) {
      std::string_view word = argv_[index_];
      if (!word.starts_with('-') || word == "-") {
        arguments_.verb = word;
        break;
      }
      word.remove_prefix(word.starts_with("--") ? 2 : 1);
      const size_t equals = word.find('=');
      value_.reset();
      if (equals != std::string_view::npos) value_ = std::string(word.substr(equals + 1));
      TRY(ApplyFlag(std::string(word.substr(0, equals))));
    }
    return std::move(arguments_);
  }

 private:
  Status ApplyFlag(const std::string& flag) {
    if (flag == "v" || flag == "version") return SetBool(flag, arguments_.version);
    if (flag == "debug") return SetBool(flag, arguments_.debug);
    if (flag == "log-to-stderr") return SetBool(flag, arguments_.log_to_stderr);
    if (flag == "id") return SetString(flag, arguments_.id);
    if (flag == "state-dir") return SetString(flag, arguments_.state_dir);
    if (flag == "log") return SetString(flag, arguments_.log);
    if (flag == "config") return SetString(flag, arguments_.config.emplace());
    if (flag == "log-format") return SetLogFormat(flag);
    for (const char* known : {"namespace", "address", "publish-binary", "bundle", "socket", "debug-socket"}) {
      if (flag == known) return SetString(flag, ignored_);
    }
    return MakeError(Code::kInvalidArgument, "flag provided but not defined: -{}", flag);
  }

  Status SetString(const std::string& flag, std::string& target) {
    if (value_) {
      target = *value_;
    } else if (index_ + 1 < argc_) {
      target = argv_[++index_];
    } else {
      return MakeError(Code::kInvalidArgument, "flag needs an argument: -{}", flag);
    }
    return {};
  }

  Status SetBool(const std::string& flag, bool& target) {
    if (value_ && *value_ != "true" && *value_ != "false") {
      return MakeError(Code::kInvalidArgument, "invalid boolean value '{}' for -{}", *value_, flag);
    }
    target = !value_ || *value_ == "true";
    return {};
  }

  Status SetLogFormat(const std::string& flag) {
    std::string format;
    TRY(SetString(flag, format));
    if (format != "text" && format != "json") {
      return MakeError(Code::kInvalidArgument, "-log-format: '{}' is not one of text, json", format);
    }
    arguments_.log_format = format == "json" ? log::Format::kJson : log::Format::kText;
    return {};
  }

  int argc_;
  char** argv_;
  int index_ = 0;
  std::optional<std::string> value_;
  std::string ignored_;
  Arguments arguments_;
};

// A mount namespace of its own: what is mounted here for the guest is not seen on the host and goes with this
// process, what an engine mounts later still arrives.
Status IsolateMounts() {
  if (unshare(CLONE_NEWNS) < 0) return SysError("create a mount namespace");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) return SysError("make '/' a slave mount");
  return {};
}

Result<UniqueFd> TakeListeningSocket(int fd, const char* name) {
  int listening = 0;
  socklen_t size = sizeof(listening);
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || listening == 0) {
    return MakeError(Code::kInvalidArgument, "descriptor {} is not the listening {} socket", fd, name);
  }
  TRY(SetCloseOnExec(fd, true));
  return UniqueFd(fd);
}

// Of the container that the sandbox is made for, as kata-runtime has written them down.
Result<oci::StringMap> ReadAnnotations(const Arguments& arguments) {
  const std::string root = arguments.state_dir.substr(0, arguments.state_dir.find_last_of('/'));
  const sandbox::StateDirectory directory = TRY(sandbox::StateDirectory::Open(root, arguments.id));
  return TRY(directory.ReadState()).annotations;
}

Status SetUpLog(const Arguments& arguments, const config::Config& config) {
  log::AddSink(log::MakeSyslogSink("kata-runtime"));
  if (!arguments.log.empty()) log::AddSink(TRY(log::MakeFileSink(arguments.log, arguments.log_format)));
  if (arguments.log_to_stderr) {
    // Nobody reads it once kata-runtime has gone.
    TRY(SetNonBlocking(STDERR_FILENO, true));
    log::AddSink(log::MakeFdSink(STDERR_FILENO, log::Format::kText));
  }
  const bool debug = arguments.debug || config.runtime.enable_debug || config.hypervisor.enable_debug;
  log::SetLevel(debug ? log::Level::kDebug : log::Level::kInfo);
  log::SetContext({{"sandbox", arguments.id}, {"pid", getpid()}});
  return {};
}

Status Serve(const Arguments& arguments) {
  if (arguments.id.empty() || arguments.state_dir.empty()) {
    return Error(Code::kInvalidArgument, "-id and -state-dir are needed; kata-runtime starts this program");
  }
  // Few threads and little work: per-thread arenas would cost more memory than they save time.
  mallopt(M_ARENA_MAX, 1);
  // No other process of the host may read this one's memory or take its descriptors.
  if (prctl(PR_SET_DUMPABLE, 0) < 0) return SysError("become undumpable");
  // Each process of the container takes some.
  TRY(RaiseDescriptorLimit());
  sandbox::ServerOptions options;
  options.task_socket = TRY(TakeListeningSocket(kTaskSocketFd, "task"));
  options.attach_socket = TRY(TakeListeningSocket(kAttachSocketFd, "attach"));
  // Hooks of the runtime namespace run where engines see what they mount.
  options.host_mount_namespace = TRY(Open("/proc/self/ns/mnt", O_RDONLY));
  TRY(IsolateMounts());
  options.id = arguments.id;
  options.state_directory = arguments.state_dir;
  options.config = TRY(config::Load(arguments.config, TRY(ReadAnnotations(arguments))));
  TRY(SetUpLog(arguments, options.config));
  options.machine_factory = sandbox::MakeVirtualMachine;
  return sandbox::RunServer(std::move(options));
}

int Main(int argc, char** argv) {
  const Result<Arguments> arguments = ArgumentParser(argc, argv).Parse();
  Status status;
  if (!arguments) {
    status = Error(arguments.error());
  } else if (arguments->version) {
    const std::string version(Version());
    const std::string commit(Commit());
    std::printf("containerd-shim-kata-v2: version: %s, commit: %s\n", version.c_str(), commit.c_str());
  } else if (!arguments->verb.empty()) {
    status = MakeError(Code::kUnimplemented,
                       "'{}': this build serves the OCI command line (kata-runtime) only, not containerd",
                       arguments->verb);
  } else {
    status = Serve(*arguments);
  }
  if (status) return 0;
  log::LogError("the sandbox server failed", {{"error", status.error().message()}});
  // kata-runtime reads the reason here while it waits for the server to come up.
  std::fprintf(stderr, "containerd-shim-kata-v2: %s\n", status.error().message().c_str());
  return 1;
}

}  // namespace
}  // namespace kata

int main(int argc, char** argv) {
  return kata::Main(argc, argv);
}
