// A further container in the machine of the first.
#include "sandbox/sandbox_server_test.h"

namespace kata::sandbox {
namespace {

class SandboxPodTest : public SandboxServerTest {
 protected:
  void SetUp() override {
    SandboxServerTest::SetUp();
    first_.emplace(Run({"sleep"}));
    AddHook("poststop", "echo poststop >> $D/trace");
    ASSERT_OK_AND_ASSIGN(StateDirectory second, StateDirectory::Create(root(), "c2"));
    second_directory_.emplace(std::move(second));
  }
  void AwaitNoTraceOfSecond() {
    const Deadline deadline = Deadline::After(kTimeout);
    while (PathExists(second_directory_->path()) && !deadline.Passed())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_FALSE(PathExists(second_directory_->path()));
    EXPECT_THAT(State("", "c2"), IsErrorCode(Code::kNotFound));
    ASSERT_OK_AND_ASSIGN(const task::StateResponse first, State());
    EXPECT_EQ(first.status(), task::RUNNING);
  }

  std::optional<ClientProcess> first_;
  std::optional<StateDirectory> second_directory_;
};

TEST_F(SandboxPodTest, ClientThatVanishesDuringTheCreationLeavesNothing) {
  AddHook("createRuntime", "echo begun >> $D/trace; exec sleep 1000");
  ClientProcess second = Attach("", "c2");
  std::thread killer([&] {
    AwaitTrace("begun\n");
    second.attachment.reset();
  });
  EXPECT_THAT(Create({"sleep"}, "c2"), IsErrorCode(Code::kCancelled));
  killer.join();
  AwaitNoTraceOfSecond();
  AwaitTrace("begun\npoststop\n");
}

TEST_F(SandboxPodTest, ClientThatVanishesBeforeTheCreationLeavesNothing) {
  ClientProcess second = Attach("", "c2");
  second.attachment.reset();
  AwaitNoTraceOfSecond();
}

TEST_F(SandboxPodTest, ClientThatVanishesAfterTheCreationLeavesNothing) {
  ClientProcess second = Attach("", "c2");
  ASSERT_OK(Create({"sleep"}, "c2"));
  second.attachment.reset();
  AwaitNoTraceOfSecond();
  AwaitTrace("poststop\n");
  AwaitEvent("unshare c2");
}

TEST_F(SandboxPodTest, ClientThatVanishesFromTheForegroundLeavesNothing) {
  ClientProcess second = Attach("", "c2");
  ASSERT_OK(Create({"sleep"}, "c2"));
  ASSERT_OK(Start("", "c2"));
  second.attachment.reset();
  EXPECT_EQ(second.AwaitExit(), 137);
  AwaitNoTraceOfSecond();
  AwaitTrace("poststop\n");
  AwaitEvent("unshare c2");
}

TEST_F(SandboxPodTest, DeletionOfACancelledCreationWaitsForItsEnd) {
  AddHook("createRuntime", "echo begun >> $D/trace; exec sleep 1000");
  ClientProcess second = Attach("", "c2");
  std::thread client([&] {
    AwaitTrace("begun\n");
    EXPECT_OK(Kill(SIGKILL, "", /*all=*/true, "c2"));
    const auto deleted = Delete("", "c2");
    EXPECT_TRUE(deleted || deleted.error().code() == Code::kNotFound) << "it may have ended meanwhile";
    EXPECT_THAT(State("", "c2"), IsErrorCode(Code::kNotFound));
    // Its client lives, and removes the rest itself.
    EXPECT_TRUE(PathExists(second_directory_->path()));
  });
  EXPECT_THAT(Create({"sleep"}, "c2"), IsError(Code::kCancelled, "it was killed"));
  client.join();
}

TEST_F(SandboxPodTest, TheMachineEndsAfterACreationThatFailsAsTheLast) {
  AddHook("createRuntime", "echo begun >> $D/trace; while test ! -e $D/go; do sleep 0.01; done; exit 1");
  ClientProcess second = Attach("", "c2");
  std::thread killer([&] {
    AwaitTrace("begun\n");
    EXPECT_OK(Kill(SIGTERM));
    EXPECT_EQ(first_->AwaitExit(), 143);
    EXPECT_OK(WriteFileAtomic(dir_->path() + "/go", ""));
  });
  EXPECT_THAT(Create({"sleep"}, "c2"), IsErrorCode(Code::kAborted));
  killer.join();
  AwaitEvent("stop");
}

TEST_F(SandboxPodTest, TheDisksOfACreationThatIsKilledAreTakenOut) {
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> numbers, ListDirectory("/sys/dev/block"));
  if (numbers.empty()) GTEST_SKIP() << "needs a block device, which it does not touch";
  const size_t colon = numbers[0].find(':');
  devices_ = fmt::format(R"({{"path": "/dev/disk", "type": "b", "major": {}, "minor": {}}})",
                         numbers[0].substr(0, colon), numbers[0].substr(colon + 1));
  script_->Set({.create_waits = true});
  ClientProcess second = Attach("", "c2");
  std::thread killer([&] {
    AwaitEvent("create-container c2");
    EXPECT_OK(Kill(SIGKILL, "", /*all=*/true, "c2"));
    script_->Set({});
  });
  EXPECT_THAT(Create({"sleep"}, "c2"), IsErrorCode(Code::kCancelled));
  killer.join();
  EXPECT_THAT(Events({"attach", "detach"}), ElementsAre("attach disk0", "detach disk0"));
}

TEST_F(SandboxPodTest, ADeletionAndTheEndOfItsClientAreOneRemoval) {
  for (int i = 1; i <= 20; ++i) {
    if (i > 1) {
      ASSERT_OK(StateDirectory::Create(root(), "c2"));
    }
    ClientProcess second = Attach("", "c2");
    ASSERT_OK(Create({"sleep"}, "c2"));
    ASSERT_OK(Kill(SIGKILL, "", /*all=*/true, "c2"));
    EXPECT_EQ(second.AwaitExit(), 137);
    std::thread client([&] { second.attachment.reset(); });
    const auto deleted = Delete("", "c2");
    EXPECT_TRUE(deleted || deleted.error().code() == Code::kNotFound) << deleted.error().message();
    client.join();
    AwaitNoTraceOfSecond();
    EXPECT_THAT(Events({"unshare"}), testing::SizeIs(i));
  }
}

// By the time its client is seen to have gone, another one may have made a container with the same id.
TEST_F(SandboxPodTest, ALaterContainerWithTheSameIdIsLeftAlone) {
  ClientProcess second = Attach("", "c2");
  EXPECT_THAT(Create({"nosuch"}, "c2"), Not(IsOk()));
  ASSERT_OK(second_directory_->Remove());
  ASSERT_OK_AND_ASSIGN(const StateDirectory later, StateDirectory::Create(root(), "c2"));
  second.attachment.reset();
  ClientProcess third = Attach("", "c2");
  EXPECT_OK(Create({"sleep"}, "c2"));
  EXPECT_OK(third.attachment->Commit());
  EXPECT_OK(Start("", "c2"));
  EXPECT_TRUE(later.IsCurrent());
}

class PodMemoryTest : public SandboxServerTest {
 protected:
  static constexpr int64_t kMib = int64_t{1} << 20;

