// The command-line forms of engines and people, and what is said about wrong ones.
#include "cli/command_line.h"

#include <unistd.h>

#include <optional>

#include "support/result_matchers.h"

namespace kata::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// What a command line means for a command of type `Options`; nullopt, and a failure, if it means something
// else.
template <typename Options>
std::optional<Options> Parse(const std::vector<std::string>& args, GlobalOptions* globals = nullptr) {
  GlobalOptions own;
  GlobalOptions& target = globals != nullptr ? *globals : own;
  Result<CommandLine> line = ParseCommandLine(args, target);
  EXPECT_OK(line);
  if (!line) return std::nullopt;
  const Options* options = std::get_if<Options>(&line->command);
  EXPECT_NE(options, nullptr);
  return options != nullptr ? std::optional(*options) : std::nullopt;
}

std::string MessageOf(const std::vector<std::string>& args) {
  GlobalOptions globals;
  const Result<CommandLine> line = ParseCommandLine(args, globals);
  return line ? "no error" : line.error().message();
}

TEST(CommandLine, CreateAsContainerdsRuncShimCallsIt) {
  GlobalOptions globals;
  const auto create = Parse<CreateOptions>(
      {"--root", "/var/run/docker/runtime-runc/moby", "--log", "/b/log.json", "--log-format", "json",
       "--systemd-cgroup", "create", "--bundle", "/b", "--pid-file", "/b/init.pid", "--console-socket",
       "/tmp/s", "--no-pivot", "--no-new-keyring", "--preserve-fds", "0", "c1"},
      &globals);
  ASSERT_TRUE(create);
  EXPECT_EQ(globals.root, "/var/run/docker/runtime-runc/moby");
  EXPECT_EQ(globals.log, "/b/log.json");
  EXPECT_EQ(globals.log_format, log::Format::kJson);
  EXPECT_FALSE(globals.debug);
  EXPECT_EQ(globals.cgroup_manager, CgroupManager::kSystemd);
  EXPECT_EQ(create->id, "c1");
  EXPECT_EQ(create->bundle, "/b");
  EXPECT_EQ(create->stdio.pid_file, "/b/init.pid");
  EXPECT_EQ(create->stdio.console_socket, "/tmp/s");
  EXPECT_TRUE(create->stdio.detach);
}

TEST(CommandLine, GlobalsAsConmonPassesThem) {
  GlobalOptions globals;
  const auto create = Parse<CreateOptions>({"--log-format=json", "--log=/x/log", "--cgroup-manager",
                                            "disabled", "create", "--bundle", "/b", "--pid-file", "/p", "c1"},
                                           &globals);
  ASSERT_TRUE(create);
  EXPECT_EQ(globals.log, "/x/log");
  EXPECT_EQ(globals.log_format, log::Format::kJson);
  EXPECT_EQ(globals.root, "/run/kata-containers");
  EXPECT_EQ(globals.config, std::nullopt);
  EXPECT_EQ(globals.cgroup_manager, CgroupManager::kDisabled);
}

TEST(CommandLine, ControlGroupsAndRights) {
  GlobalOptions globals;
  ASSERT_TRUE(Parse<ListOptions>({"--cgroup-manager=systemd", "--rootless", "true", "list"}, &globals));
  EXPECT_EQ(globals.cgroup_manager, CgroupManager::kSystemd);
  EXPECT_TRUE(globals.rootless);
  globals = GlobalOptions();
  ASSERT_TRUE(Parse<ListOptions>({"--rootless", "false", "list"}, &globals));
  EXPECT_EQ(globals.cgroup_manager, CgroupManager::kCgroupfs);
  EXPECT_FALSE(globals.rootless);
  for (const char* word : {"1", "t", "True"}) {
    ASSERT_TRUE(Parse<ListOptions>({"--rootless", word, "list"}, &globals));
    EXPECT_TRUE(globals.rootless) << word;
  }
  ASSERT_TRUE(Parse<ListOptions>({"--rootless=0", "list"}, &globals));
  EXPECT_FALSE(globals.rootless);
}

