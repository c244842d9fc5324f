#include "sandbox/agent_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <future>
#include <mutex>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::sandbox {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string FieldOf(const AgentLogRecord& record, std::string_view key) {
  for (const log::Field& field : record.fields) {
    if (field.key == key) return field.value;
  }
  return "(none)";
}

TEST(LineSplitter, CutsAStreamAtLineEnds) {
  LineSplitter splitter;
  std::vector<std::string> lines;
  splitter.Feed("one\ntw", lines);
  EXPECT_THAT(lines, ElementsAre("one"));
  splitter.Feed("o\n\nthree", lines);
  EXPECT_THAT(lines, ElementsAre("one", "two", ""));
  splitter.Feed("\n", lines);
  EXPECT_THAT(lines, ElementsAre("one", "two", "", "three"));
}

TEST(LineSplitter, LineWithoutEndStaysBounded) {
  LineSplitter splitter;
  std::vector<std::string> lines;
  for (int i = 0; i < 1000; ++i) splitter.Feed(std::string(1000, 'x'), lines);
  EXPECT_THAT(lines, IsEmpty());
  splitter.Feed("\nnext\n", lines);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], std::string(LineSplitter::kMaxLineBytes, 'x'));
  EXPECT_EQ(lines[1], "next");
}

TEST(ParseAgentLogLine, RecordsKeepTheirFields) {
  const AgentLogRecord record = ParseAgentLogLine(
      R"({"msg":"mounted","level":"WARN","ts":"2026","pid":1,"subsystem":"storage","version":"1","source":"agent",)"
      R"("name":"kata-agent","count":3,"ok":true})");
  EXPECT_EQ(record.message, "mounted");
  EXPECT_EQ(record.level, log::Level::kWarning);
  EXPECT_EQ(FieldOf(record, "source"), "agent");
  EXPECT_EQ(FieldOf(record, "subsystem"), "storage");
  EXPECT_EQ(FieldOf(record, "count"), "3");
  EXPECT_EQ(FieldOf(record, "ok"), "true");
  EXPECT_EQ(FieldOf(record, "guest-pid"), "1");
  EXPECT_EQ(FieldOf(record, "pid"), "(none)");
}

TEST(ParseAgentLogLine, AGuestSpeaksForNoOtherSandbox) {
  const AgentLogRecord record = ParseAgentLogLine(R"({"msg":"hello","sandbox":"victim"})");
  EXPECT_EQ(FieldOf(record, "sandbox"), "(none)");
  EXPECT_EQ(FieldOf(record, "guest-sandbox"), "victim");
}

TEST(ParseAgentLogLine, AnythingElseIsKeptAsText) {
  for (const char* line :
       {"plain text", "{\"msg\": 3}", "{\"level\":\"INFO\"}", "[", "null", "{\"msg\":\"x\""}) {
    const AgentLogRecord record = ParseAgentLogLine(line);
    EXPECT_EQ(record.message, line);
    EXPECT_EQ(record.level, log::Level::kInfo);
    EXPECT_EQ(FieldOf(record, "source"), "agent");
  }
}

TEST(ParseAgentLogLine, AnErrorOfTheGuestIsNoErrorOfTheRuntime) {
  const AgentLogRecord record = ParseAgentLogLine(R"({"msg":"m","level":"CRIT"})");
  EXPECT_EQ(record.level, log::Level::kWarning);
  EXPECT_EQ(FieldOf(record, "guest-level"), log::LevelName(log::Level::kCritical));
}

TEST(ParseAgentLogLine, HostileInputIsBoundedAndPrintable) {
  EXPECT_EQ(ParseAgentLogLine("a\x1b[2Jb\rc").message, "a [2Jb c");
  const AgentLogRecord escaped = ParseAgentLogLine(R"({"msg":"a\nlevel=error","k\ne":"v\u0000\n"})");
  EXPECT_EQ(escaped.message, "a level=error");
  EXPECT_EQ(FieldOf(escaped, "k_e"), "v  ");
  std::string many = R"({"msg":"m")";
  for (int i = 0; i < 200; ++i) many += ",\"k" + std::to_string(i) + "\":\"" + std::string(20, 'v') + "\"";
  EXPECT_LE(ParseAgentLogLine(many + "}").fields.size(), 16u);
  const AgentLogRecord wide = ParseAgentLogLine(R"({"msg":")" + std::string(7000, 'm') + R"(","key":")" +
                                                std::string(1000, 'v') + "\"}");
  EXPECT_EQ(wide.message.size(), 4096u);
  EXPECT_EQ(FieldOf(wide, "key").size(), 512u);
  // Deep nesting must not use up the stack.
  (void)ParseAgentLogLine(std::string(4000, '['));
  (void)ParseAgentLogLine("{\"msg\":\"m\",\"k\":" + std::string(3000, '[') + std::string(3000, ']') + "}");
}

constexpr size_t kMostLines = TextBudget::kBurstBytes / TextBudget::kRecordBytes;

class ForwardAgentLogTest : public kata::test::LeakCheckedTest {};

TEST_F(ForwardAgentLogTest, LinesBecomeRecordsOfTheHostAndAFloodIsCut) {
  std::mutex mutex;
  std::vector<std::string> messages;
  log::ClearSinks();
  log::AddSink(log::MakeCallbackSink([&](const log::Record& record) {
    const std::lock_guard lock(mutex);
    messages.emplace_back(record.message);
  }));
  {
    EventLoopThread thread;
    SocketPairEnds ends = *MakeSocketPair(SOCK_STREAM);
    ASSERT_OK(ForwardAgentLog(thread.loop(), std::move(ends.first), std::make_shared<TextBudget>()));
    ASSERT_OK(WriteAll(ends.second.get(), "{\"msg\":\"hello\"}\n"));
    for (size_t i = 0; i < 3 * kMostLines; ++i) ASSERT_OK(WriteAll(ends.second.get(), "x\n"));
    ASSERT_EQ(shutdown(ends.second.get(), SHUT_WR), 0);
    // Its end of the socket is closed when all has been read.
    char end;
    EXPECT_EQ(read(ends.second.get(), &end, 1), 0);
  }
  log::ClearSinks();
  const std::lock_guard lock(mutex);
  ASSERT_FALSE(messages.empty());
  EXPECT_EQ(messages[0], "hello");
  EXPECT_GE(messages.size(), 2u);
  EXPECT_LT(messages.size(), 2 * kMostLines);
}

}  // namespace
}  // namespace kata::sandbox
