// Vm with a real QEMU, as far as it goes without a guest kernel; QEMU's "kernel" is a file that is none.
#include "hypervisor/vm.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <future>
#include <mutex>
#include <thread>

#include "base/file.h"
#include "hypervisor/assets.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::hypervisor {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kQemu[] = "/usr/bin/qemu-system-x86_64";

Deadline Soon() {
  return Deadline::After(std::chrono::seconds(60));
}

// A kernel that QEMU loads and the machine runs: a multiboot header and an endless loop.
std::string LoopingKernel() {
  // Multiboot specification 0.6.96: magic, flags (bit 16: addresses follow), checksum, header_addr,
  // load_addr, load_end_addr, bss_end_addr, entry_addr.
  constexpr uint32_t kLoadAddress = 0x100000;
  const uint32_t header[] = {
      0x1BADB002, 0x00010000,       0u - (0x1BADB002 + 0x00010000), kLoadAddress, kLoadAddress, 0,
      0,          kLoadAddress + 32};
  std::string kernel(reinterpret_cast<const char*>(header), sizeof header);
  kernel += std::string("\xfa\xf4\xeb\xfd", 4);  // cli; again: hlt; jmp again
  return kernel;
}

// A driver that starts a shell script instead of a VMM and offers no control.
class ScriptDriver : public Driver {
 public:
  explicit ScriptDriver(std::string script) : script_(std::move(script)) {}
  std::string_view name() const override { return "script"; }
  Capabilities capabilities() const override { return {}; }
  Result<LaunchPlan> Plan(const VmSpec& /*spec*/) const override {
    return LaunchPlan{.program = "/bin/sh", .args = {"-c", script_}, .control_fd = 3, .console_fd = 4};
  }
  Result<std::unique_ptr<VmControl>> Connect(UniqueFd control, VmEvents events,
                                             Deadline deadline) const override {
    events_ = std::move(events);
    TRY(WaitFd(control.get(), POLLIN, deadline, "script"));
    char byte;
    if (read(control.get(), &byte, 1) != 1)
      return Error(Code::kUnavailable, "script closed its control channel");
    return std::unique_ptr<VmControl>(std::make_unique<NoControl>());
  }
  // Of the VMM that was started last.
  const VmEvents& events() const { return events_; }

 private:
  class NoControl : public VmControl {
    Status Pause(Deadline) override { return Refuse(); }
    Status Resume(Deadline) override { return Refuse(); }
    Result<std::string> Attach(const DeviceSpec&, Deadline) override { return Refuse().error(); }
    Status Detach(const std::string&, Deadline) override { return Refuse(); }
    Status Quit(Deadline) override { return Refuse(); }
    Result<uint32_t> SetVcpus(uint32_t, Deadline) override { return Refuse().error(); }
    Result<uint64_t> SetMemory(uint64_t, Deadline) override { return Refuse().error(); }
    Status Refuse() { return Error(Code::kUnimplemented, "no control"); }
  };
  const std::string script_;
  mutable VmEvents events_;
};

class VmTest : public test::LeakCheckedTest {
 protected:
  VmTest() {
    spec_.id = "vmtest";
    spec_.vmm_path = kQemu;
    spec_.acceleration = Acceleration::kTcg;
    spec_.memory_mib = spec_.max_memory_mib = 32;
    spec_.kernel = directory_.path() + "/kernel";
    spec_.initrd = directory_.path() + "/initrd";
    EXPECT_OK(WriteFileAtomic(spec_.kernel, LoopingKernel()));
    EXPECT_OK(WriteFileAtomic(spec_.initrd, "initrd"));
    options_.on_exit = [this](std::string reason) {
      std::lock_guard lock(mutex_);
      exit_reasons_.push_back(std::move(reason));
      changed_.notify_all();
    };
    options_.on_console_line = [this](std::string_view line) {
      std::lock_guard lock(mutex_);
      console_.emplace_back(line);
    };
    options_.on_vmm_line = [this](std::string_view line) {
      std::lock_guard lock(mutex_);
      vmm_lines_.emplace_back(line);
      changed_.notify_all();
    };
  }

  Result<std::unique_ptr<Vm>> Start(const Driver& driver) {
    return Vm::Start(loop_.loop(), driver, spec_, options_, Soon());
  }
  Result<std::unique_ptr<Vm>> StartQemu() { return Start(**MakeDriver("qemu")); }

