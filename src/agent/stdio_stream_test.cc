// Streams of processes: order, ends, back pressure.
#include "agent/stdio_stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "base/file.h"
#include "linux/terminal.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::IsErrorCode;

class StdioStreamTest : public test::LeakCheckedTest {
 protected:
  bool RunUntil(const std::function<bool()>& done) {
    const Deadline deadline = Deadline::After(seconds(30));
    while (!done() && !deadline.Passed()) loop_.context().run_for(milliseconds(10));
    return done();
  }
  // A read that is answered at some time.
  struct PendingRead {
    std::optional<Result<std::string>> result;
  };
  static std::shared_ptr<PendingRead> Read(OutputStream& stream, size_t max = 4096, uint64_t connection = 1) {
    auto read = std::make_shared<PendingRead>();
    stream.Read(max, connection, [read](Result<std::string> data) { read->result = std::move(data); });
    return read;
  }
  static void Put(const UniqueFd& fd, std::string_view text) {
    ASSERT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  // The stream and the end that the process would have.
  std::shared_ptr<OutputStream> MakeOutput(UniqueFd& writer) {
    Result<StdioEnds> ends = MakePipes(0);
    writer = std::move(ends->child_stdout);
    return std::make_shared<OutputStream>(loop_, std::move(ends->stdout_reader));
  }
  std::shared_ptr<InputStream> MakeInput(UniqueFd& reader) {
    Result<StdioEnds> ends = MakePipes(4096);
    reader = std::move(ends->child_stdin);
    return std::make_shared<InputStream>(loop_, std::move(ends->stdin_writer), false);
  }

  EventLoop loop_;
};

TEST_F(StdioStreamTest, AnswersReadsInOrderAsDataComes) {
  UniqueFd writer;
  const auto stream = MakeOutput(writer);
  const auto first = Read(*stream, 3);
  const auto second = Read(*stream);
  loop_.context().run_for(milliseconds(20));
  EXPECT_FALSE(first->result);
  Put(writer, "abcdef");
  ASSERT_TRUE(RunUntil([&] { return second->result.has_value(); }));
  EXPECT_EQ(first->result->value(), "abc");
  EXPECT_EQ(second->result->value(), "def");
}

TEST_F(StdioStreamTest, EndOfFileIsEmptyAndStays) {
  UniqueFd writer;
  const auto stream = MakeOutput(writer);
  Put(writer, "last");
  writer.Reset();
  const auto data = Read(*stream), end = Read(*stream), again = Read(*stream);
  ASSERT_TRUE(RunUntil([&] { return again->result.has_value(); }));
  EXPECT_EQ(data->result->value(), "last");
  EXPECT_EQ(end->result->value(), "");
  EXPECT_EQ(again->result->value(), "");
  EXPECT_TRUE(stream->finished());
}

TEST_F(StdioStreamTest, EndsSoonAfterTheProcessThoughAnotherHoldsThePipe) {
  UniqueFd writer;
  const auto stream = MakeOutput(writer);
  const auto waiting = Read(*stream);
  const auto start = std::chrono::steady_clock::now();
  stream->ProcessEnded();
  ASSERT_TRUE(RunUntil([&] { return waiting->result.has_value(); }));
  EXPECT_EQ(waiting->result->value(), "");
  EXPECT_GE(std::chrono::steady_clock::now() - start, OutputStream::kDrainTime - milliseconds(50));
}

TEST_F(StdioStreamTest, GivesASlowReaderAllThatWasWritten) {
  UniqueFd writer;
  const auto stream = MakeOutput(writer);
  Put(writer, std::string(60000, 'x'));
  stream->ProcessEnded();
  loop_.context().run_for(OutputStream::kDrainTime + milliseconds(100));
  size_t total = 0;
  for (int i = 0; i < 20 && !stream->finished(); ++i) {
    const auto read = Read(*stream, 10000);
    ASSERT_TRUE(RunUntil([&] { return read->result.has_value(); }));
    total += read->result->value().size();
  }
  EXPECT_EQ(total, 60000u);
  EXPECT_TRUE(stream->finished());
}

TEST_F(StdioStreamTest, GivesAllThatALargePipeHolds) {
  constexpr uint32_t kSize = 4u << 20;
  Result<StdioEnds> ends = MakePipes(kSize);
  if (!ends) GTEST_SKIP() << ends.error().message();
  const auto stream = std::make_shared<OutputStream>(loop_, std::move(ends->stdout_reader));
  const std::string text(3u << 20, 'x');
  Put(ends->child_stdout, text);
  stream->ProcessEnded();
  loop_.context().run_for(OutputStream::kDrainTime + milliseconds(100));
  size_t total = 0;
  while (!stream->finished()) {
    const auto read = Read(*stream, 100000);
    ASSERT_TRUE(RunUntil([&] { return read->result.has_value(); }));
    total += read->result->value().size();
  }
  EXPECT_EQ(total, text.size());
}

TEST_F(StdioStreamTest, ABackgroundWriterDoesNotKeepTheStreamOpen) {
  UniqueFd writer;
  const auto stream = MakeOutput(writer);
  ASSERT_OK(SetNonBlocking(writer.get(), true));
  stream->ProcessEnded();
  loop_.context().run_for(OutputStream::kDrainTime + milliseconds(100));
  size_t total = 0;
  const std::string chunk(60000, 'y');
  for (int i = 0; i < 1000 && !stream->finished(); ++i) {
    (void)!write(writer.get(), chunk.data(), chunk.size());
    const auto read = Read(*stream, chunk.size());
    ASSERT_TRUE(RunUntil([&] { return read->result.has_value(); }));
    total += read->result->value().size();
  }
  EXPECT_TRUE(stream->finished());
  EXPECT_LE(total, OutputStream::kMaxBytesAfterDrain + chunk.size());
}

TEST_F(StdioStreamTest, DropsReadsOfAConnectionThatIsGone) {
  UniqueFd writer;
  const auto stream = MakeOutput(writer);
  const auto gone = Read(*stream, 4096, 1);
  const auto there = Read(*stream, 4096, 2);
  stream->DropConnection(1);
  Put(writer, "data");
  ASSERT_TRUE(RunUntil([&] { return there->result.has_value(); }));
  EXPECT_EQ(there->result->value(), "data");
  EXPECT_FALSE(gone->result);
}

TEST_F(StdioStreamTest, RefusesSenselessReads) {
  UniqueFd writer;
  const auto stream = MakeOutput(writer);
  EXPECT_THAT(*Read(*stream, 0)->result, IsErrorCode(Code::kInvalidArgument));
  for (size_t i = 0; i < OutputStream::kMaxPendingReads; ++i) Read(*stream);
  EXPECT_THAT(*Read(*stream)->result, IsErrorCode(Code::kResourceExhausted));
}

TEST_F(StdioStreamTest, WriteWaitsForTheReaderAndHoldsOneWriteOnly) {
  UniqueFd reader;
  const auto stream = MakeInput(reader);
  std::optional<Result<size_t>> first, second;
  stream->Write(std::string(10000, 'a'), [&](Result<size_t> r) { first = std::move(r); });
  stream->Write("b", [&](Result<size_t> r) { second = std::move(r); });
  loop_.context().run_for(milliseconds(20));
  EXPECT_FALSE(first);
  ASSERT_TRUE(second);
  EXPECT_THAT(*second, IsErrorCode(Code::kResourceExhausted));
  stream->Close();  // takes effect behind the write
  std::string text;
  char buffer[4096];
  ASSERT_OK(SetNonBlocking(reader.get(), true));
  ASSERT_TRUE(RunUntil([&] {
    const ssize_t count = read(reader.get(), buffer, sizeof buffer);
    if (count > 0) text.append(buffer, static_cast<size_t>(count));
    return count == 0;
  }));
  EXPECT_EQ(text.size(), 10000u);
  EXPECT_EQ(first->value(), 10000u);
  std::optional<Result<size_t>> late;
  stream->Write("c", [&](Result<size_t> r) { late = std::move(r); });
  EXPECT_THAT(*late, IsErrorCode(Code::kFailedPrecondition));
}

TEST_F(StdioStreamTest, WriteToAClosedPipeAndToAProcessThatEnded) {
  UniqueFd reader;
  const auto broken = MakeInput(reader);
  reader.Reset();
  std::optional<Result<size_t>> result;
  broken->Write("x", [&](Result<size_t> r) { result = std::move(r); });
  EXPECT_EQ(result->error().sys_errno(), EPIPE);

  const auto full = MakeInput(reader);
  std::optional<Result<size_t>> pending;
  full->Write(std::string(100000, 'x'), [&](Result<size_t> r) { pending = std::move(r); });
  EXPECT_FALSE(pending);
  full->Abandon();
  EXPECT_THAT(*pending, IsErrorCode(Code::kFailedPrecondition));
}

TEST_F(StdioStreamTest, TerminalEndsWithTheLastUser) {
  ASSERT_OK_AND_ASSIGN(linux::PtyPair pty, linux::OpenPty());
  ASSERT_OK_AND_ASSIGN(StdioEnds ends, TerminalEnds(std::move(pty.master)));
  const auto stream = std::make_shared<OutputStream>(loop_, std::move(ends.terminal));
  Put(pty.slave, "hi\n");
  const auto data = Read(*stream), end = Read(*stream);
  ASSERT_TRUE(RunUntil([&] { return data->result.has_value(); }));
  EXPECT_EQ(data->result->value(), "hi\r\n");
  EXPECT_FALSE(end->result);
  pty.slave.Reset();
  stream->ProcessEnded();
  ASSERT_TRUE(RunUntil([&] { return end->result.has_value(); }));
  EXPECT_EQ(end->result->value(), "");
}

TEST_F(StdioStreamTest, TerminalStaysWhileTheProcessMayOpenItAgain) {
  ASSERT_OK_AND_ASSIGN(linux::PtyPair pty, linux::OpenPty());
  std::array<char, 64> name{};
  ASSERT_EQ(ttyname_r(pty.slave.get(), name.data(), name.size()), 0);
  ASSERT_OK_AND_ASSIGN(StdioEnds ends, TerminalEnds(std::move(pty.master)));
  const auto stream = std::make_shared<OutputStream>(loop_, std::move(ends.terminal));
  Put(pty.slave, "early\n");
  const auto early = Read(*stream), late = Read(*stream);
  pty.slave.Reset();
  // What was written before is there all the same.
  ASSERT_TRUE(RunUntil([&] { return early->result.has_value(); }));
  EXPECT_EQ(early->result->value(), "early\r\n");
  loop_.context().run_for(milliseconds(50));
  EXPECT_FALSE(late->result);
  ASSERT_OK_AND_ASSIGN(UniqueFd again, Open(name.data(), O_WRONLY | O_NOCTTY));
  Put(again, "late\n");
  ASSERT_TRUE(RunUntil([&] { return late->result.has_value(); }));
  EXPECT_EQ(late->result->value(), "late\r\n");
  again.Reset();
  const auto end = Read(*stream);
  loop_.context().run_for(milliseconds(300));
  EXPECT_FALSE(end->result);
  stream->ProcessEnded();
  ASSERT_TRUE(RunUntil([&] { return end->result.has_value(); }));
  EXPECT_EQ(end->result->value(), "");
}

}  // namespace
}  // namespace kata::agent
