// The grammar of the command line. The only file that includes the parser library.
#include "cli/command_line.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>

#include "base/version.h"
#include "cli/duration.h"
#include "cli/update_flags.h"
#include "config/config.h"
#include "sandbox/state_directory.h"

namespace kata::cli {
namespace {

// Absent or empty stays empty; another path is taken from the working directory.
std::string Absolute(const std::string& path) {
  if (path.empty() || path.starts_with('/')) return path;
  std::error_code error;
  const std::filesystem::path directory = std::filesystem::current_path(error);
  return error ? path : (directory / path).string();
}

// Positional arguments are left to `finish`, which sees all that is no flag. That keeps their count and the
// words behind `exec ID` in one place.
struct Command {
  CLI::App* app;
  bool available = true;
  std::function<Result<CommandOptions>(const std::vector<std::string>& arguments)> finish;
};

Error WrongArguments(std::string_view command, std::string_view expected) {
  return MakeError(Code::kInvalidArgument, "{}: it takes {}", command, expected);
}

Status CheckPreserveFds(std::string_view command, uint32_t count) {
  if (count == 0) return {};
  return MakeError(Code::kInvalidArgument,
                   "{}: --preserve-fds {}: descriptors cannot be passed on to a process in a virtual machine",
                   command, count);
}

// runc's form is "[CONTROLLER:]CGROUP", with a controller for version 1 only. The path is the guest's to
// check.
Result<std::string> ParseCgroup(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon != std::string::npos && colon != 0) {
    return MakeError(
        Code::kInvalidArgument,
        "exec: --cgroup '{}': unknown controller {}: the container's cgroup is one of version 2, "
        "with one path for all",
        text, text.substr(0, colon));
  }
  return text.substr(colon == 0 ? 1 : 0);
}

Status CheckOneOf(std::string_view flag, const std::string& value, const std::vector<std::string>& allowed) {
  if (std::ranges::find(allowed, value) != allowed.end()) return {};
  return MakeError(Code::kInvalidArgument, "{}: '{}' is not one of {}", flag, value,
                   fmt::join(allowed, ", "));
}

// The words of Go's programs.
std::optional<bool> ParseBool(std::string_view text) {
  for (const std::string_view word : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == word) return true;
  }
  for (const std::string_view word : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == word) return false;
  }
  return std::nullopt;
}

class Grammar {
 public:
  explicit Grammar(GlobalOptions& globals) : globals_(globals) {
    app_.require_subcommand(0, 1);
    app_.allow_extras();
    // As Go's programs: engines put their flags behind those that an operator has configured. Commands
    // inherit it.
    app_.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    AddGlobals();
    AddCreateAndRun();
    AddExec();
    AddContainerCommands();
    AddUpdate();
    AddOthers();
  }

  Result<CommandOptions> Parse(const std::vector<std::string>& args) {
    std::string message;
    try {
      // The library takes them in reverse order.
      app_.parse(std::vector<std::string>(args.rbegin(), args.rend()));
    } catch (const CLI::CallForHelp&) {
      // "nosuchcommand --help" is not a wish for the general help.
      if (!app_.get_subcommands().empty() || app_.remaining().empty()) {
        return CommandOptions(ShowText{app_.help()});
      }
    } catch (const CLI::ParseError& error) {
      message = error.what();
    }
    FinishGlobals();
    if (!message.empty()) return Error(Code::kInvalidArgument, message);
    if (show_version_) return CommandOptions(ShowText{VersionText()});
    if (show_config_paths_) return CommandOptions(ShowText{ConfigPathsText()});
    return Finish();
  }

 private:
  void AddGlobals() {
    app_.set_help_flag("--help,-h", "show this text");
    app_.add_flag("--version,-v", show_version_, "show name and version, commit, OCI specification");
    app_.add_flag("--show-default-config-paths,--kata-show-default-config-paths", show_config_paths_,
                  "show where the configuration is looked for");
    app_.add_option("--root", globals_.root, "directory of the containers' state")
        ->default_str(sandbox::kDefaultRoot);
    app_.add_option("--config,--kata-config", config_, "configuration file");
    app_.add_option("--log", globals_.log, "file that log records are appended to");
    app_.add_option("--log-format", log_format_, "text or json")->default_str("text");
    app_.add_flag("--debug", globals_.debug, "log at debug level");
    app_.add_flag("--systemd-cgroup", systemd_cgroup_, "let systemd make the control groups on the host");
    app_.add_option("--cgroup-manager", cgroup_manager_, "cgroupfs, systemd or disabled")
        ->default_str("cgroupfs");
    app_.add_option("--rootless", rootless_,
                    "true, false or auto: do without control groups on the host that may not be made")
        ->default_str("auto");
  }

