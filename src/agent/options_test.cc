// Options from command line, configuration file and environment.
#include "agent/options.h"

#include <cstdlib>

#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using test::IsError;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ParseCommandLine, KeepsDefaultsAndIgnoresWordsOfOthers) {
  const ParsedOptions parsed = ParseCommandLine("console=hvc0 quiet agentless=1 agent.unknown=2 panic=1\n");
  EXPECT_THAT(parsed.problems, IsEmpty());
  EXPECT_EQ(parsed.options.server_addr, "vsock://-1:1024");
  EXPECT_EQ(parsed.options.log_level, log::Level::kInfo);
  EXPECT_EQ(parsed.options.hotplug_timeout, std::chrono::seconds(3));
  EXPECT_EQ(parsed.options.cdh_api_timeout, std::chrono::seconds(50));
  EXPECT_EQ(parsed.options.image_pull_timeout, std::chrono::seconds(1200));
  EXPECT_EQ(parsed.options.launch_process_timeout, std::chrono::seconds(6));
  EXPECT_TRUE(parsed.options.secure_storage_integrity);
  EXPECT_FALSE(parsed.options.debug_console);
}

TEST(NamesAgent, ByAnyOfItsOptions) {
  EXPECT_TRUE(NamesAgent("console=hvc0 agent.log=info panic=1\n"));
  EXPECT_TRUE(NamesAgent("agent.debug_console"));
  EXPECT_FALSE(NamesAgent("BOOT_IMAGE=/boot/agent.img root=/dev/sda1 my-agent.x=1 quiet\n"));
  EXPECT_FALSE(NamesAgent(""));
}

TEST(ParseCommandLine, ReadsEachKindOfOption) {
  const Options options =
      ParseCommandLine(
          "  agent.log=debug agent.log_vport=1025\tagent.server_addr=serial://agent.channel.0 "
          "agent.debug_console agent.debug_console_vport=1026 "
          "agent.devmode agent.trace agent.hotplug_timeout=10 agent.container_pipe_size=65536 "
          "agent.visible_cdi_devices=true agent.no_proxy=a,b "
          "agent.guest_components_rest_api=all agent.guest_components_procs=none "
          "agent.secure_storage_integrity=false cgroup_no_v1=all "
          "agent.mem_agent_enable=1 agent.mem_agent_memcg_swappiness_max=200 "
          "agent.mem_agent_compact_sec_max=-1")
          .options;
  EXPECT_EQ(options.log_level, log::Level::kDebug);
  EXPECT_EQ(options.log_vport, 1025u);
  EXPECT_EQ(options.server_addr, "serial://agent.channel.0");
  EXPECT_TRUE(options.debug_console);
  EXPECT_EQ(options.debug_console_vport, 1026u);
  EXPECT_TRUE(options.dev_mode);
  EXPECT_TRUE(options.trace);
  EXPECT_EQ(options.hotplug_timeout, std::chrono::seconds(10));
  EXPECT_EQ(options.container_pipe_size_bytes, 65536u);
  EXPECT_TRUE(options.visible_cdi_devices);
  EXPECT_EQ(options.no_proxy, "a,b");
  EXPECT_EQ(options.guest_components_rest_api, GuestRestApi::kAll);
  EXPECT_EQ(options.guest_components_procs, GuestProcs::kNone);
  EXPECT_FALSE(options.secure_storage_integrity);
  EXPECT_TRUE(options.unified_cgroup_hierarchy);
  EXPECT_TRUE(options.mem_agent_enable);
  EXPECT_EQ(options.mem_agent_memcg_swappiness_max, 200);
  EXPECT_EQ(options.mem_agent_compact_sec_max, -1);
}

TEST(ParseCommandLine, MapsPanicToCriticalAndTakesTheLastOfRepeatedWords) {
  EXPECT_EQ(ParseCommandLine("agent.log=panic").options.log_level, log::Level::kCritical);
  EXPECT_EQ(ParseCommandLine("agent.log=error agent.log=trace").options.log_level, log::Level::kTrace);
}

