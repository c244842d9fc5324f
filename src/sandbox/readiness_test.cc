// Containers that say when they are ready: who is told of it, and what they see of that.
#include "sandbox/readiness.h"

#include <sys/socket.h>

#include "linux/unix_socket.h"
#include "sandbox/sandbox_server_test.h"

namespace kata::sandbox {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class ReadinessTest : public SandboxServerTest {
 protected:
  Result<task::CreateTaskResponse> CreateNotifying(const std::string& bundle, bool notify) {
    task::CreateTaskRequest request;
    request.set_id("c1");
    request.set_bundle(bundle);
    request.set_notify(notify);
    return Call<task::CreateTaskResponse>("Create", request);
  }
  Result<monitor::WaitReadyResponse> WaitReady(uint32_t timeout_ms) {
    monitor::WaitReadyRequest request;
    request.set_id("c1");
    request.set_timeout_ms(timeout_ms);
    return client_->CallSync<monitor::WaitReadyResponse>(std::string(protocol::kMonitorService), "WaitReady",
                                                         request, kTimeout);
  }
  // What the guest was told to mount there: "source option,option".
  std::vector<std::string> MountsOn(const std::string& destination) const {
    std::vector<std::string> mounts;
    const grpc::CreateContainerRequest created = script_->created();
    for (const grpc::Mount& mount : created.oci().mounts()) {
      if (mount.destination() != destination) continue;
      mounts.push_back(fmt::format("{} {}", mount.source(), fmt::join(mount.options(), ",")));
    }
    return mounts;
  }
  std::vector<std::string> Environment() const {
    const grpc::CreateContainerRequest created = script_->created();
    return {created.oci().process().env().begin(), created.oci().process().env().end()};
  }
  // A bundle for which the engine has put a directory on /run/notify, as Podman does, with a socket and
  // perhaps another file in it.
  std::string MonitoredBundle(bool other_file) {
    const std::string bundle = Bundle({"sleep"});
    EXPECT_OK(MakeDirectories(bundle + "/notify"));
    Result<UniqueFd> bound = linux::BindUnix(bundle + "/notify/notify.sock", SOCK_DGRAM, 0777);
    EXPECT_OK(bound);
    if (bound) monitor_ = std::move(*bound);
    if (other_file) {
      EXPECT_OK(WriteFileAtomic(bundle + "/notify/file", ""));
    }
    Result<std::string> config = ReadFile(bundle + "/config.json");
    EXPECT_OK(config);
    const std::string env = R"("env": ["A=b")";
    config->replace(config->find(env), env.size(), env + R"(, "NOTIFY_SOCKET=/run/notify/notify.sock")");
    const std::string root = R"("root":)";
    config->replace(config->find(root), root.size(),
                    R"("mounts": [{"destination": "/run/notify", "type": "bind",
        "source": "notify", "options": ["bind", "rprivate"]}], "root":)");
    EXPECT_OK(WriteFileAtomic(bundle + "/config.json", *config));
    return bundle;
  }

  UniqueFd monitor_;
};

constexpr char kGuestMount[] = "/run/kata-containers/sandbox/notify/c1 bind,nosuid,noexec,nodev,ro";

TEST_F(ReadinessTest, TheCallerIsTold) {
  ClientProcess process = Attach();
  ASSERT_OK(CreateNotifying(Bundle({"sleep"}), true));
  EXPECT_THAT(MountsOn("/run/notify"), ElementsAre(kGuestMount));
  EXPECT_THAT(Environment(), Contains("NOTIFY_SOCKET=/run/notify/notify.sock"));
  ASSERT_OK(Start());
  ASSERT_OK_AND_ASSIGN(monitor::WaitReadyResponse answer, WaitReady(20));
  EXPECT_EQ(answer.line(), "");
  EXPECT_FALSE(answer.over());
  std::thread container([this] { script_->SayReady("READY=1"); });
  ASSERT_OK_AND_ASSIGN(answer, WaitReady(60000));
  EXPECT_EQ(answer.line(), "READY=1");
  container.join();
  ASSERT_OK_AND_ASSIGN(answer, WaitReady(60000));
  EXPECT_EQ(answer.line(), "READY=1");
}

TEST_F(ReadinessTest, TheEndOfTheContainerIsTheEndOfTheWait) {
  ClientProcess process = Attach();
  ASSERT_OK(CreateNotifying(Bundle({"sleep"}), true));
  ASSERT_OK(Start());
  std::thread client([this] { EXPECT_OK(Kill(SIGTERM)); });
  ASSERT_OK_AND_ASSIGN(const monitor::WaitReadyResponse answer, WaitReady(60000));
  EXPECT_EQ(answer.line(), "");
  EXPECT_TRUE(answer.over());
  client.join();
}

TEST_F(ReadinessTest, AHostileGuestsWordIsNotPassedOn) {
  ClientProcess process = Attach();
  ASSERT_OK(CreateNotifying(Bundle({"sleep"}), true));
  ASSERT_OK(Start());
  script_->SayReady("READY=1\nMAINPID=1");
  ASSERT_OK_AND_ASSIGN(const monitor::WaitReadyResponse answer, WaitReady(60000));
  EXPECT_EQ(answer.line(), "");
  EXPECT_TRUE(answer.over());
}

TEST_F(ReadinessTest, NobodyWantsToKnow) {
  ClientProcess process = Attach();
  ASSERT_OK(CreateNotifying(MonitoredBundle(true), false));
  // A volume like others.
  EXPECT_THAT(MountsOn("/run/notify"), ElementsAre("notify bind,rprivate"));
  EXPECT_THAT(script_->events(), Not(Contains(StartsWith("listen"))));
  ASSERT_OK(Start());
  ASSERT_OK_AND_ASSIGN(const monitor::WaitReadyResponse answer, WaitReady(60000));
  EXPECT_TRUE(answer.over());
}

TEST_F(ReadinessTest, TheEnginesMonitorIsTold) {
  ClientProcess process = Attach();
  ASSERT_OK(CreateNotifying(MonitoredBundle(false), false));
  EXPECT_THAT(MountsOn("/run/notify"), ElementsAre(kGuestMount));
  EXPECT_THAT(Environment(), ElementsAre("A=b", "NOTIFY_SOCKET=/run/notify/notify.sock"));
  ASSERT_OK(Start());
  script_->SayReady("READY=1");
  ASSERT_OK_AND_ASSIGN(const linux::UnixMessage message,
                       linux::ReceiveUnixMessage(monitor_.get(), 100, 0, Deadline::After(kTimeout)));
  EXPECT_EQ(message.data, "READY=1");
}

TEST_F(ReadinessTest, AnAgentThatDoesNotListenIsNoReasonToFail) {
  FakeGuestScript::Behaviour behaviour;
  behaviour.no_notify = true;
  script_->Set(behaviour);
  ClientProcess process = Attach();
  ASSERT_OK(CreateNotifying(Bundle({"sleep"}), true));
  EXPECT_THAT(MountsOn("/run/notify"), IsEmpty());
  EXPECT_THAT(Environment(), ElementsAre("A=b"));
  ASSERT_OK(Start());
  ASSERT_OK_AND_ASSIGN(const monitor::WaitReadyResponse answer, WaitReady(60000));
  EXPECT_TRUE(answer.over());
}

}  // namespace
}  // namespace kata::sandbox
