// Tests of jail/request.h and jail/sync_channel.h.
#include "jail/request.h"

#include <sys/socket.h>

#include "jail/sync_channel.h"
#include "support/result_matchers.h"

namespace kata::jail {
namespace {

using test::IsError;
using test::IsErrorCode;

TEST(SyncChannelTest, ErrorsKeepCodeErrnoAndText) {
  ASSERT_OK_AND_ASSIGN(SocketPairEnds pair, MakeSocketPair(SOCK_SEQPACKET));
  SyncChannel one(std::move(pair.first));
  SyncChannel two(std::move(pair.second));
  ASSERT_OK(one.SendError(ErrnoError(ENOENT, "open '/x'")));
  const auto received = two.Expect(SyncChannel::Type::kReady, Deadline::After(std::chrono::seconds(10)));
  EXPECT_THAT(received, IsError(Code::kNotFound, "open '/x': No such file or directory"));
  EXPECT_EQ(received.error().sys_errno(), ENOENT);
  one.Close();
  EXPECT_THAT(two.Expect(SyncChannel::Type::kReady, Deadline::After(std::chrono::seconds(10))),
              IsErrorCode(Code::kAborted));
  EXPECT_EQ(SyncChannel::DecodeError("garbage").message(), "garbage");
}

TEST(RequestTest, ReadsBackWhatWasWritten) {
  Request request;
  request.operation = Request::Operation::kExec;
  request.spec.oci_version = "1.1.0";
  request.spec.hostname = "h";
  request.container_id = "c1";
  request.bundle = "/b";
  request.rootfs = "/r";
  request.namespaces = 5;
  request.enable_seccomp = false;
  ASSERT_OK_AND_ASSIGN(const Request copy, ParseRequest(SerializeRequest(request)));
  EXPECT_EQ(copy.operation, Request::Operation::kExec);
  EXPECT_EQ(copy.spec.hostname, "h");
  EXPECT_EQ(copy.container_id, "c1");
  EXPECT_EQ(copy.bundle, "/b");
  EXPECT_EQ(copy.rootfs, "/r");
  EXPECT_EQ(copy.namespaces, 5);
  EXPECT_FALSE(copy.enable_seccomp);
  EXPECT_THAT(ParseRequest("{}"), IsErrorCode(Code::kInternal));
  EXPECT_THAT(ParseRequest("no json"), IsErrorCode(Code::kInternal));
}

}  // namespace
}  // namespace kata::jail