TEST(CommandLine, HelpIsThatOfTheProgramOrOfACommand) {
  GlobalOptions globals;
  const auto help = [&](const std::vector<std::string>& args) -> std::string {
    const Result<CommandLine> line = ParseCommandLine(args, globals);
    if (!line) return line.error().message();
    const ShowText* text = std::get_if<ShowText>(&line->command);
    return text == nullptr ? "" : text->text;
  };
  EXPECT_EQ(help({"help"}), help({"--help"}));
  EXPECT_EQ(help({"help", "run"}), help({"run", "--help"}));
  EXPECT_THAT(help({"help", "run"}), HasSubstr("--keep"));
  EXPECT_THAT(help({"help", "nosuch"}), HasSubstr("unknown command 'nosuch'"));
}

TEST(CommandLine, OfAFlagGivenTwiceTheLastCounts) {
  GlobalOptions globals;
  const auto exec =
      Parse<ExecOptions>({"--log=/configured", "--root", "/a", "--log", "/engines", "--root=/b", "exec",
                          "--cwd", "/x", "--cwd", "/y", "-e", "A=1", "-e", "B=2", "-t", "-t", "c1", "true"},
                         &globals);
  ASSERT_TRUE(exec);
  EXPECT_EQ(globals.log, "/engines");
  EXPECT_EQ(globals.root, "/b");
  EXPECT_EQ(exec->cwd, "/y");
  EXPECT_THAT(exec->env, testing::ElementsAre("A=1", "B=2"));
  EXPECT_TRUE(exec->terminal);
}

TEST(CommandLine, FlagsOfRuncThatChangeLittle) {
  EXPECT_TRUE(Parse<RunOptions>({"run", "--no-mount-fallback", "c1"}));
  EXPECT_TRUE(Parse<SpecOptions>({"spec", "--rootless"})->rootless);
  EXPECT_FALSE(Parse<SpecOptions>({"spec"})->rootless);
  EXPECT_EQ(Parse<ExecOptions>({"exec", "--no-new-privs=false", "c1", "true"})->no_new_privileges, false);
  EXPECT_EQ(Parse<ExecOptions>({"exec", "c1", "true"})->no_new_privileges, std::nullopt);
}

TEST(CommandLine, RelativePathsAreTakenFromTheWorkingDirectory) {
  char* const directory = get_current_dir_name();
  const std::string here = directory;
  free(directory);
  GlobalOptions globals;
  const auto run = Parse<RunOptions>(
      {"--root", "r/", "--config", "c.toml", "--log", "l", "run", "-d", "--pid-file", "p", "c1"}, &globals);
  ASSERT_TRUE(run);
  EXPECT_EQ(globals.root, here + "/r");
  EXPECT_EQ(globals.config, here + "/c.toml");
  EXPECT_EQ(globals.log, here + "/l");
  EXPECT_EQ(run->bundle, here + "/.");
  EXPECT_EQ(run->stdio.pid_file, here + "/p");
  EXPECT_TRUE(run->stdio.detach);
}

TEST(CommandLine, KillTakesNamesAndNumbers) {
  const auto by_number = Parse<KillOptions>({"kill", "--all", "c1", "9"});
  ASSERT_TRUE(by_number);
  EXPECT_EQ(by_number->id, "c1");
  EXPECT_EQ(by_number->signal, "9");
  EXPECT_TRUE(by_number->all);
  const auto by_default = Parse<KillOptions>({"kill", "c1"});
  ASSERT_TRUE(by_default);
  EXPECT_EQ(by_default->signal, "SIGTERM");
  EXPECT_FALSE(by_default->all);
}