  CLI::App* Add(const std::string& name, const std::string& description,
                std::function<Result<CommandOptions>(const std::vector<std::string>&)> finish) {
    CLI::App* command = app_.add_subcommand(name, description);
    command->allow_extras();
    commands_.push_back({.app = command, .finish = std::move(finish)});
    return command;
  }

  // A command whose only argument is a container.
  template <typename Options>
  CLI::App* AddForContainer(const std::string& name, const std::string& description,
                            const std::shared_ptr<Options>& options) {
    return Add(name, description + "; takes the container's id",
               [=, this](const std::vector<std::string>& arguments) -> Result<CommandOptions> {
                 if (arguments.size() != 1)
                   return WrongArguments(name, "exactly one argument, the container's id");
                 options->id = arguments[0];
                 TRY(Complete(*options));
                 return CommandOptions(*options);
               });
  }
  // What the parser leaves as text.
  template <typename Options>
  Status Complete(Options& /*options*/) {
    return {};
  }
  Status Complete(EventsOptions& options) {
    options.interval = TRY_CTX(ParseDuration(interval_), "events: --interval");
    return {};
  }

  void AddStdioFlags(CLI::App* command, StdioOptions& stdio) {
    command->add_option("--pid-file", stdio.pid_file, "file to write the process's pid into");
    command->add_option("--console-socket", stdio.console_socket,
                        "unix socket that receives the master of the process's terminal");
    command->add_option("--pidfd-socket", stdio.pidfd_socket,
                        "unix socket that receives a pidfd of the process on the host");
    command->add_option("--preserve-fds", preserve_fds_, "only 0 is possible");
  }

  void FinishStdio(StdioOptions& stdio) {
    stdio.pid_file = Absolute(stdio.pid_file);
    stdio.console_socket = Absolute(stdio.console_socket);
    stdio.pidfd_socket = Absolute(stdio.pidfd_socket);
  }

  // create and run differ in little.
  template <typename Options>
  CLI::App* AddBundleCommand(const std::string& name, const std::string& description,
                             const std::shared_ptr<Options>& options) {
    options->bundle = ".";
    CLI::App* command =
        Add(name, description + "; takes the container's id",
            [this, options, name](const std::vector<std::string>& arguments) -> Result<CommandOptions> {
              if (arguments.size() != 1) {
                return WrongArguments(name, "exactly one argument, the container's id");
              }
              TRY(CheckPreserveFds(name, preserve_fds_));
              options->id = arguments[0];
              options->bundle = Absolute(options->bundle);
              FinishStdio(options->stdio);
              return CommandOptions(*options);
            });
    command->add_option("--bundle,-b", options->bundle, "directory with config.json")->default_str(".");
    command->add_flag("--no-pivot", unused_flag_,
                      "accepted and not used: the root file system is switched in the guest");
    command->add_flag("--no-mount-fallback", unused_flag_,
                      "accepted and not used: attributes of mounts are set or refused");
    command->add_flag("--no-new-keyring", unused_flag_,
                      "accepted and not used: the guest has keyrings of its own");
    AddStdioFlags(command, options->stdio);
    return command;
  }

  void AddCreateAndRun() {
    const auto create = std::make_shared<CreateOptions>();
    create->stdio.detach = true;
    AddBundleCommand("create", "create a container in a virtual machine of its own", create);
    const auto run = std::make_shared<RunOptions>();
    CLI::App* command =
        AddBundleCommand("run", "create a container, start it, wait for its end and delete it", run);
    command->add_flag("--detach,-d", run->stdio.detach, "do not wait for the container's end");
    command->add_flag("--keep", run->keep, "do not delete the container at its end");
    command->add_flag("--no-subreaper", unused_flag_, "accepted and not used");
  }

