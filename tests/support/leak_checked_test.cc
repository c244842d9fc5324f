#include "support/leak_checked_test.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>

namespace kata::test {
namespace {

namespace fs = std::filesystem;
using Items = std::set<std::string>;

// The mount namespace of the tests, and of the processes that they start; empty without the right to make
// one.
std::string own_mounts;

// Everything else on the machine mounts as well, and names network namespaces, while the tests run: they have
// a view of their own, which only they change. Before the first test, as all its threads shall have it; not
// before main, as some programs under test are this one.
class OwnMounts : public testing::Environment {
 public:
  void SetUp() override {
    constexpr char kNamedNetworks[] = "/run/netns";
    if (geteuid() != 0) return;
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount("", "/", "", MS_REC | MS_PRIVATE, nullptr), 0);
    fs::create_directories(kNamedNetworks);
    ASSERT_EQ(mount("tmpfs", kNamedNetworks, "tmpfs", 0, nullptr), 0);
    own_mounts = fs::read_symlink("/proc/self/ns/mnt");
  }
};
[[maybe_unused]] const testing::Environment* const kOwnMounts =
    testing::AddGlobalTestEnvironment(new OwnMounts);  // gtest deletes it

std::string ReadText(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::set<std::string> Names(const fs::path& directory) {
  Items names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    names.insert(entry->path().filename());
  }
  return names;
}

Items FileDescriptors() {
  Items items;
  const fs::path directory = "/proc/self/fd";
  for (const std::string& name : Names(directory)) {
    std::error_code error;
    const fs::path target = fs::read_symlink(directory / name, error);
    // The descriptor of the listing itself is closed by now.
    if (error || fcntl(std::stoi(name), F_GETFD) < 0) continue;
    items.insert(name + " -> " + target.string());
  }
  return items;
}

// Children, from /proc/<pid>/stat, because /proc/<pid>/task/<tid>/children is a kernel option; and what those
// have left behind, which is seen by its mount namespace.
Items Processes() {
  Items items;
  const std::string self = std::to_string(getpid());
  for (const std::string& name : Names("/proc")) {
    if (name == self || name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = ReadText(fs::path("/proc") / name / "stat");
    const size_t name_end = stat.rfind(')');
    if (name_end == std::string::npos) continue;
    std::istringstream fields(stat.substr(name_end + 1));
    std::string state, parent;
    fields >> state >> parent;
    std::error_code error;
    const fs::path mounts = fs::read_symlink(fs::path("/proc") / name / "ns/mnt", error);
    if (parent != self && (own_mounts.empty() || mounts != own_mounts)) continue;
    items.insert(stat.substr(0, name_end + 1) + (parent == self && state == "Z" ? ", not reaped" : ""));
  }
  return items;
}

Items Threads() {
  Items items;
  for (const std::string& tid : Names("/proc/self/task")) items.insert(tid);
  return items;
}

Items Mounts() {
  Items items;
  std::istringstream lines(ReadText("/proc/self/mountinfo"));
  for (std::string line; std::getline(lines, line);) items.insert(line);
  return items;
}

// Those with a name, and those that a thread of this process is in.
Items NetworkNamespaces() {
  Items items = Names("/run/netns");
  for (const std::string& tid : Names("/proc/self/task")) {
    std::error_code error;
    const fs::path target = fs::read_symlink(fs::path("/proc/self/task") / tid / "ns/net", error);
    if (!error) items.insert(target.string());
  }
  return items;
}

}  // namespace

SystemState SystemState::Capture() {
  SystemState state;
  state.items["file descriptor"] = FileDescriptors();
  state.items["process"] = Processes();
  state.items["thread"] = Threads();
  state.items["mount"] = Mounts();
  state.items["network namespace"] = NetworkNamespaces();
  state.items["network interface"] = Names("/sys/class/net");
  return state;
}

std::string SystemState::AddedSince(const SystemState& before) const {
  std::string added;
  for (const auto& [topic, now] : items) {
    const auto old = before.items.find(topic);
    for (const std::string& item : now) {
      if (old == before.items.end() || !old->second.contains(item)) added += topic + " " + item + "\n";
    }
  }
  return added;
}

LeakCheckedTest::LeakCheckedTest() {
#if defined(__SANITIZE_THREAD__)
  // The sanitizer starts its background thread with the program's first thread.
  std::thread([] {}).join();
#endif
  before_ = SystemState::Capture();
}

LeakCheckedTest::~LeakCheckedTest() {
  constexpr auto kSettleTime = std::chrono::seconds(3);
  const auto end = std::chrono::steady_clock::now() + kSettleTime;
  std::string added = SystemState::Capture().AddedSince(before_);
  while (!added.empty() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    added = SystemState::Capture().AddedSince(before_);
  }
  EXPECT_EQ(added, "") << "the test left this behind";
}

}  // namespace kata::test
