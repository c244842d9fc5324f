#include "storage/virtiofsd.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <mutex>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::storage {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Deadline Soon() {
  return Deadline::After(std::chrono::seconds(60));
}

TEST(VirtiofsdVersionTest, TellsTheKinds) {
  EXPECT_EQ(*ParseVirtiofsdVersion(
                "virtiofsd version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c) 2003-2022 Fabrice "
                "Bellard and the QEMU Project developers\n"),
            VirtiofsdKind::kQemu);
  EXPECT_EQ(*ParseVirtiofsdVersion("virtiofsd 1.13.0\n"), VirtiofsdKind::kRust);
  EXPECT_EQ(*ParseVirtiofsdVersion("virtiofsd backend 0.7.2\n"), VirtiofsdKind::kRust);
  EXPECT_THAT(ParseVirtiofsdVersion("GNU coreutils\n"),
              IsError(Code::kUnimplemented, "unknown kind of virtiofsd: version 'GNU coreutils'"));
}

VirtiofsdOptions SomeOptions() {
  VirtiofsdOptions options;
  options.program = "/usr/libexec/virtiofsd";
  options.shared_directory = "/share";
  options.extra_args = {"--thread-pool-size=1", "--announce-submounts"};
  return options;
}

TEST(VirtiofsdArgumentsTest, Rust) {
  EXPECT_THAT(*VirtiofsdArguments(VirtiofsdKind::kRust, SomeOptions(), 3),
              ElementsAre("--fd=3", "--shared-dir=/share", "--cache=auto", "--xattr", "--sandbox=namespace",
                          "--log-level=warn", "--thread-pool-size=1", "--announce-submounts"));
}

TEST(VirtiofsdArgumentsTest, Qemu) {
  EXPECT_THAT(*VirtiofsdArguments(VirtiofsdKind::kQemu, SomeOptions(), 3),
              ElementsAre("--fd=3", "-f", "-o", "source=/share", "-o", "cache=auto", "-o", "xattr", "-o",
                          "sandbox=namespace", "-o", "log_level=warn", "--thread-pool-size=1", "-o",
                          "announce_submounts"));
}

TEST(VirtiofsdArgumentsTest, QemuTranslatesRustOptions) {
  VirtiofsdOptions options = SomeOptions();
  options.cache = "never";
  options.extra_args = {"--sandbox", "chroot",    "--inode-file-handles=never", "--posix-acl",
                        "-o",        "writeback", "--modcaps=+sys_admin"};
  ASSERT_OK_AND_ASSIGN(const auto args, VirtiofsdArguments(VirtiofsdKind::kQemu, options, 3));
  EXPECT_THAT(args, AllOf(Contains("cache=none"), Contains("sandbox=chroot"),
                          Not(Contains("sandbox=namespace")), Contains("posix_acl"), Contains("writeback"),
                          Contains("modcaps=+sys_admin"), Contains("announce_submounts")));
  EXPECT_THAT(args, Not(Contains(HasSubstr("inode"))));
}

TEST(VirtiofsdArgumentsTest, RefusesWhatItDoesNotKnow) {
  const auto with = [](std::vector<std::string> extra) {
    VirtiofsdOptions options = SomeOptions();
    options.extra_args = std::move(extra);
    return VirtiofsdArguments(VirtiofsdKind::kQemu, options, 3);
  };
  EXPECT_THAT(with({"--uid-map=:0:1:1:"}),
              IsError(Code::kInvalidArgument,
                      "virtio_fs_extra_args: '--uid-map': qemu's virtiofsd has no such option"));
  EXPECT_THAT(with({"--shared-dir=/"}), IsError(Code::kInvalidArgument, HasSubstr("is set by the runtime")));
  EXPECT_THAT(with({"-o", "source=/"}), IsError(Code::kInvalidArgument, HasSubstr("is set by the runtime")));
  EXPECT_THAT(with({"-o", "xattr,source=/"}),
              IsError(Code::kInvalidArgument, HasSubstr("'source=/': is set by the runtime")));
  EXPECT_THAT(with({"-o", R"(\source=/)"}), IsError(Code::kInvalidArgument, HasSubstr("has a backslash")));
  EXPECT_OK(with({"-o", "xattr,no_posix_lock"}));
  // Options of the Rust one become such words.
  EXPECT_THAT(with({"--sandbox=namespace,source=/"}),
              IsError(Code::kInvalidArgument, HasSubstr("'source=/': is set by the runtime")));
  EXPECT_THAT(with({"--modcaps", "x,cache=always"}),
              IsError(Code::kInvalidArgument, HasSubstr("'cache=always': is set by the runtime")));
  EXPECT_THAT(with({R"(--xattrmap=a\,b)"}), IsError(Code::kInvalidArgument, HasSubstr("has a backslash")));
  EXPECT_THAT(with({"-o"}), IsError(Code::kInvalidArgument, HasSubstr("needs a value")));
  EXPECT_THAT(with({"stray"}), IsError(Code::kInvalidArgument, HasSubstr("is not an option")));
  VirtiofsdOptions options = SomeOptions();
  options.cache = "writeback";
  EXPECT_THAT(VirtiofsdArguments(VirtiofsdKind::kRust, options, 3),
              IsError(Code::kInvalidArgument, HasSubstr("virtio_fs_cache: 'writeback'")));
}

