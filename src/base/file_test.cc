#include "base/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope_exit.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;

class FileTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override { ASSERT_OK_AND_ASSIGN(dir_, TempDir::Create()); }
  std::string Path(const std::string& name) const { return dir_->path() + "/" + name; }

  std::optional<TempDir> dir_;
};

TEST_F(FileTest, OpenSetsCloseOnExecAndNamesThePath) {
  ASSERT_OK_AND_ASSIGN(const UniqueFd fd, Open(Path("a"), O_WRONLY | O_CREAT, 0600));
  EXPECT_EQ(fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_THAT(Open("/nonexistent", O_RDONLY),
              IsError(Code::kNotFound, "open '/nonexistent': No such file or directory"));
}

TEST_F(FileTest, ReadFileHoldsItsLimit) {
  ASSERT_OK(WriteFileAtomic(Path("a"), std::string(100000, 'x')));
  EXPECT_EQ(ReadFile(Path("a")).value_or("").size(), 100000u);
  EXPECT_EQ(ReadFile(Path("a"), 100000).value_or("").size(), 100000u);
  EXPECT_THAT(ReadFile(Path("a"), 99999), IsErrorCode(Code::kResourceExhausted));
  EXPECT_THAT(ReadFile("/dev/zero"), IsError(Code::kResourceExhausted, HasSubstr("'/dev/zero'")));
  EXPECT_THAT(ReadFile(Path("none")), IsErrorCode(Code::kNotFound));
  EXPECT_NE(ReadFile("/proc/self/stat").value_or(""), "");
}

TEST_F(FileTest, WriteKnobWritesIntoAnExistingFileOnly) {
  EXPECT_THAT(WriteKnob(Path("knob"), "1"), IsErrorCode(Code::kNotFound));
  ASSERT_OK(WriteFileAtomic(Path("knob"), ""));
  ASSERT_OK(WriteKnob(Path("knob"), "1"));
  EXPECT_EQ(ReadFile(Path("knob")).value_or(""), "1");
  EXPECT_THAT(WriteKnob("/dev/full", "50000\n"),
              IsError(Code::kResourceExhausted, "write '50000' to '/dev/full': No space left on device"));
  ASSERT_OK_AND_ASSIGN(const UniqueFd dir, Open(dir_->path(), O_PATH | O_DIRECTORY));
  ASSERT_OK(WriteKnobAt(dir.get(), "knob", "2"));
  EXPECT_EQ(ReadFile(Path("knob")).value_or(""), "2");
}

TEST_F(FileTest, WriteFileAtomicReplacesWithTheModeAsked) {
  const mode_t old_umask = umask(0077);
  const ScopeExit restore([&] { umask(old_umask); });
  ASSERT_OK(WriteFileAtomic(Path("a"), "first", 0600));
  ASSERT_OK_AND_ASSIGN(const UniqueFd reader, Open(Path("a"), O_RDONLY));
  ASSERT_OK(WriteFileAtomic(Path("a"), "second", 0644));
  EXPECT_EQ(ReadFd(reader.get()).value_or(""), "first");
  EXPECT_EQ(ReadFile(Path("a")).value_or(""), "second");
  struct stat info;
  ASSERT_EQ(stat(Path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0644u);
  EXPECT_THAT(ListDirectory(dir_->path()).value(), ElementsAre("a"));
}

TEST_F(FileTest, WriteFileAtomicTakesNoFileOfOthers) {
  // What another user of the directory may have put there, and has open.
  const std::string temporary = fmt::format("{}.tmp-{}", Path("a"), getpid());
  ASSERT_OK(WriteFileAtomic(Path("theirs"), "", 0666));
  ASSERT_EQ(link(Path("theirs").c_str(), temporary.c_str()), 0);
  ASSERT_OK(WriteFileAtomic(Path("a"), "1", 0644));
  EXPECT_EQ(ReadFile(Path("theirs")).value_or("x"), "");
  EXPECT_EQ(ReadFile(Path("a")).value_or(""), "1");
}

TEST_F(FileTest, ReadingWhatComesHasADeadline) {
  ASSERT_OK_AND_ASSIGN(PipeEnds pipe, MakePipe());
  ASSERT_OK(WriteAll(pipe.write.get(), "so far"));
  EXPECT_THAT(ReadFd(pipe.read.get(), 100, Deadline::After(std::chrono::milliseconds(20)), "the end"),
              IsError(Code::kDeadlineExceeded, HasSubstr("wait for the end")));
  ASSERT_OK(WriteAll(pipe.write.get(), "all"));
  pipe.write.Reset();
  EXPECT_EQ(ReadFd(pipe.read.get(), 100, Deadline::After(std::chrono::seconds(10)), "the end").value_or(""),
            "all");
}

TEST_F(FileTest, ReadAvailableTakesWhatIsThere) {
  ASSERT_OK_AND_ASSIGN(PipeEnds pipe, MakePipe());
  std::string data = "of before";
  ASSERT_OK(SetNonBlocking(pipe.read.get(), true));
  EXPECT_EQ(ReadAvailable(pipe.read.get(), 100, data), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(data, "");

  ASSERT_OK(WriteAll(pipe.write.get(), "a line and more"));
  EXPECT_EQ(ReadAvailable(pipe.read.get(), 6, data), 6);
  EXPECT_EQ(data, "a line");
  EXPECT_EQ(ReadAvailable(pipe.read.get(), 100, data), 9);
  EXPECT_EQ(data, " and more");

  pipe.write.Reset();
  EXPECT_EQ(ReadAvailable(pipe.read.get(), 100, data), 0);
  EXPECT_EQ(data, "");
}

TEST_F(FileTest, WriteFileAtomicLeavesTheOldContentOnFailure) {
  ASSERT_EQ(mkdir(Path("d").c_str(), 0755), 0);
  ASSERT_OK(WriteFileAtomic(Path("d/a"), "content"));
  EXPECT_THAT(WriteFileAtomic(Path("d"), "x"), IsError(Code::kInvalidArgument, HasSubstr(Path("d"))));
  EXPECT_THAT(ListDirectory(dir_->path()).value(), ElementsAre("d"));

  // A file system that is full.
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  struct sigaction ignore{}, old_action;
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &ignore, &old_action);
  const rlimit small{3, old_limit.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const Status status = WriteFileAtomic(Path("d/a"), "longer content");
  setrlimit(RLIMIT_FSIZE, &old_limit);
  sigaction(SIGXFSZ, &old_action, nullptr);
  EXPECT_THAT(status, IsErrorCode(Code::kInternal));
  EXPECT_EQ(ReadFile(Path("d/a")).value_or(""), "content");
  EXPECT_THAT(ListDirectory(Path("d")).value(), ElementsAre("a"));
}

TEST_F(FileTest, MakeDirectoriesIsMkdirP) {
  ASSERT_OK(MakeDirectories(Path("a/b//c/")));
  EXPECT_TRUE(PathExists(Path("a/b/c")));
  ASSERT_OK(MakeDirectories(Path("a/b/c")));
  ASSERT_OK(WriteFileAtomic(Path("file"), ""));
  EXPECT_THAT(MakeDirectories(Path("file/x")), IsError(Code::kInvalidArgument, HasSubstr("Not a directory")));
  EXPECT_THAT(MakeDirectories(""), IsErrorCode(Code::kNotFound));
  EXPECT_THAT(MakeDirectories("/proc/kata/x"), IsError(Code::kNotFound, HasSubstr("'/proc/kata'")));
}

TEST_F(FileTest, RemoveTreeRemovesEverything) {
  ASSERT_OK(MakeDirectories(Path("t/a/b")));
  ASSERT_OK(MakeDirectories(Path("t/c"), 0700));
  ASSERT_OK(WriteFileAtomic(Path("t/a/file"), "x", 0));
  ASSERT_EQ(mkfifo(Path("t/a/b/fifo").c_str(), 0600), 0);
  for (int i = 0; i < 300; ++i) ASSERT_OK(WriteFileAtomic(Path("t/c/" + std::to_string(i)), ""));
  ASSERT_OK(RemoveTree(Path("t/")));
  EXPECT_FALSE(PathExists(Path("t")));
  ASSERT_OK(RemoveTree(Path("t")));
  ASSERT_OK(WriteFileAtomic(Path("single"), ""));
  ASSERT_OK(RemoveTree(Path("single")));
  EXPECT_FALSE(PathExists(Path("single")));
}

TEST_F(FileTest, RemoveTreeDoesNotFollowSymbolicLinks) {
  ASSERT_OK(MakeDirectories(Path("outside")));
  ASSERT_OK(WriteFileAtomic(Path("outside/keep"), ""));
  ASSERT_OK(MakeDirectories(Path("t")));
  ASSERT_EQ(symlink(Path("outside").c_str(), Path("t/link").c_str()), 0);
  ASSERT_EQ(symlink("/nonexistent", Path("t/dangling").c_str()), 0);
  ASSERT_OK(RemoveTree(Path("t")));
  EXPECT_FALSE(PathExists(Path("t")));
  ASSERT_EQ(symlink(Path("outside").c_str(), Path("link").c_str()), 0);
  ASSERT_OK(RemoveTree(Path("link/")));
  EXPECT_THAT(ListDirectory(dir_->path()).value(), ElementsAre("outside"));
  EXPECT_TRUE(PathExists(Path("outside/keep")));
}

TEST_F(FileTest, RemoveTreeDoesNotEnterMountPoints) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_OK(MakeDirectories(Path("volume")));
  ASSERT_OK(WriteFileAtomic(Path("volume/keep"), ""));
  ASSERT_OK(MakeDirectories(Path("t/a/mnt")));
  ASSERT_OK(WriteFileAtomic(Path("t/z"), ""));
  // A bind mount has the device number of the tree that it is in.
  ASSERT_EQ(mount(Path("volume").c_str(), Path("t/a/mnt").c_str(), nullptr, MS_BIND, nullptr), 0);
  const Status below = RemoveTree(Path("t"));
  const Status at_top = RemoveTree(Path("t/a/mnt"));
  EXPECT_EQ(umount2(Path("t/a/mnt").c_str(), MNT_DETACH), 0);
  EXPECT_THAT(below, IsError(testing::_, HasSubstr("/t/a/mnt'")));
  EXPECT_THAT(at_top, testing::Not(test::IsOk()));
  EXPECT_TRUE(PathExists(Path("volume/keep")));
  EXPECT_FALSE(PathExists(Path("t/z")));  // the rest is gone
  ASSERT_OK(RemoveTree(Path("t")));
}

TEST_F(FileTest, RemoveTreeGoesDeeperThanDescriptorsReach) {
  // One descriptor a level would need more than the limit allows.
  UniqueFd level;
  ASSERT_OK(MakeDirectories(Path("t")));
  level = Open(Path("t"), O_RDONLY | O_DIRECTORY).value_or(UniqueFd());
  for (int i = 0; i < 500; ++i) {
    ASSERT_EQ(mkdirat(level.get(), "d", 0755), 0);
    ASSERT_OK_AND_ASSIGN(level, OpenAt(level.get(), "d", O_RDONLY | O_DIRECTORY));
  }
  level.Reset();
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old_limit), 0);
  const rlimit few{100, old_limit.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  const Status status = RemoveTree(Path("t"));
  setrlimit(RLIMIT_NOFILE, &old_limit);
  EXPECT_OK(status);
  EXPECT_FALSE(PathExists(Path("t")));
}

TEST_F(FileTest, ListDirectoryIsSorted) {
  for (const char* name : {"b", "c", ".a"}) ASSERT_OK(WriteFileAtomic(Path(name), ""));
  EXPECT_THAT(ListDirectory(dir_->path()).value(), ElementsAre(".a", "b", "c"));
  EXPECT_THAT(ListDirectory(Path("none")), IsErrorCode(Code::kNotFound));
}

TEST_F(FileTest, WaitFdWaitsForEventOrDeadline) {
  ASSERT_OK_AND_ASSIGN(PipeEnds pipe, MakePipe());
  EXPECT_THAT(WaitFd(pipe.read.get(), POLLIN, Deadline::After(20ms), "the answer"),
              IsError(Code::kDeadlineExceeded, "wait for the answer: deadline exceeded"));
  ASSERT_OK(WriteAll(pipe.write.get(), "x"));
  EXPECT_OK(WaitFd(pipe.read.get(), POLLIN, Deadline::After(30s), "the answer"));
  pipe.read.Reset();
  EXPECT_OK(WaitFd(pipe.write.get(), POLLIN, Deadline::After(30s), "the hangup"));
  EXPECT_THAT(WaitFd(999, POLLIN, Deadline::After(30s), "nothing"), IsErrorCode(Code::kInternal));
}

TEST_F(FileTest, TempDirRemovesItselfOnce) {
  std::string path;
  {
    ASSERT_OK_AND_ASSIGN(TempDir temp, TempDir::Create("kata-test-"));
    path = temp.path();
    EXPECT_THAT(path, HasSubstr("/kata-test-"));
    ASSERT_OK(WriteFileAtomic(path + "/a", ""));
    const TempDir moved = std::move(temp);
    EXPECT_TRUE(PathExists(path));
  }
  EXPECT_FALSE(PathExists(path));
}

}  // namespace
}  // namespace kata