  void AddExec() {
    const auto options = std::make_shared<ExecOptions>();
    CLI::App* command =
        Add("exec", "run a process in a container; takes the container's id, then command and arguments",
            [this, options](const std::vector<std::string>& arguments) -> Result<CommandOptions> {
              if (arguments.empty())
                return WrongArguments("exec", "the container's id, then command and arguments");
              options->id = arguments[0];
              options->args.assign(arguments.begin() + 1, arguments.end());
              if (options->args.empty() == options->process_file.empty()) {
                return WrongArguments("exec", "either a command behind the container's id or --process FILE");
              }
              TRY(CheckPreserveFds("exec", preserve_fds_));
              options->cgroup = TRY(ParseCgroup(options->cgroup));
              options->process_file = Absolute(options->process_file);
              FinishStdio(options->stdio);
              return CommandOptions(*options);
            });
    // The first word that is no flag is the container's id; flags behind it belong to the process.
    command->prefix_command();
    AddStdioFlags(command, options->stdio);
    // A list option takes one value each time, else it would swallow the container's id.
    const auto each_once = [](CLI::Option* option) {
      option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args(false);
    };
    command->add_option("--process,-p", options->process_file, "file with the process as in config.json");
    command->add_flag("--detach,-d", options->stdio.detach, "do not wait for the process's end");
    command->add_flag("--tty,-t", options->terminal, "give it a terminal");
    command->add_option("--cwd", options->cwd, "its working directory");
    each_once(command->add_option("--env,-e", options->env, "NAME=VALUE, more than once if need be"));
    command->add_option("--user,-u", options->user, "UID[:GID]");
    each_once(command->add_option("--additional-gids,-g", options->additional_gids, "more group ids"));
    each_once(command->add_option("--cap,-c", options->capabilities, "add a capability"));
    command->add_flag_function(
        "--no-new-privs", [options](int64_t value) { options->no_new_privileges = value > 0; },
        "whether execve gives no new privileges; as in the bundle if not given");
    command->add_option("--apparmor", options->apparmor_profile, "AppArmor profile");
    command->add_option("--process-label", options->process_label, "SELinux label");
    command->add_flag("--no-subreaper", unused_flag_, "accepted and not used");
    command->add_flag("--ignore-paused", options->ignore_paused,
                      "in a paused container too, where the process waits for the container's resumption");
    command->add_option("--cgroup", options->cgroup, "its cgroup, a path below the container's own");
  }

  void AddContainerCommands() {
    AddForContainer("start", "start a created container", std::make_shared<StartOptions>());
    AddForContainer("state", "show a container's state as JSON", std::make_shared<StateOptions>());
    AddForContainer("pause", "freeze a container's processes", std::make_shared<PauseOptions>());
    AddForContainer("resume", "let a paused container go on", std::make_shared<ResumeOptions>());

    const auto remove = std::make_shared<DeleteOptions>();
    Add("delete", "delete containers; takes their ids",
        [remove](const std::vector<std::string>& arguments) -> Result<CommandOptions> {
          if (arguments.empty()) return WrongArguments("delete", "the ids of containers");
          remove->ids = arguments;
          return CommandOptions(*remove);
        })
        ->add_flag("--force,-f", remove->force, "kill them first; no error if one does not exist");
    const auto ps = std::make_shared<PsOptions>();
    const auto ps_command =
        Add("ps",
            "show the processes on the host that stand for a container's; takes the container's id, then "
            "arguments of ps",
            [ps](const std::vector<std::string>& arguments) -> Result<CommandOptions> {
              if (arguments.empty()) return WrongArguments("ps", "the container's id");
              ps->id = arguments[0];
              ps->ps_args.assign(arguments.begin() + 1, arguments.end());
              return CommandOptions(*ps);
            });
    // Flags behind the id are for ps.
    ps_command->prefix_command();
    ps_command->add_option("--format,-f", ps->format, "table or json")->default_str("table");

    const auto events = std::make_shared<EventsOptions>();
    CLI::App* events_command = AddForContainer(
        "events", "show what a container uses and when it lacks memory, one JSON object a line", events);
    events_command->add_flag("--stats", events->stats, "show what it uses once");
    events_command->add_option("--interval", interval_, "time between statistics, such as 500ms, 5s, 1m30s")
        ->default_str("5s");

    const auto kill = std::make_shared<KillOptions>();
    Add("kill", "send a signal (default SIGTERM) to a container; takes the container's id, then the signal",
        [kill](const std::vector<std::string>& arguments) -> Result<CommandOptions> {
          if (arguments.empty() || arguments.size() > 2) {
            return WrongArguments("kill", "the container's id, then perhaps a signal");
          }
          kill->id = arguments[0];
          if (arguments.size() == 2) kill->signal = arguments[1];
          return CommandOptions(*kill);
        })
        ->add_flag("--all,-a", kill->all, "to all of its processes");
  }

