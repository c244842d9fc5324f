#include "sandbox/state_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "base/file.h"
#include "base/process.h"
#include "sandbox/removal.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::sandbox {
namespace {

using kata::test::IsError;
using kata::test::IsErrorCode;
using testing::ElementsAre;
using testing::HasSubstr;

class StateDirectoryTest : public kata::test::LeakCheckedTest {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(TempDir dir, TempDir::Create());
    dir_.emplace(std::move(dir));
  }
  std::string root() const { return dir_->path() + "/root"; }
  std::optional<TempDir> dir_;
};

ContainerState ExampleState() {
  ContainerState state;
  state.oci_version = "1.2.0";
  state.id = "c1";
  state.sandbox_id = "c1";
  state.bundle = "/bundle with \"quotes\"\n";
  state.rootfs = "/bundle/rootfs";
  state.created = "2026-01-02T03:04:05.000000006Z";
  state.owner = "root";
  state.status = "stopped";
  state.error = "the virtual machine ended";
  state.exit_code = 255;
  state.creator = {10, 1010};
  state.shim = {11, 1111};
  state.server = {12, 1u << 31};
  state.vmm = {13, 0xffffffffffffffffull};
  state.annotations = {{"a.b/c", "d"}, {"", ""}};
  state.cgroups = {{"memory", "/sys/fs/cgroup/memory/c1"}};
  state.systemd_unit = "docker-c1.scope";
  return state;
}

TEST_F(StateDirectoryTest, IdsThatAreNoNamesAreRefusedBeforeAnythingIsMade) {
  for (const char* id : {"", ".", "..", "a/b", "/a", "../a", "a\nb", "a b", "\xff"}) {
    EXPECT_THAT(StateDirectory::Create(root(), id), IsErrorCode(Code::kInvalidArgument)) << id;
    EXPECT_THAT(StateDirectory::Open(root(), id), IsErrorCode(Code::kInvalidArgument)) << id;
  }
  EXPECT_THAT(StateDirectory::Create(root(), std::string("a\0b", 3)), IsErrorCode(Code::kInvalidArgument));
  EXPECT_THAT(StateDirectory::Create(root(), std::string(256, 'a')), IsErrorCode(Code::kInvalidArgument));
  EXPECT_FALSE(PathExists(root()));
  EXPECT_OK(StateDirectory::Create(root(), std::string(255, 'a')));
}