// The daemon of this machine, of whichever kind; scripts play what is not here.
class VirtiofsdTest : public test::LeakCheckedTest {
 protected:
  VirtiofsdTest() {
    options_.shared_directory = directory_.path();
    options_.socket_directory = sockets_.path();
    for (const char* program : {"/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"}) {
      if (PathExists(program)) options_.program = program;
    }
    if (const char* program = std::getenv("KATA_TEST_VIRTIOFSD")) options_.program = program;
  }

  Result<std::unique_ptr<Virtiofsd>> Start() {
    return Virtiofsd::Start(
        loop_.loop(), options_,
        [this](const ExitStatus& status, std::string reason) {
          std::lock_guard lock(mutex_);
          exit_code_ = status.ShellCode();
          reasons_.push_back(std::move(reason));
          changed_.notify_all();
        },
        Soon());
  }

  // A program that calls itself virtiofsd `version` and then does `script`.
  void UseScript(const std::string& version, const std::string& script) {
    options_.program = directory_.path() + "/virtiofsd";
    ASSERT_OK(WriteFileAtomic(
        options_.program,
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo '" + version + "'; exit 0; fi\n" + script, 0755));
  }

  std::string WaitReason() {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, Soon().time(), [&] { return !reasons_.empty(); });
    return reasons_.empty() ? "no exit seen" : reasons_.front();
  }

  // The first exchange of every vhost-user client (vhost-user protocol: VHOST_USER_GET_FEATURES is request 1,
  // a header is request, flags, size; version 1 is in the flags).
  static void ExpectAnswersFeatures(int socket) {
    const uint32_t request[3] = {1, 1, 0};
    ASSERT_EQ(send(socket, request, sizeof request, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof request));
    ASSERT_OK(WaitFd(socket, POLLIN, Soon(), "vhost-user reply"));
    uint32_t reply[5] = {};
    ASSERT_EQ(recv(socket, reply, sizeof reply, MSG_WAITALL), static_cast<ssize_t>(sizeof reply));
    EXPECT_EQ(reply[0], 1u);
    EXPECT_EQ(reply[2], 8u);
    EXPECT_NE(reply[4] & 1, 0u) << "VIRTIO_F_VERSION_1";
  }

  TempDir directory_ = std::move(*TempDir::Create());
  TempDir sockets_ = std::move(*TempDir::Create());
  VirtiofsdOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> reasons_;
  int exit_code_ = -1;
  EventLoopThread loop_;
};

// Needs an installed daemon, and root for its sandbox.
class RealVirtiofsdTest : public VirtiofsdTest {
 protected:
  void SetUp() override {
    if (options_.program.empty()) GTEST_SKIP() << "no virtiofsd is installed";
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

TEST_F(RealVirtiofsdTest, ServesTheOneConnectionAndStops) {
  options_.extra_args = {"--thread-pool-size=1", "--announce-submounts"};
  ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  const UniqueFd socket = daemon->TakeSocket();
  ExpectAnswersFeatures(socket.get());
  EXPECT_TRUE(daemon->running());
  EXPECT_OK(daemon->Stop(Soon()));
  EXPECT_FALSE(daemon->running());
  EXPECT_OK(daemon->Stop(Soon()));
  std::lock_guard lock(mutex_);
  EXPECT_TRUE(reasons_.empty());
}

TEST_F(RealVirtiofsdTest, TheNameOfTheDirectoryMayHoldWhatOptionsAreMadeOf) {
  options_.shared_directory = directory_.path() + "/a,xattr\\,b=\\";
  ASSERT_OK(MakeDirectories(options_.shared_directory));
  ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  const UniqueFd socket = daemon->TakeSocket();
  ExpectAnswersFeatures(socket.get());
  EXPECT_OK(daemon->Stop(Soon()));
}

TEST_F(RealVirtiofsdTest, EndsWithItsConnection) {
  ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  UniqueFd socket = daemon->TakeSocket();
  ExpectAnswersFeatures(socket.get());
  socket.Reset();
  EXPECT_THAT(WaitReason(), StartsWith("virtiofsd ended: exit status 0"));
  EXPECT_EQ(exit_code_, 0) << "the end of the VMM counts as the cause";
}

TEST_F(RealVirtiofsdTest, AKillIsReported) {
  ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  const UniqueFd socket = daemon->TakeSocket();
  ExpectAnswersFeatures(socket.get());
  ASSERT_EQ(kill(daemon->pid(), SIGKILL), 0);
  EXPECT_THAT(WaitReason(), StartsWith("virtiofsd ended: signal 9 (killed)"));
  EXPECT_FALSE(daemon->running());
}

TEST_F(RealVirtiofsdTest, ItsOwnWordsExplainABadOption) {
  options_.extra_args = {"-o", "no_such_option_of_virtiofsd"};
  ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  EXPECT_THAT(WaitReason(), AllOf(StartsWith("virtiofsd ended: exit status "), HasSubstr("no_such_option")));
  EXPECT_EQ(daemon->LastWords(), WaitReason());
}

TEST_F(VirtiofsdTest, RustDaemonGetsAListeningSocketWithItsClientWaiting) {
  // Takes the connection from descriptor 3 as the arguments say, then ends telling its arguments.
  UseScript("virtiofsd 1.13.0", "[ -S /proc/self/fd/3 ] || echo no socket >&2\necho \"$*\" >&2\nexit 7\n");
  ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  EXPECT_EQ(WaitReason(),
            "virtiofsd ended: exit status 7: --fd=3 --shared-dir=" + directory_.path() +
                " --cache=auto --announce-submounts --xattr --sandbox=namespace --log-level=warn");
  EXPECT_THAT(*ListDirectory(sockets_.path()), testing::IsEmpty()) << "nobody else may connect";
  // The client sees that nobody will ever accept.
  const UniqueFd socket = daemon->TakeSocket();
  EXPECT_OK(WaitFd(socket.get(), POLLIN, Soon(), "end of the connection"));
}

TEST_F(VirtiofsdTest, WhatItSaysIsTold) {
  std::vector<std::string> lines;
  options_.on_error_line = [&](std::string_view line) {
    std::lock_guard lock(mutex_);
    lines.emplace_back(line);
  };
  UseScript("virtiofsd 1.13.0", "echo 'WARN something' >&2\nexit 0\n");
  ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  (void)WaitReason();
  std::lock_guard lock(mutex_);
  EXPECT_THAT(lines, ElementsAre("WARN something"));
}

TEST_F(VirtiofsdTest, ADaemonThatIgnoresSigtermIsKilled) {
  UseScript("virtiofsd 1.13.0", "trap '' TERM\necho ready >&2\nexec sleep 1000\n");
  ASSERT_OK_AND_ASSIGN(const auto daemon, Start());
  const Deadline deadline = Soon();
  EXPECT_OK(daemon->Stop(deadline));
  EXPECT_FALSE(daemon->running());
  EXPECT_FALSE(deadline.Passed()) << "it is not worth all the time that there is";
}

TEST_F(VirtiofsdTest, WrongProgramsAndDirectoriesAreNamed) {
  options_.program = "/nonexistent/virtiofsd";
  EXPECT_THAT(Start(), IsError(Code::kNotFound, AllOf(HasSubstr("start virtiofsd '/nonexistent/virtiofsd'"),
                                                      HasSubstr("No such file or directory"))));
  UseScript("something else 1.0", "");
  EXPECT_THAT(Start(), IsErrorCode(Code::kUnimplemented));
  UseScript("virtiofsd 1.13.0", "");
  options_.socket_directory = "/nonexistent/sockets";
  EXPECT_THAT(Start(), IsError(Code::kNotFound, HasSubstr("make vhost-user socket")));
  options_.shared_directory = "/nonexistent/share";
  EXPECT_THAT(Start(),
              IsError(Code::kNotFound,
                      "start virtiofsd: shared directory '/nonexistent/share': No such file or directory"));
}

}  // namespace
}  // namespace kata::storage
