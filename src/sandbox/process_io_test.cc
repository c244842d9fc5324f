#include "sandbox/process_io.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <termios.h>

#include <csignal>
#include <deque>
#include <future>
#include <optional>
#include <thread>

#include "base/file.h"
#include "linux/terminal.h"
#include "sandbox/stdio_fd.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::sandbox {
namespace {

using kata::test::IsErrorCode;
using testing::HasSubstr;

bool IsNonBlocking(int fd) {
  return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

// A process in the guest; loop thread. Its output is what the test puts in, its input is collected.
class FakeStreams : public GuestStreams {
 public:
  std::deque<Result<std::string>> stdout_data;
  std::deque<Result<std::string>> stderr_data;
  std::string input;
  bool input_closed = false;
  size_t accept_at_once = 1u << 20;  // bytes of each write
  bool stdin_broken = false;
  size_t stdout_reads = 0;

  explicit FakeStreams(EventLoop& loop) : loop_(loop) {}
  void ReadStdout(uint32_t, DataCallback callback) override {
    ++stdout_reads;
    Answer(stdout_data, std::move(callback));
  }
  void ReadStderr(uint32_t, DataCallback callback) override { Answer(stderr_data, std::move(callback)); }
  void WriteStdin(std::string data, SizeCallback callback) override {
    const size_t size = std::min(data.size(), accept_at_once);
    if (!stdin_broken) input += data.substr(0, size);
    loop_.Post([callback = std::move(callback), size, broken = stdin_broken]() mutable {
      callback(broken ? Result<size_t>(ErrnoError(EPIPE, "write")) : Result<size_t>(size));
    });
  }
  void CloseStdin(StatusCallback callback) override {
    input_closed = true;
    loop_.Post([callback = std::move(callback)]() mutable { callback({}); });
  }

 private:
  void Answer(std::deque<Result<std::string>>& data, DataCallback callback) {
    Result<std::string> next = data.empty() ? Result<std::string>(std::string()) : std::move(data.front());
    if (!data.empty()) data.pop_front();
    loop_.Post(
        [callback = std::move(callback), next = std::move(next)]() mutable { callback(std::move(next)); });
  }
  EventLoop& loop_;
};

class ProcessIoTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override { std::signal(SIGPIPE, SIG_IGN); }
  void TearDown() override {
    OnLoop([&] {
      io_.reset();
      watcher_.reset();
    });
  }

  template <typename F>
  void OnLoop(F function) {
    std::promise<void> done;
    thread_.loop().Post([&] {
      function();
      done.set_value();
    });
    done.get_future().wait();
  }

  void Start(Stdio stdio, std::chrono::milliseconds stall_time = ProcessIo::kStallTime) {
    OnLoop([&] {
      watcher_ = std::move(*FdWatcher::Create(thread_.loop()));
      io_ = std::make_unique<ProcessIo>(
          thread_.loop(), *watcher_, streams_, std::move(stdio),
          ProcessIo::Callbacks{.on_output_done = [this] { output_done_.set_value(); },
                               .on_output_stalled = [this] { output_stalled_.set_value(); }},
          stall_time);
      io_->StartOutput();
      io_->StartInput();
    });
  }

  static bool Happens(std::promise<void>& promise) {
    return promise.get_future().wait_for(std::chrono::seconds(60)) == std::future_status::ready;
  }
  template <typename F>
  bool Eventually(F condition) {
    const Deadline deadline = Deadline::After(std::chrono::seconds(60));
    for (;;) {
      bool holds = false;
      OnLoop([&] { holds = condition(); });
      if (holds || deadline.Passed()) return holds;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  // Closes what the pumps hold, so that readers see the end.
  void Finish() {
    OnLoop([&] { io_.reset(); });
  }

  EventLoopThread thread_;
  std::unique_ptr<FdWatcher> watcher_;
  std::shared_ptr<FakeStreams> streams_ = std::make_shared<FakeStreams>(thread_.loop());
  std::unique_ptr<ProcessIo> io_;
  std::promise<void> output_done_;
  std::promise<void> output_stalled_;
};

TEST_F(ProcessIoTest, OutputGoesToPipesWithoutTouchingTheirFlags) {
  PipeEnds out = *MakePipe(), err = *MakePipe();
  ASSERT_OK_AND_ASSIGN(const UniqueFd callers_own, out.write.Duplicate());
  streams_->stdout_data = {std::string("one "), std::string("two")};
  streams_->stderr_data = {std::string("error")};
  Start({.stdout_fd = std::move(out.write), .stderr_fd = std::move(err.write)});
  ASSERT_TRUE(Happens(output_done_));
  EXPECT_FALSE(IsNonBlocking(callers_own.get()));
  EXPECT_FALSE(IsNonBlocking(out.read.get()));
  Finish();
  EXPECT_EQ(*ReadFd(err.read.get()), "error");
  char buffer[16];
  ASSERT_EQ(read(out.read.get(), buffer, sizeof(buffer)), 7);
  EXPECT_EQ(std::string(buffer, 7), "one two");
}

TEST_F(ProcessIoTest, SlowReaderHoldsTheGuestBackAndLosesNothing) {
  PipeEnds out = *MakePipe();
  constexpr size_t kChunks = 64;
  for (size_t i = 0; i < kChunks; ++i) {
    streams_->stdout_data.emplace_back(std::string(ProcessIo::kChunkBytes, static_cast<char>('a' + i % 26)));
  }
  Start({.stdout_fd = std::move(out.write)}, std::chrono::milliseconds(50));
  ASSERT_TRUE(Happens(output_stalled_));
  OnLoop([&] { EXPECT_LT(streams_->stdout_reads, 8u); });
  std::string all;
  char buffer[4096];
  while (all.size() < kChunks * ProcessIo::kChunkBytes) {
    ASSERT_OK(WaitFd(out.read.get(), POLLIN, Deadline::After(std::chrono::seconds(60)), "output"));
    const ssize_t count = read(out.read.get(), buffer, sizeof(buffer));
    ASSERT_GT(count, 0);
    all.append(buffer, static_cast<size_t>(count));
  }
  ASSERT_TRUE(Happens(output_done_));
  for (size_t i = 0; i < kChunks; ++i) {
    ASSERT_EQ(all[i * ProcessIo::kChunkBytes], static_cast<char>('a' + i % 26));
    ASSERT_EQ(all[(i + 1) * ProcessIo::kChunkBytes - 1], static_cast<char>('a' + i % 26));
  }
}

TEST_F(ProcessIoTest, ClosedReaderDoesNotStopTheProcess) {
  PipeEnds out = *MakePipe();
  out.read.Reset();
  for (int i = 0; i < 10; ++i) streams_->stdout_data.emplace_back(std::string("lost"));
  Start({.stdout_fd = std::move(out.write)});
  EXPECT_TRUE(Happens(output_done_));
  OnLoop([&] { EXPECT_EQ(streams_->stdout_reads, 11u); });
}

TEST_F(ProcessIoTest, ReaderThatClosesInTheMiddle) {
  PipeEnds out = *MakePipe();
  for (int i = 0; i < 10; ++i) streams_->stdout_data.emplace_back(std::string(ProcessIo::kChunkBytes, 'x'));
  Start({.stdout_fd = std::move(out.write)}, std::chrono::milliseconds(20));
  ASSERT_TRUE(Happens(output_stalled_));
  out.read.Reset();
  EXPECT_TRUE(Happens(output_done_));
}

TEST_F(ProcessIoTest, OutputWithoutADescriptorIsThrownAway) {
  for (int i = 0; i < 10; ++i) streams_->stdout_data.emplace_back(std::string("x"));
  Start({});
  EXPECT_TRUE(Happens(output_done_));
  EXPECT_TRUE(Eventually([&] { return streams_->input_closed; }));
}

TEST_F(ProcessIoTest, SocketsAreUsedWithoutTouchingTheirFlags) {
  SocketPairEnds ends = *MakeSocketPair(SOCK_STREAM);
  ASSERT_OK_AND_ASSIGN(const UniqueFd callers_own, ends.first.Duplicate());
  ASSERT_OK_AND_ASSIGN(UniqueFd for_input, ends.first.Duplicate());
  const std::string large(400u << 10, 's');
  for (size_t i = 0; i < large.size(); i += ProcessIo::kChunkBytes) {
    streams_->stdout_data.emplace_back(large.substr(i, ProcessIo::kChunkBytes));
  }
  ASSERT_OK(WriteAll(ends.second.get(), "input"));
  ASSERT_EQ(shutdown(ends.second.get(), SHUT_WR), 0);
  Start({.stdin_fd = std::move(for_input), .stdout_fd = std::move(ends.first)});
  std::string all(large.size(), '\0');
  ASSERT_EQ(recv(ends.second.get(), all.data(), all.size(), MSG_WAITALL), static_cast<ssize_t>(all.size()));
  EXPECT_EQ(all, large);
  ASSERT_TRUE(Happens(output_done_));
  EXPECT_TRUE(Eventually([&] { return streams_->input_closed; }));
  EXPECT_EQ(streams_->input, "input");
  EXPECT_FALSE(IsNonBlocking(callers_own.get()));
}

TEST_F(ProcessIoTest, FilesKeepTheirOffset) {
  ASSERT_OK_AND_ASSIGN(const TempDir dir, TempDir::Create());
  const std::string path = dir.path() + "/out";
  ASSERT_OK_AND_ASSIGN(UniqueFd file, Open(path, O_RDWR | O_CREAT, 0600));
  ASSERT_OK(WriteAll(file.get(), "before "));
  ASSERT_OK_AND_ASSIGN(UniqueFd for_stderr, file.Duplicate());
  ASSERT_OK_AND_ASSIGN(const UniqueFd callers_own, file.Duplicate());
  streams_->stdout_data = {std::string("out")};
  streams_->stderr_data = {std::string("err")};
  Start({.stdout_fd = std::move(file), .stderr_fd = std::move(for_stderr)});
  ASSERT_TRUE(Happens(output_done_));
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
  EXPECT_TRUE(text == "before outerr" || text == "before errout") << text;
  EXPECT_FALSE(IsNonBlocking(callers_own.get()));
}

TEST_F(ProcessIoTest, DevNullIsAnEndOfInputAndTakesAllOutput) {
  ASSERT_OK_AND_ASSIGN(UniqueFd in, Open("/dev/null", O_RDONLY));
  ASSERT_OK_AND_ASSIGN(UniqueFd out, Open("/dev/null", O_WRONLY));
  for (int i = 0; i < 10; ++i) streams_->stdout_data.emplace_back(std::string(ProcessIo::kChunkBytes, 'x'));
  Start({.stdin_fd = std::move(in), .stdout_fd = std::move(out)});
  EXPECT_TRUE(Happens(output_done_));
  EXPECT_TRUE(Eventually([&] { return streams_->input_closed; }));
  EXPECT_EQ(streams_->input, "");
}

TEST_F(ProcessIoTest, InputGoesOnWhereTheProcessTookOnlyAPart) {
  PipeEnds in = *MakePipe();
  ASSERT_OK_AND_ASSIGN(const UniqueFd callers_own, in.read.Duplicate());
  streams_->accept_at_once = 1000;
  Start({.stdin_fd = std::move(in.read)});
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i);
  ASSERT_OK(WriteAll(in.write.get(), text));
  in.write.Reset();
  ASSERT_TRUE(Eventually([&] { return streams_->input_closed; }));
  EXPECT_EQ(streams_->input, text);
  EXPECT_FALSE(IsNonBlocking(callers_own.get()));
}

TEST_F(ProcessIoTest, WriterSeesThatTheProcessHasClosedItsStdin) {
  PipeEnds in = *MakePipe();
  streams_->stdin_broken = true;
  Start({.stdin_fd = std::move(in.read)});
  ASSERT_OK(WriteAll(in.write.get(), "x"));
  EXPECT_TRUE(Eventually([&] { return write(in.write.get(), "x", 1) < 0 && errno == EPIPE; }));
  EXPECT_FALSE(streams_->input_closed);
}

TEST_F(ProcessIoTest, CloseInputEndsStdinWhileTheCallerKeepsItOpen) {
  PipeEnds in = *MakePipe();
  Start({.stdin_fd = std::move(in.read)});
  ASSERT_OK(WriteAll(in.write.get(), "text"));
  ASSERT_TRUE(Eventually([&] { return streams_->input == "text"; }));
  OnLoop([&] { io_->CloseInput(); });
  EXPECT_TRUE(Eventually([&] { return streams_->input_closed; }));
}

TEST_F(ProcessIoTest, TerminalIsRawAndItsFlagsAreUntouched) {
  ASSERT_OK_AND_ASSIGN(linux::PtyPair pty, linux::OpenPty());
  ASSERT_OK_AND_ASSIGN(const UniqueFd callers_own, pty.slave.Duplicate());
  ASSERT_OK_AND_ASSIGN(UniqueFd for_input, pty.slave.Duplicate());
  streams_->stdout_data = {std::string("a\nb")};
  streams_->stderr_data = {std::string("never read")};
  Start({.terminal = true, .stdin_fd = std::move(for_input), .stdout_fd = std::move(pty.slave)});
  ASSERT_TRUE(Happens(output_done_));
  char buffer[16];
  ASSERT_EQ(read(pty.master.get(), buffer, sizeof(buffer)), 3);
  EXPECT_EQ(std::string(buffer, 3), "a\nb") << "the guest's terminal has made its line ends already";
  ASSERT_OK(WriteAll(pty.master.get(), "\x03"));
  EXPECT_TRUE(Eventually([&] { return streams_->input == "\x03"; })) << "Ctrl-C is for the guest's terminal";
  EXPECT_FALSE(IsNonBlocking(callers_own.get()));
}

TEST_F(ProcessIoTest, LastLineIsWrittenAfterTheGuestIsGone) {
  PipeEnds out = *MakePipe(), err = *MakePipe();
  streams_->stdout_data = {Result<std::string>(Error(Code::kUnavailable, "gone"))};
  streams_->stderr_data = {Result<std::string>(Error(Code::kUnavailable, "gone"))};
  Start({.stdout_fd = std::move(out.write), .stderr_fd = std::move(err.write)});
  ASSERT_TRUE(Happens(output_done_));
  OnLoop([&] { io_->WriteError("last words\n"); });
  Finish();
  EXPECT_EQ(*ReadFd(err.read.get()), "last words\n");
  EXPECT_EQ(*ReadFd(out.read.get()), "");
}

}  // namespace
}  // namespace kata::sandbox