TEST_F(StateDirectoryTest, CreateIsExclusiveAndPrivate) {
  ASSERT_OK_AND_ASSIGN(const StateDirectory directory, StateDirectory::Create(root(), "c1"));
  struct stat info{};
  ASSERT_EQ(stat(directory.path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  EXPECT_THAT(StateDirectory::Create(root(), "c1"),
              IsError(Code::kAlreadyExists, "container with given ID already exists"));
  EXPECT_OK(directory.Remove());
  EXPECT_OK(directory.Remove());
  EXPECT_OK(StateDirectory::Create(root(), "c1"));
}

TEST_F(StateDirectoryTest, ALaterDirectoryOfTheSameIdIsAnother) {
  ASSERT_OK_AND_ASSIGN(const StateDirectory directory, StateDirectory::Create(root(), "c1"));
  ASSERT_OK_AND_ASSIGN(const StateDirectory opened, StateDirectory::Open(root(), "c1"));
  EXPECT_TRUE(directory.IsCurrent());
  EXPECT_TRUE(opened.IsCurrent());
  ASSERT_OK(directory.Remove());
  EXPECT_FALSE(opened.IsCurrent());
  ASSERT_OK_AND_ASSIGN(const StateDirectory later, StateDirectory::Create(root(), "c1"));
  EXPECT_FALSE(directory.IsCurrent());
  ASSERT_OK(RemoveTraces(directory));
  EXPECT_TRUE(later.IsCurrent());
}

TEST_F(StateDirectoryTest, WhoHoldsADirectoryHasNothingToDoWithALaterOne) {
  ASSERT_OK_AND_ASSIGN(const StateDirectory directory, StateDirectory::Create(root(), "c1"));
  ASSERT_OK(directory.Remove());
  ASSERT_OK_AND_ASSIGN(const StateDirectory later, StateDirectory::Create(root(), "c1"));
  ASSERT_OK(later.WriteState(ExampleState()));
  ASSERT_OK(later.WriteHooks({.poststop = {{.path = "/bin/a"}}}));
  ASSERT_OK_AND_ASSIGN(const UniqueFd task, later.ListenTask());

  ContainerState state = ExampleState();
  state.bundle = "/bundle of the first";
  EXPECT_THAT(directory.WriteState(state), IsErrorCode(Code::kNotFound));
  EXPECT_THAT(directory.WriteHooks({}), IsErrorCode(Code::kNotFound));
  EXPECT_THAT(directory.ReadState(), IsError(Code::kNotFound, HasSubstr("c1/state.json")));
  ASSERT_OK_AND_ASSIGN(const oci::Hooks hooks, directory.ReadHooks());
  EXPECT_TRUE(hooks.poststop.empty());
  EXPECT_THAT(directory.ConnectTask(), IsErrorCode(Code::kUnavailable));
  EXPECT_THAT(directory.ListenAttach(), IsErrorCode(Code::kNotFound));
  EXPECT_OK(directory.Remove());

  EXPECT_OK(later.ConnectTask());
  ASSERT_OK_AND_ASSIGN(const ContainerState read, later.ReadState());
  EXPECT_EQ(read.bundle, ExampleState().bundle);
}

TEST_F(StateDirectoryTest, OfManyThatCreateTheSameIdOneWins) {
  std::atomic<int> winners = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      if (StateDirectory::Create(root(), "same")) ++winners;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(winners, 1);
}

TEST_F(StateDirectoryTest, UnknownContainerDoesNotExist) {
  EXPECT_THAT(StateDirectory::Open(root(), "c1"), IsError(Code::kNotFound, "container does not exist"));
  ASSERT_OK(MakeDirectories(root()));
  ASSERT_OK(WriteFileAtomic(root() + "/file", "not a directory"));
  EXPECT_THAT(StateDirectory::Open(root(), "file"), IsErrorCode(Code::kNotFound));
}

TEST_F(StateDirectoryTest, ListNamesContainersOnly) {
  ASSERT_OK_AND_ASSIGN(std::vector<std::string> ids, StateDirectory::List(root()));
  EXPECT_THAT(ids, ElementsAre());
  ASSERT_OK(StateDirectory::Create(root(), "b"));
  ASSERT_OK(StateDirectory::Create(root(), "a"));
  ASSERT_OK(WriteFileAtomic(root() + "/file", ""));
  ASSERT_OK_AND_ASSIGN(ids, StateDirectory::List(root()));
  EXPECT_THAT(ids, ElementsAre("a", "b"));
}

TEST_F(StateDirectoryTest, StateIsReadAsItWasWritten) {
  ASSERT_OK_AND_ASSIGN(const StateDirectory directory, StateDirectory::Create(root(), "c1"));
  EXPECT_THAT(directory.ReadState(), IsErrorCode(Code::kNotFound));
  const ContainerState state = ExampleState();
  ASSERT_OK(directory.WriteState(state));
  ASSERT_OK_AND_ASSIGN(const ContainerState read, directory.ReadState());
  EXPECT_EQ(read.oci_version, state.oci_version);
  EXPECT_EQ(read.id, state.id);
  EXPECT_EQ(read.sandbox_id, state.sandbox_id);
  EXPECT_EQ(read.bundle, state.bundle);
  EXPECT_EQ(read.rootfs, state.rootfs);
  EXPECT_EQ(read.created, state.created);
  EXPECT_EQ(read.owner, state.owner);
  EXPECT_EQ(read.status, state.status);
  EXPECT_EQ(read.error, state.error);
  EXPECT_EQ(read.exit_code, state.exit_code);
  EXPECT_EQ(read.creator.pid, state.creator.pid);
  EXPECT_EQ(read.creator.start_time, state.creator.start_time);
  EXPECT_EQ(read.shim.pid, state.shim.pid);
  EXPECT_EQ(read.shim.start_time, state.shim.start_time);
  EXPECT_EQ(read.server.start_time, state.server.start_time);
  EXPECT_EQ(read.vmm.start_time, state.vmm.start_time);
  EXPECT_EQ(read.annotations, state.annotations);
  EXPECT_EQ(read.cgroups, state.cgroups);
  EXPECT_EQ(read.systemd_unit, state.systemd_unit);
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> files, ListDirectory(directory.path()));
  EXPECT_THAT(files, ElementsAre("state.json"));
}

TEST_F(StateDirectoryTest, HooksAreReadAsTheyWereWritten) {
  ASSERT_OK_AND_ASSIGN(const StateDirectory directory, StateDirectory::Create(root(), "c1"));
  ASSERT_OK_AND_ASSIGN(oci::Hooks hooks, directory.ReadHooks());
  EXPECT_TRUE(hooks.poststop.empty());
  ASSERT_OK(directory.WriteHooks({.poststop = {{.path = "/bin/a"}}}));
  ASSERT_OK_AND_ASSIGN(hooks, directory.ReadHooks());
  ASSERT_EQ(hooks.poststop.size(), 1u);
  EXPECT_EQ(hooks.poststop[0].path, "/bin/a");
}

TEST_F(StateDirectoryTest, BytesThatAreNotUtf8DoNotMakeTheStateUnwritable) {
  ASSERT_OK_AND_ASSIGN(const StateDirectory directory, StateDirectory::Create(root(), "c1"));
  ContainerState state = ExampleState();
  state.bundle = "/\xff";
  EXPECT_OK(directory.WriteState(state));
  EXPECT_OK(directory.ReadState());
}

TEST_F(StateDirectoryTest, ReaderNeverSeesAPartOfAState) {
  ASSERT_OK_AND_ASSIGN(const StateDirectory directory, StateDirectory::Create(root(), "c1"));
  ContainerState state = ExampleState();
  ASSERT_OK(directory.WriteState(state));
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (int i = 0; i < 300; ++i) {
      state.error = std::string(static_cast<size_t>(i) * 50, 'e');
      EXPECT_OK(directory.WriteState(state));
    }
    stop = true;
  });
  while (!stop) EXPECT_OK(directory.ReadState());
  writer.join();
}