  void AddUpdate() {
    const auto options = std::make_shared<UpdateOptions>();
    CLI::App* command =
        Add("update", "change resource limits of a container; takes the container's id",
            [this, options](const std::vector<std::string>& arguments) -> Result<CommandOptions> {
              if (arguments.size() != 1) {
                return WrongArguments("update", "exactly one argument, the container's id");
              }
              options->id = arguments[0];
              if (options->resources_file != "-") options->resources_file = Absolute(options->resources_file);
              options->resources = TRY_CTX(update_flags_.ToResources(), "update");
              return CommandOptions(*options);
            });
    command->add_option(
        "--resources,-r", options->resources_file,
        "file with linux.resources as in config.json, or - for stdin; other flags are ignored");
    for (UpdateFlags::Flag& flag : update_flags_.flags()) {
      command->add_option(flag.name, flag.value, flag.description);
    }
  }

  // Options of a command that takes no arguments.
  template <typename Options>
  CLI::App* AddWithoutArguments(const std::string& name, const std::string& description,
                                const std::shared_ptr<Options>& options) {
    return Add(name, description,
               [options, name](const std::vector<std::string>& arguments) -> Result<CommandOptions> {
                 if (!arguments.empty()) return WrongArguments(name, "no arguments");
                 return CommandOptions(*options);
               });
  }

  void AddOthers() {
    const auto list = std::make_shared<ListOptions>();
    CLI::App* command = AddWithoutArguments("list", "list containers", list);
    command->add_option("--format,-f", list->format, "table or json")->default_str("table");
    command->add_flag("--quiet,-q", list->quiet, "only ids");

    const auto spec = std::make_shared<SpecOptions>();
    spec->bundle = ".";
    command = Add("spec", "write an example config.json",
                  [spec](const std::vector<std::string>& arguments) -> Result<CommandOptions> {
                    if (!arguments.empty()) return WrongArguments("spec", "no arguments");
                    spec->bundle = Absolute(spec->bundle);
                    return CommandOptions(*spec);
                  });
    command->add_option("--bundle,-b", spec->bundle, "directory to write it to")->default_str(".");
    command->add_flag("--rootless", spec->rootless,
                      "for a user without rights; it keeps a network namespace");

    AddWithoutArguments("features", "show what this version can do as JSON",
                        std::make_shared<FeaturesOptions>());
    Add("help", "show this text, or that of a command",
        [this](const std::vector<std::string>& arguments) { return Help(arguments); });
    AddWithoutArguments("version", "as --version", std::make_shared<ShowText>(ShowText{VersionText()}));
    for (const char* name : {"checkpoint", "restore"}) {
      Add(name, "not available: the processes are those of another kernel",
          [name](const std::vector<std::string>&) { return CommandOptions(UnavailableOptions{name}); })
          ->prefix_command();
      commands_.back().available = false;
    }
  }

  Result<CommandOptions> Help(const std::vector<std::string>& arguments) const {
    if (arguments.size() > 1) return WrongArguments("help", "one command at most");
    const CLI::App* topic = &app_;
    std::string name = app_.get_name();
    if (!arguments.empty()) {
      const auto command = std::ranges::find(
          commands_, arguments[0], [](const Command& candidate) { return candidate.app->get_name(); });
      if (command == commands_.end()) return UnknownCommand(arguments[0]);
      topic = command->app;
      name += " " + arguments[0];
    }
    return CommandOptions(ShowText{app_.get_formatter()->make_help(topic, name, CLI::AppFormatMode::Normal)});
  }

