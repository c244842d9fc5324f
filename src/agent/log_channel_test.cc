// Log records as JSON lines that never block.
#include "agent/log_channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <csignal>

#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class LogChannelTest : public test::LeakCheckedTest {
 protected:
  static std::string Format(log::Level level, std::string_view message, std::vector<log::Field> fields) {
    return FormatAgentRecord({std::chrono::system_clock::time_point(), level, message, fields});
  }
  static std::string ReadAvailable(int fd) {
    std::string text(1u << 20, '\0');
    const ssize_t count = read(fd, text.data(), text.size());
    text.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return text;
  }
};

TEST_F(LogChannelTest, FormatsTheContractsMembers) {
  const std::string line = Format(log::Level::kWarning, "disk \"a\" is full", {{"container", "c1"}});
  EXPECT_THAT(line, StartsWith(R"({"msg":"disk \"a\" is full","level":"WARN","ts":"1970-01-01T00:00:00)"));
  EXPECT_THAT(line, HasSubstr(R"("subsystem":"agent")"));
  EXPECT_THAT(line, HasSubstr(R"("source":"agent","name":"kata-agent")"));
  EXPECT_THAT(line, EndsWith("\"container\":\"c1\"}\n"));
}

TEST_F(LogChannelTest, AFieldReplacesTheStandardMemberOfItsName) {
  const std::string line = Format(log::Level::kInfo, "m", {{"subsystem", "storage"}});
  EXPECT_THAT(line, HasSubstr(R"("subsystem":"storage")"));
  EXPECT_THAT(line, Not(HasSubstr(R"("subsystem":"agent")")));
}

TEST_F(LogChannelTest, KeepsLinesUntilADescriptorIsAttached) {
  LogStream stream;
  stream.WriteLine("one\n");
  stream.WriteLine("two\n");
  ASSERT_OK_AND_ASSIGN(PipeEnds pipe, MakePipe(O_NONBLOCK));
  stream.Attach(std::move(pipe.write));
  EXPECT_EQ(ReadAvailable(pipe.read.get()), "one\ntwo\n");
}

TEST_F(LogChannelTest, DropsAndCountsWhenNobodyReads) {
  LogStream stream;
  ASSERT_OK_AND_ASSIGN(PipeEnds pipe, MakePipe(O_NONBLOCK));
  stream.Attach(std::move(pipe.write));
  const std::string line = std::string(999, 'x') + "\n";
  for (int i = 0; i < 300; ++i) stream.WriteLine(line);  // a pipe and the backlog hold 64 KiB each
  EXPECT_GT(stream.dropped(), 100u);
  std::string text;
  for (std::string part; !(part = ReadAvailable(pipe.read.get())).empty();) {
    text += part;
    stream.WriteLine("later\n");
    if (text.contains("later\n")) break;
  }
  EXPECT_THAT(text, StartsWith(line));
  EXPECT_THAT(text, HasSubstr("log records were dropped"));
  EXPECT_THAT(text, HasSubstr(fmt::format("\"count\":\"{}\"", stream.dropped())));
  // No line was cut.
  for (size_t start = 0; start < text.size(); start = text.find('\n', start) + 1) {
    const std::string_view rest = std::string_view(text).substr(start);
    EXPECT_TRUE(rest.starts_with(line) || rest.starts_with("{") || rest.starts_with("later\n"))
        << rest.substr(0, 80);
  }
}

TEST_F(LogChannelTest, SurvivesAReaderThatGoes) {
  signal(SIGPIPE, SIG_IGN);  // as the agent does
  LogStream stream;
  ASSERT_OK_AND_ASSIGN(SocketPairEnds first, MakeSocketPair(SOCK_STREAM));
  ASSERT_OK(SetNonBlocking(first.first.get(), true));
  stream.Attach(std::move(first.first));
  first.second.Reset();
  stream.WriteLine("kept\n");
  ASSERT_OK_AND_ASSIGN(PipeEnds pipe, MakePipe(O_NONBLOCK));
  stream.Attach(std::move(pipe.write));
  EXPECT_EQ(ReadAvailable(pipe.read.get()), "kept\n");
}

}  // namespace
}  // namespace kata::agent