  // The control group on the host, of VMM and helpers too: a directory of plain files, so all numbers are of
  // the same length.
  void SetUp() override {
    SandboxServerTest::SetUp();
    group_ = dir_->path() + "/group";
    ASSERT_OK(MakeDirectories(group_));
    for (const char* file : {"/cgroup.procs", "/memory.max"}) ASSERT_OK(WriteFileAtomic(group_ + file, ""));
    ContainerState state;
    state.id = state.sandbox_id = "c1";
    state.cgroups = {{"", group_}};
    ASSERT_OK(directory_->WriteState(state));
    resources_ = R"("memory": {"limit": 1073741824})";
    first_.emplace(Run({"sleep"}));
    limit_ = Limit();
    ASSERT_GT(limit_, 1088 * kMib);
    ASSERT_OK(StateDirectory::Create(root(), "c2"));
  }
  void TearDown() override {
    SandboxServerTest::TearDown();
    ASSERT_OK(RemoveTree(group_));  // in the kernel's own, files are no obstacle
  }
  int64_t Limit() const { return std::atoll(ReadFile(group_ + "/memory.max")->c_str()); }
  void AwaitLimit(int64_t limit) {
    const Deadline deadline = Deadline::After(kTimeout);
    while (Limit() != limit && !deadline.Passed()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(Limit(), limit);
  }

  std::string group_;
  std::optional<ClientProcess> first_;
  int64_t limit_ = 0;
};

TEST_F(PodMemoryTest, GrowsAndShrinksWithTheMachine) {
  ClientProcess second = Attach("", "c2");
  ASSERT_OK(Create({"sleep"}, "c2"));
  EXPECT_EQ(Limit(), limit_ + 1024 * kMib);
  ASSERT_OK(second.attachment->Commit());

  task::UpdateTaskRequest update;
  update.set_id("c2");
  update.mutable_resources()->set_value(R"({"memory": {"limit": 2147483648}})");
  ASSERT_OK(Call<Empty>("Update", update));
  AwaitLimit(limit_ + 2048 * kMib);

  ASSERT_OK(Delete("", "c2"));
  AwaitLimit(limit_);
  EXPECT_THAT(Events({"resize"}), ElementsAre("resize to 1 vcpus 2112 MiB", "resize to 1 vcpus 3136 MiB",
                                              "resize to 1 vcpus 1088 MiB"));
}

}  // namespace
}  // namespace kata::sandbox