TEST_F(StateDirectoryTest, BrokenStateIsAnErrorThatNamesTheFile) {
  ASSERT_OK_AND_ASSIGN(const StateDirectory directory, StateDirectory::Create(root(), "c1"));
  for (const char* text : {"", "{", "[]", "{\"id\": 3}", "null"}) {
    ASSERT_OK(WriteFileAtomic(directory.path() + "/state.json", text));
    EXPECT_THAT(directory.ReadState(), IsError(Code::kDataLoss, HasSubstr("c1/state.json"))) << text;
  }
}

TEST_F(StateDirectoryTest, TheStateOfAnEarlierVersionIsRead) {
  ASSERT_OK_AND_ASSIGN(const StateDirectory directory, StateDirectory::Create(root(), "c1"));
  ASSERT_OK(directory.WriteState(ExampleState()));
  ASSERT_OK_AND_ASSIGN(std::string text, ReadFile(directory.path() + "/state.json"));
  const size_t begin = text.find("\"creator\"");
  ASSERT_NE(begin, std::string::npos);
  text.erase(begin, text.find("},", begin) + 2 - begin);
  ASSERT_OK(WriteFileAtomic(directory.path() + "/state.json", text));
  ASSERT_OK_AND_ASSIGN(const ContainerState state, directory.ReadState());
  EXPECT_EQ(state.creator.pid, 0);
  EXPECT_EQ(state.shim.pid, 11);
}

TEST_F(StateDirectoryTest, SocketsWorkBelowRootsLongerThanASocketAddress) {
  const std::string long_root = root() + "/" + std::string(100, 'x') + "/" + std::string(100, 'y');
  ASSERT_OK_AND_ASSIGN(const StateDirectory directory,
                       StateDirectory::Create(long_root, std::string(64, 'c')));
  EXPECT_THAT(directory.ConnectTask(), IsErrorCode(Code::kUnavailable));
  {
    ASSERT_OK_AND_ASSIGN(const UniqueFd task, directory.ListenTask());
    ASSERT_OK_AND_ASSIGN(const UniqueFd attach, directory.ListenAttach());
    EXPECT_OK(directory.ConnectTask());
    EXPECT_OK(directory.ConnectAttach());
    struct stat info{};
    ASSERT_EQ(stat((directory.path() + "/task.sock").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
  }
  // The file is there still, but nobody listens.
  EXPECT_THAT(directory.ConnectTask(), IsErrorCode(Code::kUnavailable));
  EXPECT_OK(directory.Remove());
  EXPECT_FALSE(PathExists(directory.path()));
}

TEST(IsAlive, TellsProcessesFromTheirPids) {
  ASSERT_OK_AND_ASSIGN(const unsigned long long start_time, ProcessStartTime(getpid()));
  EXPECT_TRUE(IsAlive({getpid(), start_time}));
  EXPECT_FALSE(IsAlive({getpid(), start_time + 1}));
  EXPECT_FALSE(IsAlive({0, 0}));
  EXPECT_FALSE(IsAlive({-1, 0}));

  ASSERT_OK_AND_ASSIGN(ChildProcess child, Spawn(Command{.program = "sleep", .args = {"1000"}}));
  ASSERT_OK_AND_ASSIGN(const unsigned long long child_start, ProcessStartTime(child.pid()));
  const ProcessId id{child.pid(), child_start};
  EXPECT_TRUE(IsAlive(id));
  ASSERT_OK(child.Signal(SIGKILL));
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(IsAlive(id)) << "a zombie";
}

}  // namespace
}  // namespace kata::sandbox