TEST(CommandLine, DeleteTakesForceOnBothSidesOfTheId) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{"delete", "--force", "c1"},
                                               {"delete", "c1", "--force"},
                                               {"delete", "-f", "c1"}}) {
    const auto remove = Parse<DeleteOptions>(args);
    ASSERT_TRUE(remove);
    EXPECT_THAT(remove->ids, ElementsAre("c1"));
    EXPECT_TRUE(remove->force);
  }
  EXPECT_THAT(Parse<DeleteOptions>({"delete", "c1", "c2"})->ids, ElementsAre("c1", "c2"));
}

TEST(CommandLine, UpdateSendsWhatWasGivenAndNothingElse) {
  const auto update =
      Parse<UpdateOptions>({"update", "--memory", "64m", "--memory-swap", "-1", "--cpu-quota=20000",
                            "--pids-limit", "7", "--cpuset-cpus", "0-1", "c1"});
  ASSERT_TRUE(update);
  EXPECT_EQ(update->id, "c1");
  EXPECT_EQ(update->resources_file, "");
  const oci::Resources& resources = update->resources;
  ASSERT_TRUE(resources.memory && resources.cpu);
  EXPECT_EQ(resources.memory->limit, 64 << 20);
  EXPECT_EQ(resources.memory->swap, -1);
  EXPECT_FALSE(resources.memory->reservation);
  EXPECT_EQ(resources.cpu->quota_us, 20000);
  EXPECT_FALSE(resources.cpu->period_us || resources.cpu->shares);
  EXPECT_EQ(resources.cpu->cpus, "0-1");
  EXPECT_EQ(resources.pids_limit, 7);
  EXPECT_FALSE(resources.block_io);
  EXPECT_EQ(Parse<UpdateOptions>({"update", "--resources=-", "c1"})->resources_file, "-");
  EXPECT_EQ(Parse<UpdateOptions>({"update", "-r", "/f", "c1"})->resources_file, "/f");
}

TEST(CommandLine, EventsAndPs) {
  const auto events = Parse<EventsOptions>({"events", "--interval", "1m30s", "c1"});
  ASSERT_TRUE(events);
  EXPECT_EQ(events->interval, std::chrono::seconds(90));
  EXPECT_FALSE(events->stats);
  EXPECT_EQ(Parse<EventsOptions>({"events", "--stats", "c1"})->interval, std::chrono::seconds(5));
  const auto ps = Parse<PsOptions>({"ps", "c1", "-o", "pid,cmd", "--format", "x"});
  ASSERT_TRUE(ps);
  EXPECT_EQ(ps->format, "table");
  EXPECT_THAT(ps->ps_args, ElementsAre("-o", "pid,cmd", "--format", "x"));
}

TEST(CommandLine, PidfdSockets) {
  EXPECT_EQ(Parse<CreateOptions>({"create", "--pidfd-socket", "/s", "c1"})->stdio.pidfd_socket, "/s");
  const auto exec = Parse<ExecOptions>({"exec", "--pidfd-socket", "/s", "--ignore-paused", "--cgroup", "/",
                                        "--apparmor", "a", "--no-new-privs", "c1", "true"});
  ASSERT_TRUE(exec);
  EXPECT_EQ(exec->stdio.pidfd_socket, "/s");
  EXPECT_TRUE(exec->ignore_paused);
  EXPECT_EQ(exec->cgroup, "/");
  EXPECT_EQ(exec->no_new_privileges, true);
  EXPECT_EQ(exec->apparmor_profile, "a");
}

TEST(CommandLine, ExecInACgroupOfTheContainer) {
  EXPECT_EQ(Parse<ExecOptions>({"exec", "--cgroup", "a/b", "c1", "true"})->cgroup, "a/b");
  EXPECT_EQ(Parse<ExecOptions>({"exec", "--cgroup", ":sub", "c1", "true"})->cgroup, "sub");
  EXPECT_EQ(Parse<ExecOptions>({"exec", "c1", "true"})->cgroup, "");
}

