#include <nlohmann/json.hpp>

#include "oci/example_spec.h"
#include "oci/full_spec_for_test.h"
#include "oci/json.h"
#include "oci/limits.h"
#include "support/result_matchers.h"

namespace kata::oci {
namespace {

using nlohmann::json;
using test::IsError;

struct Change {
  std::string place;  // JSON pointer into the example specification
  std::string value;  // JSON put there; empty: the member is removed
  std::string error;  // empty: the specification stays valid
};
void PrintTo(const Change& change, std::ostream* out) {
  *out << change.place << " = " << change.value;
}

class ValidateTest : public testing::TestWithParam<Change> {};

TEST_P(ValidateTest, NamesTheMember) {
  json document = json::parse(ToJson(ExampleSpec()));
  const json::json_pointer place(GetParam().place);
  if (GetParam().value.empty()) {
    document[place.parent_pointer()].erase(place.back());
  } else {
    document[place] = json::parse(GetParam().value);
  }
  ASSERT_OK_AND_ASSIGN(const Spec spec, ParseSpec(document.dump()));
  if (GetParam().error.empty()) {
    EXPECT_OK(Validate(spec));
  } else {
    EXPECT_THAT(Validate(spec), IsError(Code::kInvalidArgument, GetParam().error));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Whole, ValidateTest,
    testing::Values(
        Change{"/ociVersion", "", "ociVersion: missing"}, Change{"/ociVersion", R"("1.0.2-dev+x")", ""},
        Change{"/ociVersion", R"("1.0")", "ociVersion: expected a version such as 1.2.0, found '1.0'"},
        Change{"/ociVersion", R"("1.0.x")", "ociVersion: expected a version such as 1.2.0, found '1.0.x'"},
        Change{"/ociVersion", R"("1.0.0-")", "ociVersion: expected a version such as 1.2.0, found '1.0.0-'"},
        Change{"/ociVersion", R"("1.0.0.0")",
               "ociVersion: expected a version such as 1.2.0, found '1.0.0.0'"},
        Change{"/ociVersion", R"("2.0.0")", "ociVersion: version '2.0.0' is not supported, 1.x is"},
        Change{"/process", "", "process: missing"}, Change{"/root", "", "root: missing"},
        Change{"/root/path", "", "root.path: missing"}, Change{"/root/path", R"("/absolute")", ""},
        Change{"/linux", "", ""}, Change{"/mounts/2/destination", "", "mounts[2].destination: missing"},
        Change{"/mounts/2/destination", R"("relative")", ""},
        Change{"/mounts/2/destination", R"("/a/..")", "mounts[2].destination: the root cannot be mounted on"},
        Change{"/mounts/2/destination", R"("/x/../proc/sys")",
               "mounts[2].destination: '/proc/sys' is inside /proc"},
        Change{"/mounts/2/destination", R"("/proc/meminfo")", ""},
        Change{"/mounts/2/destination", R"("/process")", ""},
        Change{"/mounts/0/type", R"("tmpfs")", "mounts[0].type: 'tmpfs' cannot be mounted on /proc"},
        Change{"/mounts/0/type", R"("bind")", ""}, Change{"/mounts/2/type", "", "mounts[2].type: missing"},
        Change{"/mounts/2", R"({"destination": "/x", "type": "bind"})", "mounts[2].source: missing"},
        Change{"/mounts/2", R"({"destination": "/x", "source": "", "options": ["rbind"]})",
               "mounts[2].source: missing"},
        Change{"/mounts/2", R"({"destination": "/x", "source": "x", "options": ["rbind"]})", ""},
        Change{"/mounts/0/options", R"(["tmpcopyup"])", "mounts[0].options: tmpcopyup needs type tmpfs"},
        Change{"/mounts/1/options", R"(["tmpcopyup"])", ""},
        Change{"/mounts/1/options", R"(["idmap"])", "mounts[1]: only a bind mount can map ids"},
        Change{"/mounts/0/uidMappings", R"([{"containerID": 0, "hostID": 1, "size": 1}])",
               "mounts[0].gidMappings: missing, uidMappings are there"},
        Change{"/hooks", R"({"poststop": [{"path": "/a"}, {}]})", "hooks.poststop[1].path: missing"},
        Change{"/hooks", R"({"prestart": [{"path": "a"}]})",
               "hooks.prestart[0].path: expected an absolute path, found 'a'"},
        Change{"/hooks", R"({"createRuntime": [{"path": "/a", "timeout": 0}]})",
               "hooks.createRuntime[0].timeout: expected seconds above 0, found 0"},
        Change{"/hostname", '"' + std::string(64, 'h') + '"', ""},
        Change{"/hostname", '"' + std::string(65, 'h') + '"',
               "hostname: 65 bytes, the kernel takes at most 64"},
        Change{"/domainname", '"' + std::string(300, 'd') + '"',
               "domainname: 300 bytes, the kernel takes at most 64"},
        Change{"/annotations", R"({"long": ")" + std::string(kMaxAnnotationsBytes, 'x') + "\"}",
               "annotations: 1048580 bytes, at most 1048576 are taken"},
        Change{"/annotations", R"({"": "x"})", "annotations[\"\"]: empty name"}));

INSTANTIATE_TEST_SUITE_P(
    Process, ValidateTest,
    testing::Values(
        Change{"/process/args", "", "process.args: missing"},
        Change{"/process/args", "[]", "process.args: missing"},
        Change{"/process/cwd", "", "process.cwd: missing"},
        Change{"/process/cwd", R"("tmp")", "process.cwd: expected an absolute path, found 'tmp'"},
        Change{"/process/env/1", R"("TERM")", "process.env[1]: expected NAME=value, found 'TERM'"},
        Change{"/process/env/1", R"("=x\n")", "process.env[1]: expected NAME=value, found '=x\\x0a'"},
        Change{"/process/env/1", R"("EMPTY=")", ""},
        Change{"/process/user/uid", "4294967295",
               "process.user.uid: expected an integer from 0 to 4294967294, found 4294967295"},
        Change{"/process/user/umask", "512",
               "process.user.umask: expected an integer from 0 to 511, found 512"},
        Change{"/process/rlimits/0/type", R"("RLIMIT_X")",
               "process.rlimits[0].type: unknown value 'RLIMIT_X'"},
        Change{"/process/rlimits/1", R"({"type": "RLIMIT_NOFILE", "hard": 1, "soft": 1})",
               "process.rlimits[1].type: RLIMIT_NOFILE appears twice"},
        Change{"/process/rlimits/0/soft", "1025",
               "process.rlimits[0].soft: 1025 is above the hard limit 1024"},
        Change{"/process/oomScoreAdj", "1001",
               "process.oomScoreAdj: expected an integer from -1000 to 1000, found 1001"},
        Change{"/process/scheduler", R"({"policy": "SCHED_X"})",
               "process.scheduler.policy: unknown value 'SCHED_X'"},
        Change{"/process/scheduler", R"({"policy": "SCHED_RR", "nice": -21})",
               "process.scheduler.nice: expected an integer from -20 to 19, found -21"},
        Change{"/process/scheduler", R"({"policy": "SCHED_RR", "flags": ["X"]})",
               "process.scheduler.flags[0]: unknown value 'X'"},
        Change{"/process/scheduler", R"({"policy": "SCHED_RR", "priority": 7})", ""},
        Change{"/process/scheduler", R"({"policy": "SCHED_OTHER", "priority": 7})",
               "process.scheduler.priority: only SCHED_FIFO and SCHED_RR have one"},
        Change{"/process/scheduler", R"({"policy": "SCHED_DEADLINE", "period": 7})", ""},
        Change{"/process/scheduler", R"({"policy": "SCHED_FIFO", "deadline": 7})",
               "process.scheduler.deadline: only SCHED_DEADLINE has one"},
        Change{"/process/execCPUAffinity", R"({"initial": "0-1", "final": "7"})", ""},
        Change{"/process/execCPUAffinity", R"({"final": "all"})",
               "process.execCPUAffinity.final: expected a list of numbers below 8192 such as 0-3,7, found "
               "'all'"},
        Change{"/process/ioPriority", R"({"class": "IOPRIO_CLASS_NONE", "priority": 1})",
               "process.ioPriority.class: unknown value 'IOPRIO_CLASS_NONE'"},
        Change{"/process/ioPriority", R"({"class": "IOPRIO_CLASS_BE", "priority": 8})",
               "process.ioPriority.priority: expected an integer from 0 to 7, found 8"}));

INSTANTIATE_TEST_SUITE_P(
    Linux, ValidateTest,
    testing::Values(
        Change{"/linux/namespaces/1/type", R"("net")", "linux.namespaces[1].type: unknown value 'net'"},
        Change{"/linux/namespaces/1/type", "", "linux.namespaces[1].type: missing"},
        Change{"/linux/namespaces/1/type", R"("pid")", "linux.namespaces[1].type: 'pid' appears twice"},
        Change{"/linux/namespaces/1/path", R"("run/x")",
               "linux.namespaces[1].path: expected an absolute path, found 'run/x'"},
        Change{"/linux/namespaces/5", R"({"type": "time"})", ""},
        Change{"/linux/uidMappings", R"([{"containerID": 0, "hostID": 1, "size": 1}])",
               "linux.uidMappings: given without a user namespace in namespaces"},
        Change{"/linux/devices", R"([{"path": "dev/x", "type": "c"}])",
               "linux.devices[0].path: expected an absolute path, found 'dev/x'"},
        Change{"/linux/devices", R"([{"path": "/dev/x", "type": "d"}])",
               "linux.devices[0].type: unknown value 'd'"},
        Change{"/linux/devices", R"([{"path": "/dev/x", "type": "c", "major": -1}])",
               "linux.devices[0].major: expected an integer from 0 to 4095, found -1"},
        Change{"/linux/devices", R"([{"path": "/dev/x", "type": "b", "minor": 1048576}])",
               "linux.devices[0].minor: expected an integer from 0 to 1048575, found 1048576"},
        Change{"/linux/devices", R"([{"path": "/dev/x", "type": "p", "major": -1}])", ""},
        Change{"/linux/sysctl", R"({"net/ipv4/conf/eth0.1/forwarding": "1", "kernel.domainname": "x"})", ""},
        Change{"/linux/sysctl", R"({"kernel/../../x": "1"})",
               "linux.sysctl[\"kernel/../../x\"]: no name of a kernel parameter"},
        Change{"/linux/sysctl", R"({"/etc/passwd": "1"})",
               "linux.sysctl[\"/etc/passwd\"]: no name of a kernel parameter"},
        Change{"/linux/rootfsPropagation", R"("public")", "linux.rootfsPropagation: unknown value 'public'"},
        Change{"/linux/maskedPaths/0", R"("proc/acpi")",
               "linux.maskedPaths[0]: expected an absolute path, found 'proc/acpi'"},
        Change{"/linux/readonlyPaths/1", R"("")",
               "linux.readonlyPaths[1]: expected an absolute path, found ''"},
        Change{"/linux/personality", R"({"domain": "LINUX64"})",
               "linux.personality.domain: unknown value 'LINUX64'"},
        Change{"/linux/personality", R"({"domain": "LINUX", "flags": ["x"]})",
               "linux.personality.flags: not supported"},
        Change{"/linux/timeOffsets", R"({"boottime": {"secs": 1}})",
               "linux.timeOffsets: given without a time namespace in namespaces"},
        Change{"/linux/timeOffsets", "{}", ""}));

TEST(Validate, NamesOffsetsOfTimeNamespaces) {
  Spec spec = ExampleSpec();
  spec.linux->namespaces.push_back({.type = "time"});
  spec.linux->time_offsets = {{"boottime", {.nanosecs = 999'999'999}}};
  EXPECT_OK(Validate(spec));
  spec.linux->time_offsets = {{"boottime", {.nanosecs = 1'000'000'000}}};
  EXPECT_THAT(Validate(spec), IsError(Code::kInvalidArgument,
                                      "linux.timeOffsets.boottime.nanosecs: expected an integer from 0 to "
                                      "999999999, found 1000000000"));
  spec.linux->time_offsets = {{"realtime", {.secs = 1}}};
  EXPECT_THAT(Validate(spec), IsError(Code::kInvalidArgument, "linux.timeOffsets.realtime: unknown clock"));
}

INSTANTIATE_TEST_SUITE_P(
    Resources, ValidateTest,
    testing::Values(
        Change{"/linux/resources/devices/0/type", R"("d")",
               "linux.resources.devices[0].type: expected a, b or c, found 'd'"},
        Change{"/linux/resources/devices/0/major", "-2",
               "linux.resources.devices[0].major: expected an integer from -1 to 4294967295, found -2"},
        Change{"/linux/resources/devices/0/access", R"("rx")",
               "linux.resources.devices[0].access: expected letters of rwm, found 'rx'"},
        Change{"/linux/resources/memory", R"({"limit": -2})",
               "linux.resources.memory.limit: expected an integer from -1 to 9223372036854775807, found -2"},
        Change{"/linux/resources/memory", R"({"limit": 200, "swap": 100})",
               "linux.resources.memory.swap: 100 is memory and swap together and below the limit 200"},
        Change{"/linux/resources/memory", R"({"limit": 200, "swap": -1})", ""},
        Change{"/linux/resources/memory", R"({"swappiness": 101})",
               "linux.resources.memory.swappiness: expected an integer from 0 to 100, found 101"},
        Change{"/linux/resources/cpu", R"({"idle": 2})",
               "linux.resources.cpu.idle: expected an integer from 0 to 1, found 2"},
        Change{"/linux/resources/cpu", R"({"cpus": "0-"})",
               "linux.resources.cpu.cpus: expected a list of numbers below 8192 such as 0-3,7, found '0-'"},
        Change{"/linux/resources/cpu", R"({"mems": "x"})",
               "linux.resources.cpu.mems: expected a list of numbers below 8192 such as 0-3,7, found 'x'"},
        Change{"/linux/resources/blockIO", R"({"weight": 0, "leafWeight": 1000})", ""},
        Change{"/linux/resources/blockIO", R"({"weight": 9})",
               "linux.resources.blockIO.weight: expected an integer from 10 to 1000, found 9"},
        Change{"/linux/resources/blockIO", R"({"weightDevice": [{"major": 8, "minor": 0, "weight": 5000}]})",
               "linux.resources.blockIO.weightDevice[0].weight: expected an integer from 10 to 1000, found "
               "5000"},
        Change{"/linux/resources/hugepageLimits", R"([{"pageSize": "../x", "limit": 1}])",
               "linux.resources.hugepageLimits[0].pageSize: expected a size such as 2MB, found '../x'"},
        Change{"/linux/resources/hugepageLimits", R"([{"pageSize": "2MB", "limit": 1}])", ""},
        Change{"/linux/resources/rdma", R"({"a b": {}})",
               "linux.resources.rdma[\"a b\"]: no name of an RDMA device"},
        Change{"/linux/resources/unified", R"({"../cgroup.procs": "1"})",
               "linux.resources.unified[\"../cgroup.procs\"]: no name of a cgroup file"},
        Change{"/linux/resources/unified", R"({"memory.high": "1"})", ""}));

INSTANTIATE_TEST_SUITE_P(
    Seccomp, ValidateTest,
    testing::Values(
        Change{"/linux/seccomp", "{}", "linux.seccomp.defaultAction: missing"},
        Change{"/linux/seccomp", R"({"defaultAction": "ALLOW"})",
               "linux.seccomp.defaultAction: unknown value 'ALLOW'"},
        Change{"/linux/seccomp",
               R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_LOG"}]})",
               "linux.seccomp.syscalls[0].names: missing"},
        Change{
            "/linux/seccomp",
            R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG",
                   "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]})",
            "linux.seccomp.syscalls[0].args[0].index: expected an integer from 0 to 5, found 6"},
        Change{
            "/linux/seccomp",
            R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG",
                   "args": [{"index": 5, "value": 0, "op": "=="}]}]})",
            "linux.seccomp.syscalls[0].args[0].op: unknown value '=='"},
        Change{"/linux/seccomp", R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 65536})",
               "linux.seccomp.defaultErrnoRet: expected an integer from 0 to 65535, found 65536"},
        Change{
            "/linux/seccomp",
            R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO",
                   "errnoRet": 70000}]})",
            "linux.seccomp.syscalls[0].errnoRet: expected an integer from 0 to 65535, found 70000"},
        Change{
            "/linux/seccomp",
            R"({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_PDP11"]})",
            "linux.seccomp.architectures[1]: unknown value 'SCMP_ARCH_PDP11'"},
        Change{"/linux/seccomp", R"({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"]})",
               "linux.seccomp.flags[0]: unknown value 'SECCOMP_FILTER_FLAG_X'"}));

