#include "protocol/oci_convert.h"

#include "oci/example_spec.h"
#include "oci/full_spec_for_test.h"
#include "oci/json.h"
#include "support/result_matchers.h"

namespace kata::protocol {
namespace {

using test::IsError;

// Through the bytes, as over the wire.
template <typename Message>
Message Transfer(const Message& message) {
  Message copy;
  EXPECT_TRUE(copy.ParseFromString(message.SerializeAsString()));
  return copy;
}

TEST(OciConvert, KeepsEveryMemberOfASpec) {
  ASSERT_OK_AND_ASSIGN(const oci::Spec spec, oci::ParseSpec(oci::kFullSpecJson));
  ASSERT_OK_AND_ASSIGN(const oci::Spec copy, FromProto(Transfer(ToProto(spec))));
  EXPECT_EQ(oci::ToJson(copy), oci::ToJson(spec));
}

TEST(OciConvert, KeepsWhatIsAbsentAbsent) {
  for (
      const char* text : {
          R"({"ociVersion": "1.2.0"})",
          R"({"process": {"user": {}, "cwd": "/", "capabilities": {}, "scheduler": {"policy": "SCHED_IDLE"}}})",
          R"({"linux": {}})",
          R"({"linux": {"resources": {}, "seccomp": {"defaultAction": ""}, "intelRdt": {}}})",
          R"({"linux": {"resources": {"memory": {}, "cpu": {}, "blockIO": {}, "network": {}}}})",
          R"({"linux": {"resources": {"memory": {"limit": 0}, "cpu": {"shares": 0}, "pids": {"limit": 0}}}})",
          R"({"linux": {"resources": {"blockIO": {"weight": 0, "weightDevice": [{"major": 1, "minor": 0}]}}}})",
          R"({"linux": {"devices": [{"path": "/d", "type": "c", "fileMode": 0, "uid": 0}]}})",
          R"({"hooks": {"poststop": [{"path": "/a", "timeout": 0}]}})",
      }) {
    ASSERT_OK_AND_ASSIGN(const oci::Spec spec, oci::ParseSpec(text));
    ASSERT_OK_AND_ASSIGN(const oci::Spec copy, FromProto(Transfer(ToProto(spec))));
    EXPECT_EQ(oci::ToJson(copy), oci::ToJson(spec));
  }
}

TEST(OciConvert, KeepsAProcessAndResources) {
  ASSERT_OK_AND_ASSIGN(const oci::Spec spec, oci::ParseSpec(oci::kFullSpecJson));
  ASSERT_OK_AND_ASSIGN(const oci::Process process, FromProto(Transfer(ToProto(*spec.process))));
  EXPECT_EQ(oci::ToJson(process), oci::ToJson(*spec.process));
  ASSERT_OK_AND_ASSIGN(const oci::Resources resources, FromProto(Transfer(ToProto(*spec.linux->resources))));
  EXPECT_EQ(oci::ToJson(resources), oci::ToJson(*spec.linux->resources));
}

TEST(OciConvert, WritesAllDevicesOfARuleAsMinusOne) {
  oci::Resources resources;
  resources.devices = {{.allow = true, .type = "c", .major = 5}};
  const grpc::LinuxResources proto = ToProto(resources);
  EXPECT_EQ(proto.devices(0).minor(), -1);
  ASSERT_OK_AND_ASSIGN(const oci::Resources copy, FromProto(proto));
  EXPECT_EQ(copy.devices[0].major, 5);
  EXPECT_EQ(copy.devices[0].minor, std::nullopt);
}

// Names do not travel, numbers do: bytes as an implementation with the original messages writes them.
TEST(OciConvert, ReadsTheOriginalFieldNumbers) {
  // Version=1 "1.0.2"; Process=2 {Terminal=1 true, Args=4 "sh", Cwd=6 "/", OOMScoreAdj=11 500}; Hostname=4
  // "h".
  const std::string bytes(
      "\x0a\x05"
      "1.0.2"
      "\x12\x0c\x08\x01\x22\x02sh\x32\x01/\x58\xf4\x03"
      "\x22\x01h",
      24);
  grpc::Spec proto;
  ASSERT_TRUE(proto.ParseFromString(bytes));
  ASSERT_OK_AND_ASSIGN(const oci::Spec spec, FromProto(proto));
  EXPECT_EQ(spec.oci_version, "1.0.2");
  EXPECT_TRUE(spec.process->terminal);
  EXPECT_EQ(spec.process->args, std::vector<std::string>{"sh"});
  EXPECT_EQ(spec.process->cwd, "/");
  EXPECT_EQ(spec.process->oom_score_adj, 500);
  EXPECT_EQ(spec.hostname, "h");
}

TEST(OciConvert, AddsNothingToTheWireForAnOrdinaryContainer) {
  // Were a field from 1000 on written, clearing it would change the bytes.
  grpc::Spec proto = ToProto(oci::ExampleSpec());
  const std::string bytes = proto.SerializeAsString();
  proto.clear_domainname();
  proto.mutable_process()->clear_scheduler();
  proto.mutable_process()->clear_iopriority();
  proto.mutable_process()->clear_execcpuaffinity();
  proto.mutable_process()->mutable_user()->clear_umask();
  proto.mutable_linux()->clear_personality();
  proto.mutable_linux()->clear_timeoffsets();
  proto.mutable_linux()->mutable_resources()->clear_unified();
  proto.mutable_linux()->mutable_resources()->clear_rdma();
  EXPECT_EQ(proto.SerializeAsString(), bytes);
}

TEST(FromProto, RefusesValuesThatDoNotFit) {
  grpc::LinuxResources resources;
  resources.mutable_blockio()->set_weight(65536);
  EXPECT_THAT(FromProto(resources), IsError(Code::kInvalidArgument,
                                            "blockIO: weight: expected an integer up to 65535, found 65536"));
  grpc::Spec spec;
  *spec.mutable_linux()->mutable_resources() = resources;
  EXPECT_THAT(FromProto(spec),
              IsError(Code::kInvalidArgument,
                      "linux: resources: blockIO: weight: expected an integer up to 65535, found 65536"));
  spec.Clear();
  spec.mutable_linux()->mutable_seccomp()->add_syscalls()->add_args()->set_index(1ull << 32);
  EXPECT_THAT(
      FromProto(spec),
      IsError(Code::kInvalidArgument,
              "linux: seccomp: syscalls: [0]: args: [0]: index: expected an integer up to 4294967295, found "
              "4294967296"));
}

TEST(FromProto, RefusesNulBytesAndTooMuch) {
  grpc::Process process;
  process.add_args(std::string("a\0b", 3));
  EXPECT_THAT(FromProto(process), IsError(Code::kInvalidArgument, "args[0]: contains a NUL byte"));
  grpc::Spec spec;
  for (int i = 0; i < 16385; ++i) spec.add_mounts();
  EXPECT_THAT(FromProto(spec), IsError(Code::kInvalidArgument, "mounts: 16385 entries, the limit is 16384"));
}

}  // namespace
}  // namespace kata::protocol