TEST(CommandLine, ExecWithAProcessFile) {
  const auto exec = Parse<ExecOptions>(
      {"exec", "--process", "/p.json", "--detach", "--pid-file", "/b/e.pid", "--console-socket", "/s", "c1"});
  ASSERT_TRUE(exec);
  EXPECT_EQ(exec->id, "c1");
  EXPECT_EQ(exec->process_file, "/p.json");
  EXPECT_TRUE(exec->stdio.detach);
  EXPECT_EQ(exec->stdio.pid_file, "/b/e.pid");
  EXPECT_EQ(exec->stdio.console_socket, "/s");
  EXPECT_THAT(exec->args, IsEmpty());
}

TEST(CommandLine, ExecLeavesFlagsBehindTheIdToTheCommand) {
  const auto exec = Parse<ExecOptions>({"exec",  "--env", "A=b",      "--env=C=d e", "-t", "--user", "1:2",
                                        "--cwd", "/tmp",  "-c",       "CAP_NET_RAW", "-g", "7",      "c1",
                                        "sh",    "-c",    "--detach", "--",          "",   "-x"});
  ASSERT_TRUE(exec);
  EXPECT_EQ(exec->id, "c1");
  EXPECT_THAT(exec->args, ElementsAre("sh", "-c", "--detach", "--", "", "-x"));
  EXPECT_THAT(exec->env, ElementsAre("A=b", "C=d e"));
  EXPECT_THAT(exec->capabilities, ElementsAre("CAP_NET_RAW"));
  EXPECT_THAT(exec->additional_gids, ElementsAre(7u));
  EXPECT_EQ(exec->user, "1:2");
  EXPECT_EQ(exec->cwd, "/tmp");
  EXPECT_TRUE(exec->terminal);
  EXPECT_FALSE(exec->stdio.detach);
}

TEST(CommandLine, ACommandMayHaveTheNameOfACommand) {
  const auto state = Parse<StateOptions>({"state", "start"});
  ASSERT_TRUE(state);
  EXPECT_EQ(state->id, "start");
  const auto exec = Parse<ExecOptions>({"exec", "c1", "kill", "1"});
  ASSERT_TRUE(exec);
  EXPECT_THAT(exec->args, ElementsAre("kill", "1"));
}

TEST(CommandLine, TheOthers) {
  ASSERT_TRUE(Parse<StartOptions>({"start", "c1"}));
  ASSERT_TRUE(Parse<PauseOptions>({"pause", "c1"}));
  ASSERT_TRUE(Parse<ResumeOptions>({"resume", "c1"}));
  ASSERT_TRUE(Parse<FeaturesOptions>({"features"}));
  const auto ps = Parse<PsOptions>({"ps", "--format", "json", "c1"});
  ASSERT_TRUE(ps);
  EXPECT_EQ(ps->format, "json");
  const auto list = Parse<ListOptions>({"list", "--format=json", "-q"});
  ASSERT_TRUE(list);
  EXPECT_EQ(list->format, "json");
  EXPECT_TRUE(list->quiet);
  const auto checkpoint = Parse<UnavailableOptions>({"checkpoint", "--image-path=/x", "c1"});
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(checkpoint->command, "checkpoint");
}

TEST(CommandLine, AnEmptyIdIsAnId) {
  const auto create = Parse<CreateOptions>({"create", "--bundle", "/b", ""});
  ASSERT_TRUE(create);
  EXPECT_EQ(create->id, "");
}

TEST(CommandLine, VersionHasThreeLines) {
  for (const char* arg : {"--version", "-v", "version"}) {
    const auto show = Parse<ShowText>({arg});
    ASSERT_TRUE(show);
    EXPECT_THAT(show->text,
                testing::MatchesRegex("kata-runtime version [^\n]+\ncommit: [^\n]+\nspec: [^\n]+\n"));
  }
}