  static Error UnknownCommand(const std::string& name) {
    return MakeError(Code::kNotFound, "unknown command '{}'; 'kata-runtime --help' shows the commands", name);
  }

  void FinishGlobals() {
    if (globals_.root.empty()) globals_.root = sandbox::kDefaultRoot;
    globals_.root = Absolute(globals_.root);
    while (globals_.root.size() > 1 && globals_.root.ends_with('/')) globals_.root.pop_back();
    globals_.log = Absolute(globals_.log);
    if (!config_.empty()) globals_.config = Absolute(config_);
    if (log_format_ == "json") globals_.log_format = log::Format::kJson;
    if (cgroup_manager_ == "systemd" || systemd_cgroup_) globals_.cgroup_manager = CgroupManager::kSystemd;
    if (cgroup_manager_ == "disabled") globals_.cgroup_manager = CgroupManager::kDisabled;
    globals_.rootless = ParseBool(rootless_).value_or(geteuid() != 0);
  }

  Status CheckGlobals() const {
    TRY(CheckOneOf("--log-format", log_format_, {"text", "json"}));
    TRY(CheckOneOf("--cgroup-manager", cgroup_manager_, {"cgroupfs", "systemd", "disabled"}));
    if (ParseBool(rootless_)) return {};
    return CheckOneOf("--rootless", rootless_, {"true", "false", "auto"});
  }

  Result<CommandOptions> Finish() {
    TRY(CheckGlobals());
    const auto command = std::find_if(commands_.begin(), commands_.end(),
                                      [](const Command& candidate) { return candidate.app->parsed(); });
    // What no flag of the program itself explains; behind "--" also what belongs to the command.
    std::vector<std::string> rest = app_.remaining();
    if (command == commands_.end()) {
      if (rest.empty()) return CommandOptions(ShowText{app_.help()});
      TRY(CheckFlags("kata-runtime", rest));
      return UnknownCommand(rest[0]);
    }
    const std::string& name = command->app->get_name();
    std::vector<std::string> arguments = command->app->remaining();
    if (command->app->get_prefix_command()) {
      if (!arguments.empty() && command->available) TRY(CheckFlags(name, {arguments[0]}));
    } else {
      arguments.insert(arguments.end(), rest.begin(), rest.end());
      std::erase(arguments, "--");
      TRY(CheckFlags(name, arguments));
    }
    return command->finish(arguments);
  }

  static Status CheckFlags(std::string_view command, const std::vector<std::string>& words) {
    for (const std::string& word : words) {
      if (word.size() > 1 && word[0] == '-') {
        return MakeError(Code::kInvalidArgument, "{}: unknown flag '{}'", command, word);
      }
    }
    return {};
  }

  static std::string ConfigPathsText() {
    std::string text;
    for (const std::string& path : config::DefaultPaths()) text += path + "\n";
    return text;
  }

  GlobalOptions& globals_;
  CLI::App app_{"OCI runtime that runs every container in a virtual machine of its own", "kata-runtime"};
  std::vector<Command> commands_;
  std::string config_;
  std::string log_format_ = "text";
  std::string cgroup_manager_ = "cgroupfs";
  std::string rootless_ = "auto";
  std::string interval_ = "5s";
  UpdateFlags update_flags_;
  bool systemd_cgroup_ = false;
  bool unused_flag_ = false;
  uint32_t preserve_fds_ = 0;
  bool show_version_ = false;
  bool show_config_paths_ = false;
};

}  // namespace

Result<CommandLine> ParseCommandLine(const std::vector<std::string>& args, GlobalOptions& globals) {
  Grammar grammar(globals);
  CommandOptions command = TRY(grammar.Parse(args));
  return CommandLine{globals, std::move(command)};
}

std::string VersionText() {
  // Docker reads version and commit of its default runtime out of these lines, which are as runc and crun
  // have them.
  return fmt::format("kata-runtime version {}\ncommit: {}\nspec: {}\n", Version(), Commit(),
                     OciSpecVersion());
}

}  // namespace kata::cli
