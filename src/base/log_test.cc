#include "base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <thread>

#include "base/file.h"
#include "base/unique_fd.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::log {
namespace {

using test::IsErrorCode;
using testing::HasSubstr;

// 2026-01-02T03:04:05.000000006Z.
constexpr std::chrono::system_clock::time_point kTime{std::chrono::nanoseconds(1767323045000000006)};

std::string Format1(Format format, std::string_view message, std::vector<Field> fields = {}) {
  return FormatRecord(Record{kTime, Level::kInfo, message, fields}, format);
}

TEST(FormatTimeTest, IsRfc3339InUtcWithNineDigits) {
  EXPECT_EQ(FormatTime(kTime), "2026-01-02T03:04:05.000000006Z");
  EXPECT_EQ(FormatTime({}), "1970-01-01T00:00:00.000000000Z");
}

TEST(FormatRecordTest, TextIsLogrus) {
  EXPECT_EQ(Format1(Format::kText, "hello"),
            R"(time="2026-01-02T03:04:05.000000006Z" level=info msg="hello")");
  EXPECT_THAT(
      Format1(Format::kText, "start 'x'", {{"sandbox", "s-1"}, {"pid", 12}, {"note", "a b"}, {"none", ""}}),
      testing::EndsWith(R"( msg="start 'x'" sandbox=s-1 pid=12 note="a b" none="")"));
  EXPECT_THAT(Format1(Format::kText, "a\"b\\c\nd\x1b[31m\xff \xc2\x9b \xc3\xa4"),
              testing::EndsWith(R"( msg="a\"b\\c\nd\x1b[31m\xff \u009b )"
                                "\xc3\xa4\""));
}

TEST(FormatRecordTest, JsonHasLevelMsgTime) {
  EXPECT_EQ(FormatRecord(Record{kTime, Level::kError, "it failed", {}}, Format::kJson),
            R"({"level":"error","msg":"it failed","time":"2026-01-02T03:04:05.000000006Z"})");
  EXPECT_EQ(
      Format1(Format::kJson, "a", {{"pid", 12}, {"msg", "b"}}),
      R"({"level":"info","msg":"a","time":"2026-01-02T03:04:05.000000006Z","pid":"12","fields.msg":"b"})");
}

TEST(JsonQuoteTest, EscapesAndReplacesInvalidUtf8) {
  EXPECT_EQ(JsonQuote("a\"b\\c\n\t\x01\x7f"), R"("a\"b\\c\n\u0009\u0001\u007f")");
  EXPECT_EQ(JsonQuote(std::string_view("\0", 1)), R"("\u0000")");
  EXPECT_EQ(JsonQuote("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
  EXPECT_EQ(JsonQuote("a\xff"), "\"a\xef\xbf\xbd\"");
}

TEST(LevelTest, NamesAreLogrus) {
  for (const Level level :
       {Level::kTrace, Level::kDebug, Level::kInfo, Level::kWarning, Level::kError, Level::kCritical}) {
    EXPECT_EQ(ParseLevel(LevelName(level)).value(), level);
  }
  EXPECT_EQ(ParseLevel("warn").value(), Level::kWarning);
  EXPECT_EQ(ParseLevel("panic").value(), Level::kCritical);
  EXPECT_EQ(LevelName(Level::kCritical), "fatal");
  EXPECT_THAT(ParseLevel("loud"), IsErrorCode(Code::kInvalidArgument));
}

class SinkTest : public test::LeakCheckedTest {
 protected:
  ~SinkTest() override {
    ClearSinks();
    SetContext({});
    SetLevel(Level::kInfo);
  }
};

TEST_F(SinkTest, RecordsCarryContextThenFieldsAndRespectTheLevel) {
  std::vector<std::string> lines;
  AddSink(MakeCallbackSink([&](const Record& record) {
    std::string line = std::string(LevelName(record.level)) + " " + std::string(record.message);
    for (const Field& field : record.fields) line += " " + field.key + "=" + field.value;
    lines.push_back(line);
  }));
  SetContext({{"sandbox", "s1"}});
  Debug("not seen");
  Info("seen", {{"n", 1}});
  SetLevel(Level::kDebug);
  Debug("seen too");
  SetLevel(Level::kError);
  Warning("not seen");
  LogError("bad");
  EXPECT_THAT(lines, testing::ElementsAre("info seen sandbox=s1 n=1", "debug seen too sandbox=s1",
                                          "error bad sandbox=s1"));
}

TEST_F(SinkTest, FileSinkAppends) {
  ASSERT_OK_AND_ASSIGN(const TempDir dir, TempDir::Create());
  const std::string path = dir.path() + "/log";
  ASSERT_OK(WriteFileAtomic(path, "before\n"));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<Sink> sink, MakeFileSink(path, Format::kJson));
  AddSink(std::move(sink));
  LogError("one");
  Info("two");
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
  EXPECT_THAT(text,
              testing::MatchesRegex("before\n\\{\"level\":\"error\",\"msg\":\"one\",\"time\":\"[^\"]*\"\\}\n"
                                    "\\{\"level\":\"info\",\"msg\":\"two\",\"time\":\"[^\"]*\"\\}\n"));
  EXPECT_THAT(MakeFileSink(dir.path() + "/none/log", Format::kJson), IsErrorCode(Code::kNotFound));
}

TEST_F(SinkTest, FullPipeDropsAndCounts) {
  ASSERT_OK_AND_ASSIGN(PipeEnds pipe, MakePipe(O_NONBLOCK));
  AddSink(MakeFdSink(pipe.write.get(), Format::kText));
  const std::string long_message(3000, 'x');
  for (int i = 0; i < 100; ++i) Info(long_message);
  std::string buffer(1 << 20, '\0');
  ASSERT_GT(read(pipe.read.get(), buffer.data(), buffer.size()), 0);
  Info("after");
  const ssize_t count = read(pipe.read.get(), buffer.data(), buffer.size());
  ASSERT_GT(count, 0);
  const std::string rest = buffer.substr(0, count);
  EXPECT_THAT(rest, testing::ContainsRegex("level=warning msg=\"[0-9]+ log records were dropped\""));
  EXPECT_THAT(rest, HasSubstr("msg=\"after\""));
}

TEST_F(SinkTest, LinesOfThreadsDoNotMix) {
  ASSERT_OK_AND_ASSIGN(const TempDir dir, TempDir::Create());
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<Sink> sink, MakeFileSink(dir.path() + "/log", Format::kText));
  AddSink(std::move(sink));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int n = 0; n < 100; ++n) Info("message", {{"n", n}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string text = ReadFile(dir.path() + "/log").value_or("");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 400);
}

// A syslog daemon: a bound datagram socket.
UniqueFd BindDatagramSocket(const std::string& path) {
  UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

std::string ReceivePacket(const UniqueFd& fd) {
  char buffer[4096];
  const ssize_t count = recv(fd.get(), buffer, sizeof buffer, 0);
  return count < 0 ? "" : std::string(buffer, count);
}

TEST_F(SinkTest, SyslogSinkSendsPacketsAndFindsARestartedDaemon) {
  ASSERT_OK_AND_ASSIGN(const TempDir dir, TempDir::Create());
  const std::string path = dir.path() + "/log";
  AddSink(MakeSyslogSink("kata-runtime", path));
  Info("lost");  // no daemon yet
  UniqueFd daemon = BindDatagramSocket(path);
  LogError("line\nbreak", {{"sandbox", "s 1"}});
  EXPECT_THAT(ReceivePacket(daemon), testing::EndsWith("]: 1 log records were dropped"));
  // Facility user (1) times 8 plus severity error (3).
  EXPECT_THAT(
      ReceivePacket(daemon),
      testing::MatchesRegex(
          "<11>[A-Z][a-z][a-z] [ 0-9][0-9] [0-9:]* kata-runtime\\[[0-9]+\\]: line break sandbox=\"s 1\""));
  daemon.Reset();
  ASSERT_EQ(unlink(path.c_str()), 0);
  daemon = BindDatagramSocket(path);
  Info("again");
  EXPECT_THAT(ReceivePacket(daemon), HasSubstr("]: again"));
}

TEST_F(SinkTest, SyslogSinkDoesNotBlockOnADaemonThatHangs) {
  ASSERT_OK_AND_ASSIGN(const TempDir dir, TempDir::Create());
  const UniqueFd daemon = BindDatagramSocket(dir.path() + "/log");
  AddSink(MakeSyslogSink("kata-runtime", dir.path() + "/log"));
  for (int i = 0; i < 5000; ++i) Info("message");  // far more than a datagram socket queues
  EXPECT_THAT(ReceivePacket(daemon), HasSubstr("message"));
}

TEST_F(SinkTest, LevelSinkHandsOnWhatIsGraveEnough) {
  std::vector<std::string> seen;
  AddSink(MakeLevelSink(Level::kWarning,
                        MakeCallbackSink([&](const Record& record) { seen.emplace_back(record.message); })));
  Info("info");
  Warning("warning");
  LogError("error");
  ClearSinks();
  EXPECT_THAT(seen, testing::ElementsAre("warning", "error"));
}

TEST_F(SinkTest, AStepIsToldOnceAtItsEndWithItsTime) {
  std::vector<std::string> seen;
  AddSink(MakeCallbackSink([&](const Record& record) {
    std::string line(record.message);
    for (const Field& field : record.fields) line += fmt::format(" {}={}", field.key, field.value);
    seen.push_back(line);
  }));
  const Level level = GetLevel();
  SetLevel(Level::kInfo);
  {
    const Step silent("silent");
  }
  SetLevel(Level::kDebug);
  {
    Step step("boot", {{"container", "c1"}});
    Step moved = std::move(step);
    EXPECT_TRUE(seen.empty());
    moved.End();
    EXPECT_EQ(seen.size(), 1u);
  }
  SetLevel(level);
  ClearSinks();
  EXPECT_THAT(seen,
              testing::ElementsAre(testing::MatchesRegex("boot container=c1 duration=[0-9]+\\.[0-9]ms")));
}

}  // namespace
}  // namespace kata::log