TEST(CommandLine, HelpAndConfigurationPaths) {
  EXPECT_THAT(Parse<ShowText>({"--help"})->text, HasSubstr("create"));
  EXPECT_THAT(Parse<ShowText>({"create", "--help"})->text, HasSubstr("--bundle"));
  EXPECT_THAT(Parse<ShowText>({"--show-default-config-paths"})->text,
              testing::StartsWith("/etc/kata-containers/configuration.toml\n"
                                  "/usr/share/defaults/kata-containers/configuration.toml\n"));
}

TEST(CommandLine, WrongOnesAreNamed) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"create", "--nosuchflag", "x"}, "create: unknown flag '--nosuchflag'"},
      {{"--nosuchflag", "create", "x"}, "create: unknown flag '--nosuchflag'"},
      {{"exec", "--nosuchflag", "x", "y"}, "exec: unknown flag '--nosuchflag'"},
      {{"nosuchcommand"}, "unknown command 'nosuchcommand'; 'kata-runtime --help' shows the commands"},
      {{"nosuchcommand", "-h"}, "unknown command 'nosuchcommand'; 'kata-runtime --help' shows the commands"},
      {{"create"}, "create: it takes exactly one argument, the container's id"},
      {{"create", "a", "b"}, "create: it takes exactly one argument, the container's id"},
      {{"kill"}, "kill: it takes the container's id, then perhaps a signal"},
      {{"list", "x"}, "list: it takes no arguments"},
      {{"exec", "c1"}, "exec: it takes either a command behind the container's id or --process FILE"},
      {{"exec", "--process", "/p", "c1", "sh"},
       "exec: it takes either a command behind the container's id or --process FILE"},
      {{"create", "--preserve-fds", "2", "x"},
       "create: --preserve-fds 2: descriptors cannot be passed on to a process in a virtual machine"},
      {{"exec", "--cgroup", "cpu:sub", "c1", "true"},
       "exec: --cgroup 'cpu:sub': unknown controller cpu: the container's cgroup is one of version 2, with "
       "one path "
       "for all"},
      {{"--log-format", "xml", "list"}, "--log-format: 'xml' is not one of text, json"},
      {{"--rootless", "maybe", "list"}, "--rootless: 'maybe' is not one of true, false, auto"},
      {{"--cgroup-manager", "x", "list"}, "--cgroup-manager: 'x' is not one of cgroupfs, systemd, disabled"},
      {{"delete"}, "delete: it takes the ids of containers"},
      {{"update", "--cpu-quota", "abc", "c1"}, "update: --cpu-quota: 'abc' is no whole number"},
      {{"update", "--blkio-weight", "7", "c1"}, "update: --blkio-weight: '7' is not from 10 to 1000"},
      {{"update", "--l3-cache-schema", "x", "c1"},
       "update: --l3-cache-schema: Intel RDT divides caches of the host, which a guest does not see"},
      {{"update", "--nosuchflag", "x", "c1"}, "update: unknown flag '--nosuchflag'"},
      {{"events", "--interval", "5", "c1"},
       "events: --interval: '5' is no duration above zero such as 500ms, 5s, 1m30s"},
      {{"ps", "--nosuchflag", "c1"}, "ps: unknown flag '--nosuchflag'"},
  };
  for (const auto& [args, message] : cases)
    EXPECT_EQ(MessageOf(args), message) << testing::PrintToString(args);
  EXPECT_THAT(MessageOf({"create", "--bundle"}), HasSubstr("--bundle"));
  EXPECT_THAT(MessageOf({"create", "--preserve-fds", "many", "x"}), HasSubstr("--preserve-fds"));
}

TEST(CommandLine, AWrongOneStillTellsWhereTheLogIs) {
  GlobalOptions globals;
  EXPECT_FALSE(
      ParseCommandLine({"--log", "/l.json", "--log-format", "json", "create", "--nosuchflag"}, globals));
  EXPECT_EQ(globals.log, "/l.json");
  EXPECT_EQ(globals.log_format, log::Format::kJson);
}

}  // namespace
}  // namespace kata::cli
