// configuration.toml: values, exact messages, drop-ins, and the table in docs/configuration.md.
#include "config/config.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "base/file.h"
#include "config/loader.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::config {
namespace {

using test::IsError;
using test::IsErrorCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ConfigTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override {
    auto directory = TempDir::Create();
    ASSERT_OK(directory);
    directory_.emplace(std::move(*directory));
    ASSERT_OK(WriteFileAtomic(Path("qemu"), "", 0755));
    ASSERT_OK(WriteFileAtomic(Path("virtiofsd"), "", 0755));
    ASSERT_OK(WriteFileAtomic(Path("vmlinux"), "kernel"));
    ASSERT_OK(WriteFileAtomic(Path("initrd"), "initrd"));
  }

  std::string Path(const std::string& name) const { return directory_->path() + "/" + name; }

  Host TestHost() const {
    Host host;
    host.cpus = 4;
    host.memory_mib = 8192;
    host.hypervisor_paths = {Path("noqemu"), Path("qemu")};
    host.virtio_fs_daemon_paths = {Path("novirtiofsd"), Path("virtiofsd")};
    return host;
  }

  // A hypervisor table that is complete, and `rest` behind it from line 4 on.
  std::string Complete(const std::string& rest) const {
    return fmt::format("[hypervisor.qemu]\nkernel = \"{}\"\ninitrd = \"{}\"\n{}", Path("vmlinux"),
                       Path("initrd"), rest);
  }

  Result<Config> LoadText(const std::string& text) const {
    Loader loader(TestHost());
    TRY(loader.Add(text, "c.toml"));
    return loader.Finish();
  }

  // With these annotations, whose names are given without "io.katacontainers.config.".
  Result<Config> LoadAnnotated(const std::string& rest,
                               const std::map<std::string, std::string>& annotations) const {
    Loader loader(TestHost());
    TRY(loader.Add(Complete(rest), "c.toml"));
    std::map<std::string, std::string> full = {{"io.katacontainers.other", "x"}, {"org.example", "y"}};
    for (const auto& [name, value] : annotations) full["io.katacontainers.config." + name] = value;
    TRY(loader.Annotate(full));
    return loader.Finish();
  }

  // The message of loading Complete(rest).
  std::string MessageOf(const std::string& rest) const {
    const Result<Config> config = LoadText(Complete(rest));
    return config ? "no error" : config.error().message();
  }

  std::optional<TempDir> directory_;
};

TEST_F(ConfigTest, DefaultsFillWhatTheFileLeavesOut) {
  ASSERT_OK_AND_ASSIGN(const Config config, LoadText(Complete("")));
  EXPECT_EQ(config.hypervisor_name, "qemu");
  EXPECT_EQ(config.hypervisor.path, Path("qemu"));
  EXPECT_EQ(config.hypervisor.virtio_fs_daemon, Path("virtiofsd"));
  EXPECT_EQ(config.hypervisor.default_memory_mib, 256u);
  EXPECT_EQ(config.hypervisor.default_max_memory_mib, 8192u);
  EXPECT_EQ(config.hypervisor.default_vcpus, 1u);
  EXPECT_EQ(config.hypervisor.default_max_vcpus, 4u);
  EXPECT_EQ(config.hypervisor.shared_fs, "virtio-fs");
  EXPECT_EQ(config.agent.dial_timeout, std::chrono::seconds(45));
  EXPECT_THAT(config.warnings, IsEmpty());
}