TEST(ParseCommandLine, ReportsMalformedValuesAndKeepsTheDefault) {
  const ParsedOptions parsed = ParseCommandLine(
      "agent.log=loud agent.log_vport=0 agent.hotplug_timeout=3s agent.debug_console=1 agent.server_addr "
      "agent.https_proxy=http://p?a=b agent.log_vport=99999999999 agent.trace=maybe "
      "agent.mem_agent_memcg_swappiness_max=256");
  EXPECT_THAT(
      parsed.problems,
      ElementsAre(HasSubstr("'agent.log=loud': 'loud' is none of fatal"), HasSubstr("'0' is below 1"),
                  HasSubstr("'3s' is not a whole number"), HasSubstr("takes no value"),
                  HasSubstr("a value is missing"), HasSubstr("more than one '='"), HasSubstr("out of range"),
                  HasSubstr("neither true nor false"), HasSubstr("out of range")));
  EXPECT_EQ(parsed.options.log_level, log::Level::kInfo);
  EXPECT_EQ(parsed.options.server_addr, "vsock://-1:1024");
  EXPECT_EQ(parsed.options.log_vport, 0u);
}

TEST(ParseCommandLine, NamesOptionsThatHaveNoEffect) {
  EXPECT_THAT(ParseCommandLine("agent.trace agent.passfd_listener_port=1027 agent.mem_agent_enable=1 "
                               "agent.log=info cgroup_no_v1=all agent.hotplug_timeout=3")
                  .problems,
              ElementsAre("option 'agent.trace' has no effect in this agent",
                          "option 'agent.passfd_listener_port' has no effect in this agent",
                          "option 'agent.mem_agent_enable' has no effect in this agent"));
  ASSERT_OK_AND_ASSIGN(const ParsedOptions parsed, ParseConfigFile("tracing = true\n"));
  EXPECT_THAT(parsed.problems, ElementsAre("option 'agent.trace' has no effect in this agent"));
}

TEST(ParseConfigFile, ReadsScalarsAndNamesUnknownKeys) {
  ASSERT_OK_AND_ASSIGN(const ParsedOptions parsed,
                       ParseConfigFile("# agent\nlog_level = \"warn\"  # quiet\nserver_addr='unix:///a'\n\n"
                                       "container_pipe_size = 4096\r\ndev_mode = true\nnew_key = 1\n"));
  EXPECT_EQ(parsed.options.log_level, log::Level::kWarning);
  EXPECT_EQ(parsed.options.server_addr, "unix:///a");
  EXPECT_EQ(parsed.options.container_pipe_size_bytes, 4096u);
  EXPECT_TRUE(parsed.options.dev_mode);
  EXPECT_THAT(parsed.problems, ElementsAre("unknown key 'new_key'"));
}

TEST(ParseConfigFile, NamesTheLineOfAnError) {
  EXPECT_THAT(ParseConfigFile("dev_mode = true\nlog_level = loud\n"),
              IsError(Code::kInvalidArgument, HasSubstr("line 2: key 'log_level': 'loud' is none of")));
  EXPECT_THAT(ParseConfigFile("[endpoints]\n"), IsError(Code::kInvalidArgument, HasSubstr("line 1: tables")));
  EXPECT_THAT(ParseConfigFile("log_level\n"), IsError(Code::kInvalidArgument, HasSubstr("key = value")));
  EXPECT_THAT(ParseConfigFile("log_level = \"warn\n"), IsError(Code::kInvalidArgument, HasSubstr("a quote")));
}

TEST(ApplyEnvironment, OverridesWhatIsSet) {
  setenv("KATA_AGENT_SERVER_ADDR", "unix:///tmp/x", 1);
  setenv("KATA_AGENT_LOG_LEVEL", "nonsense", 1);
  ParsedOptions parsed = ParseCommandLine("agent.log=error");
  ApplyEnvironment(parsed);
  unsetenv("KATA_AGENT_SERVER_ADDR");
  unsetenv("KATA_AGENT_LOG_LEVEL");
  EXPECT_EQ(parsed.options.server_addr, "unix:///tmp/x");
  EXPECT_EQ(parsed.options.log_level, log::Level::kError);
  EXPECT_THAT(parsed.problems, ElementsAre(HasSubstr("'KATA_AGENT_LOG_LEVEL'")));
}

}  // namespace
}  // namespace kata::agent