TEST(Validate, AcceptsTheFullSpecification) {
  json document = json::parse(kFullSpecJson);
  // What these say together with others is wrong.
  document["linux"]["namespaces"].push_back({{"type", "time"}});
  document["linux"]["personality"].erase("flags");
  document["linux"]["resources"]["blockIO"]["leafWeight"] = 1000;
  document["process"]["scheduler"]["priority"] = 0;
  ASSERT_OK_AND_ASSIGN(const Spec spec, ParseSpec(document.dump()));
  EXPECT_OK(Validate(spec));
}

TEST(Validate, NamesMembersOfAProcessAloneFromTheProcess) {
  Process process = *ExampleSpec().process;
  EXPECT_OK(Validate(process));
  process.cwd = "x";
  EXPECT_THAT(Validate(process),
              IsError(Code::kInvalidArgument, "cwd: expected an absolute path, found 'x'"));
}

TEST(Validate, NamesMembersOfResourcesAloneFromTheResources) {
  Resources resources;
  EXPECT_OK(Validate(resources));
  resources.unified["a/b"] = "1";
  EXPECT_THAT(Validate(resources),
              IsError(Code::kInvalidArgument, "unified[\"a/b\"]: no name of a cgroup file"));
}

TEST(Validate, RefusesWhatExecveWould) {
  Process process = *ExampleSpec().process;
  process.args = {"sh", std::string(kMaxArgumentBytes - 1, 'x')};
  EXPECT_OK(Validate(process));
  process.args[1] += 'x';
  EXPECT_THAT(Validate(process),
              IsError(Code::kInvalidArgument, "args[1]: 131072 bytes, the kernel takes at most 131071"));
  process.args = {"sh"};
  process.env.assign(100, "A=" + std::string(100'000, 'x'));
  EXPECT_THAT(Validate(process),
              IsError(Code::kInvalidArgument,
                      "env: 11 bytes of args and 10001100 of env, the kernel takes at most "
                      "6291456 together"));
  process.env.clear();
  process.user.additional_gids.assign(kMaxAdditionalGids + 1, 5);
  EXPECT_THAT(
      Validate(process),
      IsError(Code::kInvalidArgument, "user.additionalGids: 65537 entries, the kernel takes at most 65536"));
}

}  // namespace
}  // namespace kata::oci