TEST_F(ConfigTest, EveryTypeOfValueArrives) {
  ASSERT_OK_AND_ASSIGN(const Config config, LoadText(Complete(R"(
default_memory = 128
default_vcpus = 2
enable_hugepages = true
shared_fs = "virtio-9p"
virtio_fs_extra_args = ["--thread-pool-size=1", "--announce-submounts"]
kernel_params = "quiet"
acceleration = "tcg"
[agent.kata]
dial_timeout = 15
kernel_modules = ["e1000e"]
[runtime]
enable_debug = true
create_container_timeout = 90
)")));
  EXPECT_EQ(config.hypervisor.default_memory_mib, 128u);
  EXPECT_EQ(config.hypervisor.default_vcpus, 2u);
  EXPECT_TRUE(config.hypervisor.enable_hugepages);
  EXPECT_EQ(config.hypervisor.shared_fs, "virtio-9p");
  EXPECT_THAT(config.hypervisor.virtio_fs_extra_args,
              ElementsAre("--thread-pool-size=1", "--announce-submounts"));
  EXPECT_EQ(config.hypervisor.kernel_params, "quiet");
  EXPECT_EQ(config.hypervisor.acceleration, "tcg");
  EXPECT_EQ(config.agent.dial_timeout, std::chrono::seconds(15));
  EXPECT_THAT(config.agent.kernel_modules, ElementsAre("e1000e"));
  EXPECT_TRUE(config.runtime.enable_debug);
  EXPECT_EQ(config.runtime.create_container_timeout, std::chrono::seconds(90));
}

TEST_F(ConfigTest, TheListsForAnnotationsDoNotLimitTheFile) {
  ASSERT_OK_AND_ASSIGN(
      const Config config,
      LoadText(Complete(fmt::format("path = \"{}\"\nvalid_hypervisor_paths = [\"/usr/bin/qemu\"]\n"
                                    "virtio_fs_daemon = \"{}\"\nvalid_virtio_fs_daemon_paths = []\n"
                                    "valid_entropy_sources = [\"/dev/random\"]\n",
                                    Path("qemu"), Path("virtiofsd")))));
  EXPECT_EQ(config.hypervisor.path, Path("qemu"));
}

TEST_F(ConfigTest, CountsAreAdjustedToTheHost) {
  struct Case {
    const char* text;
    uint32_t vcpus;
    uint32_t max_vcpus;
  };
  for (const Case& c : {
           Case{"default_vcpus = 0", 1, 4},
           Case{"default_vcpus = -1", 4, 4},
           Case{"default_vcpus = 99", 4, 4},
           Case{"default_vcpus = 1.5", 2, 4},
           Case{"default_vcpus = 3\ndefault_maxvcpus = 2", 3, 3},
           Case{"default_maxvcpus = 0", 1, 4},
           Case{"default_maxvcpus = 2", 1, 2},
       }) {
    SCOPED_TRACE(c.text);
    ASSERT_OK_AND_ASSIGN(const Config config, LoadText(Complete(c.text)));
    EXPECT_EQ(config.hypervisor.default_vcpus, c.vcpus);
    EXPECT_EQ(config.hypervisor.default_max_vcpus, c.max_vcpus);
  }
  ASSERT_OK_AND_ASSIGN(const Config config, LoadText(Complete("default_maxmemory = 99999")));
  EXPECT_EQ(config.hypervisor.default_max_memory_mib, 8192u);
}

TEST_F(ConfigTest, WrongValuesNameFileLineKeyAndWhatIsAllowed) {
  const std::pair<std::string, std::string> cases[] = {
      {"shared_fs = \"nfs\"",
       "c.toml:4: hypervisor.qemu.shared_fs: 'nfs' is not one of virtio-fs, virtio-9p"},
      {"shared_fs = \"none\"",
       "c.toml:4: hypervisor.qemu.shared_fs: 'none' is not one of virtio-fs, virtio-9p"},
      {"virtio_fs_cache_size = 8", "c.toml:4: hypervisor.qemu.virtio_fs_cache_size: 8 is not 0"},
      {"entropy_source = \"/nosuch/random\"",
       "c.toml:4: hypervisor.qemu.entropy_source: '/nosuch/random': No such file or directory"},
      {"entropy_source = \"random\"",
       "c.toml:4: hypervisor.qemu.entropy_source: 'random' is not an absolute path"},
      {"enable_annotations = [\"good\", \"(\"]",
       "c.toml:4: hypervisor.qemu.enable_annotations: '(' is no regular expression: Unmatched ( or \\("},
      {"entropy_source = \"/dev\"", "c.toml:4: hypervisor.qemu.entropy_source: '/dev' is a directory"},
      {"kernel_params = \"" + std::string(1401, 'x') + "\"",
       "c.toml:4: hypervisor.qemu.kernel_params: 1401 bytes are more than 1400"},
      {"\ndefault_vcpus = \"two\"",
       "c.toml:5: hypervisor.qemu.default_vcpus: expected a number, found a string"},
      {"default_vcpus = nan",
       "c.toml:4: hypervisor.qemu.default_vcpus: expected a number, found a number with a fraction"},
      {"default_memory = 95",
       "c.toml:4: hypervisor.qemu.default_memory: 95 is not in the range 96 to 16777216"},
      {"default_memory = -1",
       "c.toml:4: hypervisor.qemu.default_memory: -1 is not in the range 96 to 16777216"},
      {"default_memory = 256.5",
       "c.toml:4: hypervisor.qemu.default_memory: expected an integer, found a number with a fraction"},
      {"default_memory = 9000",
       "c.toml:4: hypervisor.qemu.default_memory: 9000 MiB is more than the host's 8192 MiB"},
      {"virtio_fs_queue_size = 99999999999",
       "c.toml:4: hypervisor.qemu.virtio_fs_queue_size: 99999999999 is not in the range 1 to 1024"},
      {"kernel_params = [\"a\"]", "c.toml:4: hypervisor.qemu.kernel_params: expected a string, found a list"},
      {"kernel_params = \"a\\u0000b\"", "c.toml:4: hypervisor.qemu.kernel_params: a NUL byte in the text"},
      {"enable_hugepages = 1",
       "c.toml:4: hypervisor.qemu.enable_hugepages: expected a boolean, found an integer"},
      {"enable_hugepages = 2020-01-01",
       "c.toml:4: hypervisor.qemu.enable_hugepages: expected a boolean, found a date or time"},
      {"virtio_fs_extra_args = [\"-o\", 1]",
       "c.toml:4: hypervisor.qemu.virtio_fs_extra_args: element 2: expected a string, found an integer"},
      {"virtio_fs_extra_args = \"-o\"",
       "c.toml:4: hypervisor.qemu.virtio_fs_extra_args: expected a list of strings, found a string"},
      {"virtio_fs_queue_size = 100",
       "c.toml:4: hypervisor.qemu.virtio_fs_queue_size: 100 is not a power of two"},
      {"path = \"/nosuch/qemu\"",
       "c.toml:4: hypervisor.qemu.path: '/nosuch/qemu': No such file or directory"},
      {"path = \"qemu\"", "c.toml:4: hypervisor.qemu.path: 'qemu' is not an absolute path"},
      {"virtio_fs_daemon = \"/tmp\"",
       "c.toml:4: hypervisor.qemu.virtio_fs_daemon: '/tmp' is not a regular file"},
      {"image = \"/tmp/image\"", "c.toml:3: hypervisor.qemu.initrd: both 'image' and 'initrd' are set"},
      {std::string("x = 1\n[\0", 8), "c.toml:5: byte 0x00 outside of strings and comments"},
      {"# \xc3\xa4\nkernel_params = \"\xc3\xa4 \\\" \xc3\xa4\"\n\xc3\xa4 = 1",
       "c.toml:6: byte 0xc3 outside of strings and comments"},
      {"[=]", "c.toml: a malformed table header or key"},
      {"[hypervisor.clh]", "c.toml:4: hypervisor.clh: 'clh' is not one of qemu"},
      {"[agent.kata]\ndial_timeout = 0",
       "c.toml:5: agent.kata.dial_timeout: 0 is not in the range 1 to 3600"},
      {"[runtime]\ninternetworking_model = \"bridge\"",
       "c.toml:5: runtime.internetworking_model: 'bridge' is not one of tcfilter, macvtap, none"},
      {"[runtime]\nsandbox_bind_mounts = [\"/etc\", \"/nosuch/x\"]",
       "c.toml:5: runtime.sandbox_bind_mounts: '/nosuch/x': No such file or directory"},
      {"[runtime]\nsandbox_bind_mounts = [\"/usr/bin\", \"/bin\"]",
       "c.toml:5: runtime.sandbox_bind_mounts: two paths end in 'bin'"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(MessageOf(text), message) << text;
}

TEST_F(ConfigTest, TextThatIsNoTomlIsNamedByItsLine) {
  const std::string message = MessageOf("\n= 3\n");
  EXPECT_THAT(message, testing::StartsWith("c.toml:5: "));
  EXPECT_THAT(LoadText("hypervisor = 3"),
              IsError(Code::kInvalidArgument, "c.toml:1: hypervisor: expected a table, found an integer"));
  EXPECT_THAT(LoadText("[runtime]\n"),
              IsError(Code::kInvalidArgument, "c.toml: there is no table [hypervisor.qemu]"));
}

TEST_F(ConfigTest, GuestFilesMustBeThere) {
  EXPECT_THAT(LoadText("[hypervisor.qemu]\n"),
              IsError(Code::kInvalidArgument, "c.toml: hypervisor.qemu.kernel: it is not set"));
  EXPECT_THAT(LoadText("[hypervisor.qemu]\nkernel = \"/nosuch/kernel\"\n"),
              IsError(Code::kInvalidArgument,
                      "c.toml:2: hypervisor.qemu.kernel: '/nosuch/kernel': No such file or directory"));
  EXPECT_THAT(
      LoadText(fmt::format("[hypervisor.qemu]\nkernel = \"{}\"\n", Path("vmlinux"))),
      IsError(Code::kInvalidArgument, "c.toml: hypervisor.qemu.initrd: neither 'image' nor 'initrd' is set"));
}

TEST_F(ConfigTest, AnImageTakesThePlaceOfAnInitrd) {
  const std::string text =
      fmt::format("[hypervisor.qemu]\nkernel = \"{}\"\nimage = \"{}\"\n", Path("vmlinux"), Path("initrd"));
  ASSERT_OK_AND_ASSIGN(const Config plain, LoadText(text));
  EXPECT_EQ(plain.hypervisor.image, Path("initrd"));
  EXPECT_EQ(plain.hypervisor.rootfs_type, "ext4");
  ASSERT_OK_AND_ASSIGN(const Config erofs, LoadText(text + "rootfs_type = \"erofs\"\n"));
  EXPECT_EQ(erofs.hypervisor.rootfs_type, "erofs");
  EXPECT_EQ(MessageOf("rootfs_type = \"btrfs\""),
            "c.toml:4: hypervisor.qemu.rootfs_type: 'btrfs' is not one of ext4, xfs, erofs");
}

TEST_F(ConfigTest, ADebugConsoleNeedsAShell) {
  const std::string console = "[agent.kata]\ndebug_console_enabled = true\n";
  ASSERT_OK_AND_ASSIGN(const Config initrd, LoadText(Complete(console)));
  EXPECT_THAT(initrd.warnings, ElementsAre(HasSubstr("c.toml:5: agent.kata.debug_console_enabled: it needs a "
                                                     "guest with a shell")));
  ASSERT_OK_AND_ASSIGN(const Config image,
                       LoadText(fmt::format("[hypervisor.qemu]\nkernel = \"{}\"\nimage = \"{}\"\n{}",
                                            Path("vmlinux"), Path("initrd"), console)));
  EXPECT_THAT(image.warnings, IsEmpty());
}

TEST_F(ConfigTest, MemoryMustHoldTheInitrd) {
  std::filesystem::resize_file(Path("initrd"), 200u << 20);
  EXPECT_EQ(
      MessageOf("default_memory = 128"),
      fmt::format("c.toml:4: hypervisor.qemu.default_memory: 128 MiB of memory is too small for the initrd "
                  "'{}' of 201 MiB",
                  Path("initrd")));
  EXPECT_EQ(MessageOf("default_memory = 256"), "no error");
}

TEST_F(ConfigTest, ProgramsThatAreNotNamedAreLookedFor) {
  std::filesystem::remove(Path("virtiofsd"));
  EXPECT_EQ(MessageOf(""),
            fmt::format("c.toml: hypervisor.qemu.virtio_fs_daemon: it is not set, and there is no "
                        "'{}' or '{}'",
                        Path("novirtiofsd"), Path("virtiofsd")));
  EXPECT_EQ(MessageOf("shared_fs = \"virtio-9p\""), "no error");
}

TEST_F(ConfigTest, UnusedAndUnknownKeysAreWarnings) {
  ASSERT_OK_AND_ASSIGN(const Config config, LoadText(Complete(R"(rootless = true
no_such_key = 1
[factory]
enable_template = true
[agent.kata]
enable_tracing = true
[agent.other]
[runtime]
vfio_mode = "vfio"
internetworking_model = "macvtap"
[surprise]
)")));
  EXPECT_THAT(config.warnings, testing::UnorderedElementsAre(
                                   "c.toml:4: key 'hypervisor.qemu.rootless' is not used by this version",
                                   "c.toml:5: key 'hypervisor.qemu.no_such_key' is unknown",
                                   "c.toml:7: key 'factory.enable_template' is not used by this version",
                                   "c.toml:9: key 'agent.kata.enable_tracing' is not used by this version",
                                   "c.toml:10: key 'agent.other' is unknown",
                                   "c.toml:12: key 'runtime.vfio_mode' is not used by this version",
                                   "c.toml:14: key 'surprise' is unknown"));
}

TEST_F(ConfigTest, UnusedKeysThatAskForNothingAreOneNote) {
  ASSERT_OK_AND_ASSIGN(const Config config, LoadText(Complete(R"(memory_slots = 10
rootless = false
block_device_driver = "virtio-scsi"
default_bridges = 2
disable_block_device_use = false
vhost_user_store_path = ""
valid_vhost_user_store_paths = ["/var/run/kata-containers/vhost-user"]
overhead_vcpus = 0.2
pflashes = []
numa_mapping = ["0"]
[runtime]
sandbox_bind_mounts = []
experimental = []
)")));
  EXPECT_THAT(
      config.notes,
      ElementsAre(
          "c.toml: not used by this version, and left as they are in Kata's own files: "
          "hypervisor.qemu.memory_slots (line 4), hypervisor.qemu.rootless (line 5), "
          "hypervisor.qemu.block_device_driver (line 6), hypervisor.qemu.vhost_user_store_path (line 9), "
          "hypervisor.qemu.valid_vhost_user_store_paths (line 10), hypervisor.qemu.overhead_vcpus (line 11), "
          "hypervisor.qemu.pflashes (line 12), runtime.sandbox_bind_mounts (line 15), "
          "runtime.experimental (line 16)"));
  EXPECT_THAT(config.warnings,
              testing::UnorderedElementsAre(
                  "c.toml:7: key 'hypervisor.qemu.default_bridges' is not used by this version",
                  "c.toml:8: key 'hypervisor.qemu.disable_block_device_use' is not used by this version",
                  "c.toml:13: key 'hypervisor.qemu.numa_mapping' is not used by this version"));
}

TEST_F(ConfigTest, AnnotationsChangeWhatIsEnabled) {
  ASSERT_OK_AND_ASSIGN(
      const Config config,
      LoadAnnotated("enable_annotations = [\"^default_\", \"kernel_params\", \"virtio_fs\", \"path\", "
                    "\"enable_.*\"]\nkernel_params = \"a=1\"\nvalid_hypervisor_paths = [\"" +
                        Path("*") + "\"]\n",
                    {{"hypervisor.default_memory", "2048"},
                     {"hypervisor.default_vcpus", "1.5"},
                     {"hypervisor.default_max_vcpus", "3"},
                     {"hypervisor.kernel_params", "b=2 c"},
                     {"hypervisor.path", Path("qemu")},
                     {"hypervisor.virtio_fs_extra_args", R"(["--a=1", "-o"])"},
                     {"hypervisor.enable_hugepages", "true"},
                     {"hypervisor.enable_mem_prealloc", "1"},
                     {"agent.kernel_modules", "e1000e a=1;dummy"},
                     {"runtime.disable_guest_seccomp", "True"},
                     {"runtime.create_container_timeout", "90"}}));
  EXPECT_EQ(config.hypervisor.default_memory_mib, 2048u);
  EXPECT_EQ(config.hypervisor.default_vcpus, 2u);
  EXPECT_EQ(config.hypervisor.default_max_vcpus, 3u);
  EXPECT_EQ(config.hypervisor.kernel_params, "a=1 b=2 c");
  EXPECT_EQ(config.hypervisor.path, Path("qemu"));
  EXPECT_THAT(config.hypervisor.virtio_fs_extra_args, ElementsAre("--a=1", "-o"));
  EXPECT_TRUE(config.hypervisor.enable_hugepages);
  EXPECT_TRUE(config.hypervisor.enable_mem_prealloc);
  EXPECT_THAT(config.agent.kernel_modules, ElementsAre("e1000e a=1", "dummy"));
  EXPECT_TRUE(config.runtime.disable_guest_seccomp);
  EXPECT_EQ(config.runtime.create_container_timeout, std::chrono::seconds(90));
  EXPECT_THAT(config.warnings, IsEmpty());
}

TEST_F(ConfigTest, AnnotationsAreRefused) {
  const std::string all = "enable_annotations = [\".*\"]\n";
  const std::string name = "io.katacontainers.config.hypervisor.";
  struct Case {
    std::string file;
    const char* annotation;
    std::string value;
    std::string message;
  };
  const Case cases[] = {
      {"", "default_memory", "2048",
       "c.toml: hypervisor.qemu.enable_annotations: it does not enable the annotation '" + name +
           "default_memory'"},
      {"enable_annotations = [\"default_vcpus\"]", "default_memory", "2048",
       "c.toml:4: hypervisor.qemu.enable_annotations: it does not enable the annotation '" + name +
           "default_memory'"},
      {"enable_annotations = [\"(\"]", "default_memory", "2048",
       "c.toml:4: hypervisor.qemu.enable_annotations: '(' is no regular expression: Unmatched ( or \\("},
      {all, "default_memory", "10",
       "annotation '" + name + "default_memory': 10 is not in the range 96 to 16777216"},
      {all, "default_memory", "many", "annotation '" + name + "default_memory': 'many' is malformed"},
      {all, "default_memory", "512\ndefault_vcpus = 2",
       "annotation '" + name + "default_memory': '512\ndefault_vcpus = 2' is malformed"},
      {all, "default_memory", "\"512\"",
       "annotation '" + name + "default_memory': expected an integer, found a string"},
      {all, "default_memory", "9000",
       "annotation '" + name +
           "default_memory': hypervisor.qemu.default_memory: 9000 MiB is more than the host's 8192 MiB"},
      {all, "default_vcpus", "5", "annotation '" + name + "default_vcpus': '5' is not in the range 1 to 4"},
      {all, "default_vcpus", "-1", "annotation '" + name + "default_vcpus': '-1' is not in the range 1 to 4"},
      {all, "enable_hugepages", "yes",
       "annotation '" + name + "enable_hugepages': 'yes' is neither true nor false"},
      {all, "shared_fs", "nfs",
       "annotation '" + name + "shared_fs': 'nfs' is not one of virtio-fs, virtio-9p"},
      {all, "path", "/bin/sh",
       "annotation '" + name + "path': '/bin/sh' matches none of the patterns of valid_hypervisor_paths"},
      {all + "valid_hypervisor_paths = [\"/usr/*/qemu\"]", "path", "/usr/../qemu",
       "annotation '" + name +
           "path': '/usr/../qemu' matches none of the patterns of valid_hypervisor_paths"},
      {all, "entropy_source", "/dev/sda",
       "annotation '" + name +
           "entropy_source': '/dev/sda' matches none of the patterns of valid_entropy_sources"},
      {all, "kernel", "/nosuch/kernel",
       "annotation '" + name +
           "kernel': hypervisor.qemu.kernel: '/nosuch/kernel': No such file or directory"},
      {all, "kernel_hash", "00", "annotation '" + name + "kernel_hash': this version checks no hashes"},
  };
  for (const Case& c : cases) {
    const Result<Config> config =
        LoadAnnotated(c.file, {{std::string("hypervisor.") + c.annotation, c.value}});
    EXPECT_EQ(config ? "no error" : config.error().message(), c.message);
  }
}

TEST_F(ConfigTest, AnnotationsThatAreNotUsedAreOneWarning) {
  ASSERT_OK_AND_ASSIGN(
      const Config config,
      LoadAnnotated(
          "enable_annotations = [\"rootless\"]\n",
          {{"hypervisor.rootless", "true"}, {"runtime.vfio_mode", "vfio"}, {"agent.", "x"}, {"", "x"}}));
  EXPECT_THAT(config.warnings, ElementsAre("annotations that are not used by this version: "
                                           "'io.katacontainers.config.', 'io.katacontainers.config.agent.', "
                                           "'io.katacontainers.config.hypervisor.rootless', "
                                           "'io.katacontainers.config.runtime.vfio_mode'"));
}

TEST_F(ConfigTest, AnAnnotatedImageTakesThePlaceOfTheInitrd) {
  ASSERT_OK(WriteFileAtomic(Path("image"), "image"));
  ASSERT_OK_AND_ASSIGN(const Config config, LoadAnnotated("enable_annotations = [\"image\"]\n",
                                                          {{"hypervisor.image", Path("image")}}));
  EXPECT_EQ(config.hypervisor.image, Path("image"));
  EXPECT_EQ(config.hypervisor.initrd, "");
}

TEST_F(ConfigTest, FilesOfConfigDWinInTheOrderOfTheirNames) {
  ASSERT_OK(
      WriteFileAtomic(Path("main.toml"),
                      Complete(fmt::format("path = \"{}\"\nvirtio_fs_daemon = \"{}\"\ndefault_memory = 100\n",
                                           Path("qemu"), Path("virtiofsd")))));
  std::filesystem::create_symlink("main.toml", Path("configuration.toml"));
  ASSERT_OK(MakeDirectories(Path("config.d")));
  ASSERT_OK(WriteFileAtomic(Path("config.d/20.toml"),
                            "[hypervisor.qemu]\ndefault_memory = 120\nmsize_9p = 9000\n"));
  ASSERT_OK(WriteFileAtomic(Path("config.d/10.toml"),
                            "[hypervisor.qemu]\ndefault_memory = 110\nmsize_9p = 8000\n"));
  ASSERT_OK(WriteFileAtomic(Path("config.d/30.toml.bak"), "not TOML"));
  ASSERT_OK_AND_ASSIGN(const Config config, Load(Path("configuration.toml"), {}));
  EXPECT_EQ(config.hypervisor.default_memory_mib, 120u);
  EXPECT_EQ(config.hypervisor.msize_9p, 9000u);
  EXPECT_EQ(config.file, Path("main.toml"));

  ASSERT_OK(WriteFileAtomic(Path("config.d/30.toml"), "[hypervisor.qemu]\n\nkernel = \"/nosuch\"\n"));
  EXPECT_THAT(
      Load(Path("configuration.toml"), {}),
      IsError(Code::kInvalidArgument,
              Path("config.d/30.toml") + ":3: hypervisor.qemu.kernel: '/nosuch': No such file or directory"));
}

TEST_F(ConfigTest, FilesThatCannotBeReadAreNamed) {
  EXPECT_THAT(
      Load("/nosuch/configuration.toml", {}),
      IsError(Code::kNotFound, "open configuration '/nosuch/configuration.toml': No such file or directory"));
  EXPECT_THAT(Load(directory_->path(), {}),
              IsError(Code::kInvalidArgument, HasSubstr("is not a regular file")));
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(Load(Path("fifo"), {}), IsError(Code::kInvalidArgument, HasSubstr("is not a regular file")));
  ASSERT_OK(WriteFileAtomic(Path("big"), std::string(2u << 20, '#')));
  EXPECT_THAT(Load(Path("big"), {}), IsErrorCode(Code::kResourceExhausted));
}

TEST(ConfigDocumentation, ShowsTheTableOfOptions) {
  const std::filesystem::path source(__FILE__);
  std::ifstream file(source.parent_path() / "../../docs/configuration.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(text, HasSubstr(OptionsAsMarkdown())) << "docs/configuration.md must contain exactly this:\n"
                                                    << OptionsAsMarkdown();
}

TEST(ConfigShippedFile, LoadsWithoutAWarning) {
  const std::filesystem::path source(__FILE__);
  std::ifstream file(source.parent_path() / "../../share/configuration-qemu.toml.in");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  ASSERT_FALSE(text.empty());
  Loader loader(Host::Detect());
  ASSERT_OK(loader.Add(text, "configuration-qemu.toml"));
  // Its kernel is not installed here, which is where the checks of files end; the warnings are complete by
  // then.
  const Result<Config> config = loader.Finish();
  EXPECT_FALSE(config);
  EXPECT_THAT(loader.warnings(), IsEmpty());
  EXPECT_THAT(loader.notes(), IsEmpty());
}

TEST(ConfigOptions, NoKeyIsBothHonouredAndUnused) {
  Config config;
  for (const Option& option : OptionsOf(config)) {
    const std::string kind = option.section == Section::kHypervisor ? "hypervisor"
                             : option.section == Section::kAgent    ? "agent"
                                                                    : "runtime";
    EXPECT_FALSE(HarmlessValueOfUnusedKey(fmt::format("{}.{}", kind, option.key))) << option.key;
  }
}

}  // namespace
}  // namespace kata::config
