#include "oci/example_spec.h"

#include <nlohmann/json.hpp>

#include "base/version.h"
#include "oci/json.h"
#include "support/result_matchers.h"

namespace kata::oci {
namespace {

using nlohmann::json;

// What `runc spec` of runc 1.1 writes, but for the version.
constexpr std::string_view kRuncSpec = R"json({
  "ociVersion": "VERSION",
  "process": {
    "terminal": true,
    "user": {"uid": 0, "gid": 0},
    "args": ["sh"],
    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
    "cwd": "/",
    "capabilities": {
      "bounding": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
      "effective": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
      "permitted": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
      "ambient": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    },
    "rlimits": [
      {"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}
    ],
    "noNewPrivileges": true
  },
  "root": {"path": "rootfs", "readonly": true},
  "hostname": "runc",
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {
      "destination": "/dev",
      "type": "tmpfs",
      "source": "tmpfs",
      "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]
    },
    {
      "destination": "/dev/pts",
      "type": "devpts",
      "source": "devpts",
      "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    },
    {
      "destination": "/dev/shm",
      "type": "tmpfs",
      "source": "shm",
      "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
    },
    {
      "destination": "/dev/mqueue",
      "type": "mqueue",
      "source": "mqueue",
      "options": ["nosuid", "noexec", "nodev"]
    },
    {
      "destination": "/sys",
      "type": "sysfs",
      "source": "sysfs",
      "options": ["nosuid", "noexec", "nodev", "ro"]
    },
    {
      "destination": "/sys/fs/cgroup",
      "type": "cgroup",
      "source": "cgroup",
      "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]
    }
  ],
  "linux": {
    "resources": {
      "devices": [
        {"allow": false, "access": "rwm"}
      ]
    },
    "namespaces": [
      {"type": "pid"},
      {"type": "network"},
      {"type": "ipc"},
      {"type": "uts"},
      {"type": "mount"}
    ],
    "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
        "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
    "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
  }
})json";

TEST(ExampleSpec, IsTheContainerOfRunc) {
  json expected = json::parse(kRuncSpec);
  expected["ociVersion"] = OciSpecVersion();
  EXPECT_EQ(json::parse(ToIndentedJson(ExampleSpec())), expected);
}

TEST(ExampleSpec, IsIndentedWithTabsInTheOrderOfTheSpecification) {
  EXPECT_THAT(ToIndentedJson(ExampleSpec()),
              testing::StartsWith("{\n\t\"ociVersion\": \"" + std::string(OciSpecVersion()) +
                                  "\",\n\t\"process\": {\n\t\t\"terminal\": true,\n"));
}

TEST(ExampleSpec, IsValid) {
  ASSERT_OK_AND_ASSIGN(const Spec spec, ParseSpec(ToIndentedJson(ExampleSpec())));
  EXPECT_OK(Validate(spec));
  EXPECT_EQ(ToJson(spec), ToJson(ExampleSpec()));
}

TEST(ExampleSpec, RootlessHasAUserNamespaceAndNoControlGroups) {
  const Spec spec = RootlessExampleSpec(1000, 1001);
  EXPECT_OK(Validate(spec));
  EXPECT_FALSE(spec.linux->resources);
  EXPECT_EQ(spec.linux->namespaces.back().type, "user");
  EXPECT_EQ(spec.linux->namespaces.size(), 6u);
  EXPECT_EQ(spec.linux->uid_mappings[0].host_id, 1000u);
  EXPECT_EQ(spec.linux->gid_mappings[0].host_id, 1001u);
  EXPECT_THAT(ToJson(spec), testing::Not(testing::HasSubstr("gid=5")));
}

}  // namespace
}  // namespace kata::oci