  std::string WaitExitReason() {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, Soon().time(), [&] { return !exit_reasons_.empty(); });
    return exit_reasons_.empty() ? "no exit seen" : exit_reasons_.front();
  }

  TempDir directory_ = std::move(*TempDir::Create());
  VmSpec spec_;
  Vm::Options options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> exit_reasons_;
  std::vector<std::string> console_;
  std::vector<std::string> vmm_lines_;
  EventLoopThread loop_;
};

TEST_F(VmTest, StartsPausesResumesAndQuits) {
  ASSERT_OK_AND_ASSIGN(const auto vm, StartQemu());
  EXPECT_TRUE(vm->running());
  EXPECT_OK(vm->control().Pause(Soon()));
  EXPECT_OK(vm->control().Resume(Soon()));
  EXPECT_OK(vm->Stop(Soon()));
  EXPECT_FALSE(vm->running());
  EXPECT_OK(vm->Stop(Soon()));
  EXPECT_THAT(vm->control().Pause(Soon()), IsErrorCode(Code::kUnavailable));
  std::lock_guard lock(mutex_);
  EXPECT_TRUE(exit_reasons_.empty());
}

TEST_F(VmTest, DestructionEndsTheVmm) {
  ASSERT_OK_AND_ASSIGN(auto vm, StartQemu());
  const pid_t pid = vm->pid();
  vm.reset();
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST_F(VmTest, AKilledVmmIsReportedOnce) {
  ASSERT_OK_AND_ASSIGN(const auto vm, StartQemu());
  ASSERT_EQ(kill(vm->pid(), SIGKILL), 0);
  EXPECT_THAT(WaitExitReason(), StartsWith("signal 9 (killed)"));
  EXPECT_FALSE(vm->running());
  EXPECT_OK(vm->Stop(Soon()));
  std::lock_guard lock(mutex_);
  EXPECT_EQ(exit_reasons_.size(), 1u);
}

TEST_F(VmTest, AttachesAndDetachesADisk) {
  spec_.hotplug_ports = 1;
  const std::string disk = directory_.path() + "/disk";
  ASSERT_OK(WriteFileAtomic(disk, std::string(1 << 20, 'd')));
  ASSERT_OK_AND_ASSIGN(const auto vm, StartQemu());
  ASSERT_OK(vm->control().Attach(BlockDevice{.id = "d1", .path = disk}, Soon()));
  EXPECT_THAT(vm->control().Attach(BlockDevice{.id = "d2", .path = disk}, Soon()),
              IsError(Code::kResourceExhausted, "attach device 'd2': no free pci port"));
  EXPECT_THAT(vm->control().Attach(Virtio9pDevice{.id = "p", .tag = "t", .path = "/"}, Soon()),
              IsErrorCode(Code::kUnimplemented));
  // There is no operating system that would let go of it.
  EXPECT_THAT(vm->control().Detach("d1", Deadline::After(std::chrono::milliseconds(200))),
              IsErrorCode(Code::kDeadlineExceeded));
  // Whoever waits for that is told when the VMM has gone.
  auto detached = std::async(std::launch::async, [&] { return vm->control().Detach("d1", Soon()); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  ASSERT_EQ(kill(vm->pid(), SIGKILL), 0);
  EXPECT_THAT(detached.get(), IsErrorCode(Code::kUnavailable));
}

TEST_F(VmTest, PlugsProcessors) {
  spec_.max_vcpus = 3;
  ASSERT_OK_AND_ASSIGN(const auto vm, StartQemu());
  EXPECT_EQ(vm->control().SetVcpus(1, Soon()).value_or(0), 1u);
  EXPECT_EQ(vm->control().SetVcpus(3, Soon()).value_or(0), 3u);
  EXPECT_EQ(vm->control().SetVcpus(9, Soon()).value_or(0), 3u) << "there are no more";
  // QEMU takes none away before an operating system has shown that it knows how.
  EXPECT_THAT(vm->control().SetVcpus(2, Soon()),
              IsError(Code::kInternal, HasSubstr("unplug processor 2: detach device 'vcpu2'")));
}

TEST_F(VmTest, OffersMemoryThatNobodyTakes) {
  spec_.max_memory_mib = 64;
  ASSERT_OK_AND_ASSIGN(const auto vm, StartQemu());
  EXPECT_EQ(vm->control().SetMemory(32, Soon()).value_or(0), 32u);
  const Result<uint64_t> size = vm->control().SetMemory(50, Deadline::After(std::chrono::milliseconds(200)));
  EXPECT_EQ(size.value_or(0), 32u);
  EXPECT_THAT(vm->control().SetMemory(65, Soon()), IsError(Code::kInternal, HasSubstr("plug memory")));
}

TEST_F(VmTest, AttachNamesAMissingDisk) {
  spec_.hotplug_ports = 1;
  ASSERT_OK_AND_ASSIGN(const auto vm, StartQemu());
  EXPECT_THAT(
      vm->control().Attach(BlockDevice{.id = "d", .path = "/nonexistent/disk"}, Soon()),
      IsError(Code::kInternal, AllOf(HasSubstr("attach device 'd': execute 'blockdev-add': GenericError"),
                                     HasSubstr("'/nonexistent/disk': No such file or directory"))));
}

TEST_F(VmTest, QemusOwnWordsExplainAFailedStart) {
  spec_.cpu_features = "no-such-feature=on";
  EXPECT_THAT(StartQemu(),
              IsError(Code::kInternal, AllOf(StartsWith("start qemu: exit status 1: qemu-system-x86_64: "),
                                             HasSubstr("no-such-feature"))));
}

TEST_F(VmTest, AFileThatIsNoKernelIsRefusedByQemu) {
  ASSERT_OK(WriteFileAtomic(spec_.kernel, "no kernel"));
  EXPECT_THAT(StartQemu(), IsError(Code::kInternal,
                                   AllOf(StartsWith("start qemu: exit status 1: "), HasSubstr("kernel"))));
}

TEST_F(VmTest, MissingFilesAreNamedBeforeTheStart) {
  spec_.kernel = "/nonexistent/vmlinux";
  EXPECT_THAT(
      StartQemu(),
      IsError(Code::kNotFound, "start qemu: guest kernel '/nonexistent/vmlinux': No such file or directory"));
}

TEST_F(VmTest, ConsoleLinesArriveAndAPanicIsTheReason) {
  // Nothing but the signal ends it.
  const ScriptDriver driver(
      "printf 'booting\\n[    0.5] Kernel panic - not syncing: VFS\\nrest' >&4; echo broken >&2; printf x "
      ">&3; exec sleep 1000");
  ASSERT_OK_AND_ASSIGN(const auto vm, Start(driver));
  ASSERT_EQ(kill(vm->pid(), SIGTERM), 0);
  EXPECT_EQ(WaitExitReason(),
            "signal 15 (terminated): broken: guest console: Kernel panic - not syncing: VFS");
  EXPECT_EQ(vm->LastWords(), WaitExitReason());
  std::lock_guard lock(mutex_);
  EXPECT_THAT(console_, testing::ElementsAre("booting", "[    0.5] Kernel panic - not syncing: VFS", "rest"));
}

TEST_F(VmTest, AVmmThatHasStoppedTheGuestIsEnded) {
  const ScriptDriver driver("echo internal error >&2; printf x >&3; exec sleep 1000");
  ASSERT_OK_AND_ASSIGN(const auto vm, Start(driver));
  driver.events().on_trouble("disk 'd': write: No space left on device");
  driver.events().on_halted("the guest was stopped");
  EXPECT_EQ(WaitExitReason(), "the guest was stopped: internal error");
  EXPECT_FALSE(vm->running());
  std::lock_guard lock(mutex_);
  EXPECT_THAT(vmm_lines_,
              testing::UnorderedElementsAre("internal error", "disk 'd': write: No space left on device"));
}

TEST_F(VmTest, AFloodOfTroublesKeepsMemoryBounded) {
  const ScriptDriver driver("printf x >&3; exec sleep 1000");
  ASSERT_OK_AND_ASSIGN(const auto vm, Start(driver));
  std::promise<void> held;
  loop_.loop().Post([&] { held.get_future().wait(); });
  for (int i = 0; i < 1000; ++i) driver.events().on_trouble("again");
  held.set_value();
  loop_.loop().RunAndWait([] {});
  std::lock_guard lock(mutex_);
  EXPECT_EQ(vmm_lines_.size(), 100u);
}

TEST_F(VmTest, AVmmThatAnswersNothingEndsWithTheDeadline) {
  const ScriptDriver driver("echo still busy >&2; exec sleep 1000");
  const Result<std::unique_ptr<Vm>> vm =
      Vm::Start(loop_.loop(), driver, spec_, options_, Deadline::After(std::chrono::milliseconds(500)));
  EXPECT_THAT(vm, IsError(Code::kDeadlineExceeded,
                          AllOf(StartsWith("start script: wait for script"), HasSubstr("still busy"))));
}

TEST_F(VmTest, AVmmThatCannotQuitIsKilled) {
  const ScriptDriver driver("trap '' TERM; printf x >&3; exec sleep 1000");
  ASSERT_OK_AND_ASSIGN(const auto vm, Start(driver));
  EXPECT_OK(vm->Stop(Soon()));
  EXPECT_FALSE(vm->running());
}

TEST_F(VmTest, AFloodOnTheConsoleKeepsMemoryBounded) {
  const ScriptDriver driver("printf x >&3; yes 0123456789 | head -c 22000000 >&4; exit 0");
  ASSERT_OK_AND_ASSIGN(const auto vm, Start(driver));
  EXPECT_EQ(WaitExitReason(), "exit status 0: guest console: 0123456789 | 0123456789 | 0123456789");
}

class CheckAssetsTest : public VmTest {};

TEST_F(CheckAssetsTest, NamesWhatIsWrong) {
  EXPECT_OK(CheckAssets(spec_));
  const auto check = [&](auto spoil) {
    VmSpec spec = spec_;
    spoil(spec);
    return CheckAssets(spec);
  };
  EXPECT_THAT(check([](VmSpec& s) { s.vmm_path = "/nonexistent/qemu"; }),
              IsError(Code::kNotFound, "hypervisor '/nonexistent/qemu': No such file or directory"));
  EXPECT_THAT(check([&](VmSpec& s) { s.vmm_path = s.kernel; }), IsErrorCode(Code::kPermissionDenied));
  EXPECT_THAT(check([](VmSpec& s) { s.initrd = "/nonexistent/i"; }),
              IsError(Code::kNotFound, "guest initrd '/nonexistent/i': No such file or directory"));
  EXPECT_THAT(check([](VmSpec& s) { s.initrd = "/tmp"; }),
              IsError(Code::kInvalidArgument, "guest initrd '/tmp': not a regular file"));
  EXPECT_THAT(check([](VmSpec& s) { s.firmware = "/nonexistent/f"; }), IsErrorCode(Code::kNotFound));
  EXPECT_THAT(
      check([](VmSpec& s) { s.devices = {Virtio9pDevice{.id = "p", .tag = "t", .path = "/etc/passwd"}}; }),
      IsError(Code::kInvalidArgument, "9p share '/etc/passwd': Not a directory"));
}

TEST_F(CheckAssetsTest, EmptyAndOversizedFiles) {
  ASSERT_OK(WriteFileAtomic(spec_.kernel, ""));
  EXPECT_THAT(CheckAssets(spec_), IsError(Code::kInvalidArgument, HasSubstr("empty file")));
  ASSERT_OK(WriteFileAtomic(spec_.kernel, "k"));
  ASSERT_EQ(truncate(spec_.initrd.c_str(), 31 << 20), 0);
  EXPECT_THAT(CheckAssets(spec_),
              IsError(Code::kInvalidArgument,
                      "guest initrd '" + spec_.initrd +
                          "': its 31 MiB and the kernel's 1 MiB do not fit into guest memory of 32 MiB"));
}

TEST(ResolveAccelerationTest, AnExplicitChoiceStands) {
  EXPECT_EQ(ResolveAcceleration(Acceleration::kKvm), Acceleration::kKvm);
  EXPECT_EQ(ResolveAcceleration(Acceleration::kTcg), Acceleration::kTcg);
  EXPECT_NE(ResolveAcceleration(Acceleration::kAuto), Acceleration::kAuto);
  EXPECT_EQ(AccelerationName(Acceleration::kTcg), "tcg");
}

}  // namespace
}  // namespace kata::hypervisor
