#include "sandbox/guest_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "sandbox/machine_spec.h"
#include "support/result_matchers.h"

namespace kata::sandbox {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;
using testing::Not;

oci::Spec HostSpec() {
  oci::Spec spec;
  spec.oci_version = "1.2.0";
  spec.hostname = "box";
  spec.process.emplace();
  spec.process->args = {"true"};
  spec.process->apparmor_profile = "docker-default";
  spec.process->selinux_label = "label";
  spec.process->oom_score_adj = 100;
  spec.root = oci::Root{.path = "rootfs", .readonly = true};
  spec.mounts = {{.destination = "/proc", .type = "proc"}};
  spec.hooks.prestart = {{.path = "/bin/hook"}};
  spec.hooks.start_container = {{.path = "/bin/guest-hook"}};
  spec.linux.emplace();
  spec.linux->cgroups_path = "/docker/abc";
  spec.linux->mount_label = "label";
  spec.linux->namespaces = {
      {"pid", ""}, {"network", "/run/netns/x"}, {"ipc", "/proc/1/ns/ipc"}, {"mount", ""}};
  spec.linux->seccomp = oci::Seccomp{.default_action = "SCMP_ACT_ALLOW"};
  oci::Resources& resources = spec.linux->resources.emplace();
  resources.memory.emplace().limit = 1 << 20;
  resources.pids_limit = 10;
  resources.cpu.emplace();
  resources.cpu->quota_us = 50000;
  resources.cpu->cpus = "4-7";
  resources.cpu->mems = "1";
  resources.block_io.emplace().throttle_read_bps_device = {{8, 0, 100}};
  resources.network.emplace().class_id = 1;
  resources.devices = {{.allow = false, .access = "rwm"}};
  return spec;
}

GuestSpecOptions Options() {
  return {.container_id = "c1",
          .files = {.rootfs = "/guest/rootfs",
                    .mounts = {{.destination = "/data", .type = "bind", .source = "/g"}}}};
}

TEST(MakeGuestSpec, HostsThingsAreTakenOut) {
  const oci::Spec guest = MakeGuestSpec(HostSpec(), Options());
  EXPECT_THAT(guest.hooks.prestart, IsEmpty());
  EXPECT_EQ(guest.hooks.start_container.size(), 1u);
  EXPECT_EQ(guest.hostname, "box");
  EXPECT_EQ(guest.process->apparmor_profile, "");
  EXPECT_EQ(guest.process->selinux_label, "");
  EXPECT_EQ(guest.linux->mount_label, "");
  EXPECT_EQ(guest.linux->cgroups_path, "/kata/c1");
  EXPECT_THAT(guest.linux->namespaces, Not(Contains(Field(&oci::Namespace::type, "network"))));
  ASSERT_EQ(guest.linux->namespaces.size(), 3u);
  for (const oci::Namespace& ns : guest.linux->namespaces) EXPECT_EQ(ns.path, "");
  const oci::Resources& resources = *guest.linux->resources;
  EXPECT_EQ(resources.cpu->cpus, "");
  EXPECT_EQ(resources.cpu->mems, "");
  EXPECT_THAT(resources.block_io->throttle_read_bps_device, IsEmpty());
  EXPECT_FALSE(resources.network.has_value());
}

TEST(MakeGuestSpec, WhatHoldsInTheGuestTooIsKept) {
  const oci::Spec guest = MakeGuestSpec(HostSpec(), Options());
  EXPECT_EQ(guest.root->path, "/guest/rootfs");
  EXPECT_TRUE(guest.root->readonly);
  ASSERT_EQ(guest.mounts.size(), 1u);
  EXPECT_EQ(guest.mounts[0].source, "/g");
  EXPECT_EQ(guest.process->oom_score_adj, 100);
  EXPECT_EQ(guest.linux->resources->memory->limit, 1 << 20);
  EXPECT_EQ(guest.linux->resources->pids_limit, 10);
  EXPECT_EQ(guest.linux->resources->cpu->quota_us, 50000);
  EXPECT_EQ(guest.linux->resources->devices.size(), 1u);
  EXPECT_TRUE(guest.linux->seccomp.has_value());
  GuestSpecOptions without_seccomp = Options();
  without_seccomp.keep_seccomp = false;
  EXPECT_FALSE(MakeGuestSpec(HostSpec(), without_seccomp).linux->seccomp.has_value());
}

TEST(GuestHostName, IsTheHostsWhereThereIsNone) {
  oci::Spec spec;
  utsname own{};
  ASSERT_EQ(uname(&own), 0);
  EXPECT_EQ(GuestHostName(spec), own.nodename);
  spec.hostname = "box";
  EXPECT_EQ(GuestHostName(spec), "box");
}

TEST(MakeCreateContainerRequest, NamesTheContainerAndItsInit) {
  const grpc::CreateContainerRequest request = MakeCreateContainerRequest(HostSpec(), Options());
  EXPECT_EQ(request.container_id(), "c1");
  EXPECT_EQ(request.exec_id(), "c1");
}

TEST(JoinsNamespace, WhereTheSpecNamesOne) {
  oci::Spec spec = HostSpec();
  EXPECT_FALSE(JoinsNamespace(spec, "pid"));
  spec.linux->namespaces[0].path = "/proc/1/ns/pid";
  EXPECT_TRUE(JoinsNamespace(spec, "pid"));
}

TEST(MakeVmSpec, FollowsTheConfiguration) {
  config::Config config;
  config.hypervisor.path = "/usr/bin/qemu";
  config.hypervisor.kernel_params = " agent.log=trace  quiet=no ";
  config.hypervisor.acceleration = "tcg";
  hypervisor::VmSpec spec =
      MakeVmSpec(config, "c1", {.vcpus = 2, .memory_mib = 512}, {"agent.server_addr=serial://x"});
  EXPECT_EQ(spec.id, "c1");
  EXPECT_EQ(spec.vmm_path, "/usr/bin/qemu");
  EXPECT_EQ(spec.memory_mib, 512u);
  EXPECT_EQ(spec.vcpus, 2u);
  EXPECT_EQ(spec.acceleration, hypervisor::Acceleration::kTcg);
  EXPECT_TRUE(spec.shared_memory);
  EXPECT_THAT(spec.kernel_parameters,
              ElementsAre("panic=1", "quiet", "agent.log=info", "agent.server_addr=serial://x",
                          "agent.log=trace", "quiet=no"));
  config.hypervisor.enable_debug = true;
  config.agent.enable_debug = true;
  config.hypervisor.shared_fs = "virtio-9p";
  spec = MakeVmSpec(config, "c1", {}, {});
  EXPECT_FALSE(spec.shared_memory);
  EXPECT_THAT(spec.kernel_parameters, Contains("agent.log=debug"));
  EXPECT_THAT(spec.kernel_parameters, Not(Contains("quiet")));
}

TEST(ResolverLinesTest, BytesThatNoMessageCanCarryAreReplaced) {
  ASSERT_OK_AND_ASSIGN(const TempDir bundle, TempDir::Create());
  ASSERT_OK(WriteFileAtomic(bundle.path() + "/resolv", "# M\xfcnchen\nnameserver 10.0.0.1\n"));
  oci::Spec spec;
  spec.mounts.push_back({.destination = "/etc/resolv.conf", .type = "bind", .source = "resolv"});
  EXPECT_THAT(ResolverLines(spec, bundle.path()),
              testing::ElementsAre("# M\xef\xbf\xbdnchen", "nameserver 10.0.0.1"));
}

TEST(CheckGuestSpecTest, WhatOnlyTheHostCouldHoldIsRefused) {
  oci::Spec spec = HostSpec();
  EXPECT_OK(CheckGuestSpec(spec));
  spec.linux->intel_rdt.emplace();
  EXPECT_OK(CheckGuestSpec(spec));
  spec.linux->intel_rdt->l3_cache_schema = "L3:0=f";
  EXPECT_THAT(CheckGuestSpec(spec),
              test::IsError(Code::kInvalidArgument, testing::StartsWith("linux.intelRdt: ")));
  spec.linux->intel_rdt.reset();
  spec.linux->resources->rdma["mlx5_1"].hca_handles = 3;
  EXPECT_THAT(CheckGuestSpec(spec),
              test::IsError(Code::kInvalidArgument, testing::StartsWith("linux.resources.rdma: ")));
}

TEST(CheckGuestSpecTest, WhatNoMessageCanCarryIsRefusedByItsLargestPart) {
  oci::Spec spec = HostSpec();
  spec.process->env.assign(39, "A=" + std::string(100'000, 'x'));
  EXPECT_OK(CheckGuestSpec(spec));
  EXPECT_OK(CheckGuestProcess(*spec.process));
  spec.process->args.assign(5, std::string(100'000, 'x'));
  EXPECT_THAT(CheckGuestSpec(spec),
              test::IsError(Code::kInvalidArgument, testing::StartsWith("process.env: 3900078 bytes make")));
  EXPECT_THAT(CheckGuestProcess(*spec.process),
              test::IsError(Code::kInvalidArgument, testing::StartsWith("env: 3900078 bytes make")));
  spec = HostSpec();
  spec.mounts.assign(16000, {.destination = "/data", .type = "tmpfs", .source = "tmpfs"});
  EXPECT_THAT(CheckGuestSpec(spec), test::IsError(Code::kInvalidArgument, testing::StartsWith("mounts: ")));
}

TEST(CheckGuestSeccompTest, NotificationsAreRefusedByPlace) {
  oci::Spec spec;
  spec.linux.emplace();
  EXPECT_OK(CheckGuestSeccomp(spec));
  spec.linux->seccomp.emplace();
  spec.linux->seccomp->default_action = "SCMP_ACT_ERRNO";
  spec.linux->seccomp->syscalls = {
      {.names = {"open"}, .action = "SCMP_ACT_ALLOW", .errno_ret = {}, .args = {}},
      {.names = {"mkdir"}, .action = "SCMP_ACT_NOTIFY", .errno_ret = {}, .args = {}}};
  EXPECT_THAT(CheckGuestSeccomp(spec),
              test::IsError(Code::kUnimplemented,
                            testing::HasSubstr("linux.seccomp.syscalls[1].action: SCMP_ACT_NOTIFY")));
  spec.linux->seccomp->default_action = "SCMP_ACT_NOTIFY";
  EXPECT_THAT(CheckGuestSeccomp(spec),
              test::IsError(Code::kUnimplemented,
                            testing::HasSubstr("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY")));
  spec.linux->seccomp->listener_path = "/run/x.sock";
  EXPECT_THAT(CheckGuestSeccomp(spec),
              test::IsError(Code::kUnimplemented, testing::StartsWith("linux.seccomp.listenerPath: ")));
}

TEST(CheckNamespacePathsTest, APathMustLeadToItsType) {
  oci::Spec spec;
  spec.linux.emplace();
  spec.linux->namespaces = {{"mount", ""}, {"pid", "/proc/self/ns/pid"}, {"ipc", "/proc/self/ns/ipc"}};
  EXPECT_OK(CheckNamespacePaths(spec));
  spec.linux->namespaces[2].path = "/proc/self/ns/uts";
  EXPECT_THAT(CheckNamespacePaths(spec),
              test::IsError(Code::kInvalidArgument,
                            testing::AllOf(testing::HasSubstr("linux.namespaces[2].path"),
                                           testing::HasSubstr("expected namespace of type ipc, found uts"))));
  spec.linux->namespaces[2].path = "/nosuch/ns";
  EXPECT_THAT(CheckNamespacePaths(spec), test::IsErrorCode(Code::kNotFound));
}

}  // namespace
}  // namespace kata::sandbox
