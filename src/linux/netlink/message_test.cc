#include "linux/netlink/message.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <limits>

#include "support/result_matchers.h"

namespace kata::linux::netlink {
namespace {

using test::IsErrorCode;
using testing::HasSubstr;

MessageBuilder Request() {
  rtmsg header{};
  header.rtm_family = AF_INET;
  MessageBuilder request(RTM_NEWROUTE, NLM_F_REQUEST, header);
  request.AddU32(RTA_OIF, 7);
  request.AddString(RTA_PREFSRC, "abc");
  const size_t nest = request.BeginNest(RTA_METRICS);
  request.AddU32(RTAX_MTU, 1400);
  request.EndNest(nest);
  return request;
}

TEST(NetlinkMessageTest, ReadsWhatItBuilds) {
  const std::string bytes = Request().Finish(42);
  ASSERT_OK_AND_ASSIGN(const std::vector<Message> messages, ParseMessages(bytes));
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].type, RTM_NEWROUTE);
  EXPECT_EQ(messages[0].sequence, 42u);
  rtmsg header{};
  ASSERT_OK_AND_ASSIGN(const Attributes attributes, ParsePayload(messages[0].payload, header));
  EXPECT_EQ(header.rtm_family, AF_INET);
  EXPECT_EQ(attributes.GetU32(RTA_OIF), 7u);
  EXPECT_EQ(attributes.GetString(RTA_PREFSRC), "abc");
  ASSERT_TRUE(attributes.Get(RTA_METRICS).has_value());  // without the flag of nested attributes
  ASSERT_OK_AND_ASSIGN(const Attributes metrics, Attributes::Parse(*attributes.Get(RTA_METRICS)));
  EXPECT_EQ(metrics.GetU32(RTAX_MTU), 1400u);
  EXPECT_FALSE(attributes.Get(RTA_GATEWAY).has_value());
  EXPECT_FALSE(attributes.GetU32(RTA_METRICS).has_value()) << "not of four bytes";
}

TEST(NetlinkMessageTest, RefusesWhatIsCutOff) {
  const std::string bytes = Request().Finish(1);
  for (size_t size = 1; size < bytes.size(); ++size) {
    EXPECT_THAT(ParseMessages(std::string_view(bytes).substr(0, size)), IsErrorCode(Code::kDataLoss)) << size;
  }
  rtmsg header{};
  const std::string_view payload = std::string_view(bytes).substr(NLMSG_HDRLEN);
  EXPECT_THAT(ParsePayload(payload.substr(0, sizeof header - 1), header), IsErrorCode(Code::kDataLoss));
  EXPECT_THAT(ParsePayload(payload.substr(0, sizeof header + 2), header), IsErrorCode(Code::kDataLoss));
  EXPECT_THAT(ParsePayload(payload.substr(0, sizeof header + 6), header), IsErrorCode(Code::kDataLoss));
}

// An acknowledgement as the kernel writes it: the errno, the request's header, attributes with its words.
std::string Refusal(int number, std::string_view words) {
  nlmsghdr request{};
  request.nlmsg_len = 100;  // the header alone comes back (NLM_F_CAPPED)
  std::string fixed(reinterpret_cast<const char*>(&number), sizeof number);
  fixed.append(reinterpret_cast<const char*>(&request), sizeof request);
  struct Fixed {
    char bytes[sizeof(int) + sizeof(nlmsghdr)];
  } header;
  std::memcpy(&header, fixed.data(), fixed.size());
  MessageBuilder message(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, header);
  message.AddString(NLMSGERR_ATTR_MSG, words);
  return message.Finish(1);
}

TEST(NetlinkMessageTest, TellsTheKernelsWords) {
  const std::string bytes = Refusal(-EINVAL, "Invalid scope");
  ASSERT_OK_AND_ASSIGN(const std::vector<Message> messages, ParseMessages(bytes));
  const Status status = ParseAcknowledgement(messages[0]);
  EXPECT_THAT(status, test::IsError(Code::kInvalidArgument, HasSubstr("Invalid scope: Invalid argument")));
  const std::string success = Refusal(0, "");
  ASSERT_OK_AND_ASSIGN(const std::vector<Message> good, ParseMessages(success));
  EXPECT_OK(ParseAcknowledgement(good[0]));
  EXPECT_OK(ParseAcknowledgement({NLMSG_DONE, 0, 1, ""}));
  EXPECT_THAT(ParseAcknowledgement({NLMSG_ERROR, 0, 1, "a"}), IsErrorCode(Code::kDataLoss));
  // Numbers that are no errno, among them the one without a positive counterpart.
  for (const int number : {1, -4096, std::numeric_limits<int>::min()}) {
    const std::string wrong = Refusal(number, "");
    ASSERT_OK_AND_ASSIGN(const std::vector<Message> bad, ParseMessages(wrong));
    EXPECT_THAT(ParseAcknowledgement(bad[0]), IsErrorCode(Code::kDataLoss)) << number;
  }
}

}  // namespace
}  // namespace kata::linux::netlink
