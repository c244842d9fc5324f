#include "agent/cpu_memory.h"

#include <cctype>

#include "agent/device/finder.h"
#include "base/file.h"

namespace kata::agent {
namespace {

// Entries "<prefix><number>" of a directory.
Result<std::vector<std::string>> ListNumbered(const std::string& directory, const std::string& prefix) {
  std::vector<std::string> names = TRY(ListDirectory(directory));
  std::erase_if(names, [&](const std::string& name) {
    return !name.starts_with(prefix) || name.size() == prefix.size() ||
           !std::isdigit(static_cast<unsigned char>(name[prefix.size()]));
  });
  return names;
}

}  // namespace

Status OnlineCpus(uint32_t count, Deadline deadline, const std::string& sys_root) {
  const std::string directory = sys_root + "/devices/system/cpu";
  uint32_t online = 0;
  const auto look = [&]() -> Result<bool> {
    for (const std::string& name : TRY(ListNumbered(directory, "cpu"))) {
      if (online == count) break;
      // CPUs that cannot go offline have no such file.
      const std::string knob = fmt::format("{}/{}/online", directory, name);
      const Result<std::string> state = ReadFile(knob);
      if (!state || !state->starts_with('0')) continue;
      TRY_CTX(WriteKnob(knob, "1"), "bring '{}' online", name);
      ++online;
    }
    return online == count;
  };
  const bool all = TRY(AwaitDevice(look, deadline));
  if (!all) return MakeError(Code::kDeadlineExceeded, "{} of {} CPUs appeared", online, count);
  return {};
}

Status OnlineMemory(const std::string& sys_root) {
  const std::string directory = sys_root + "/devices/system/memory";
  if (!PathExists(directory)) return {};  // a kernel without memory hotplug
  for (const std::string& name : TRY(ListNumbered(directory, "memory"))) {
    const std::string knob = fmt::format("{}/{}/state", directory, name);
    const Result<std::string> state = ReadFile(knob);
    if (!state || !state->starts_with("offline")) continue;
    const Status written = WriteKnob(knob, "online");
    // The kernel brings most of it online itself, and refuses to do so twice.
    const Result<std::string> now = ReadFile(knob);
    if (!written && !(now && now->starts_with("online"))) {
      return Error(written.error()).Wrap(fmt::format("bring '{}' online", name));
    }
  }
  return {};
}

Status ProbeMemory(const std::vector<uint64_t>& addresses, const std::string& sys_root) {
  const std::string knob = sys_root + "/devices/system/memory/probe";
  if (!PathExists(knob)) {
    return Error(Code::kUnimplemented, "the guest's kernel finds memory itself: it has no probe interface");
  }
  for (const uint64_t address : addresses) {
    TRY_CTX(WriteKnob(knob, fmt::format("{:#x}", address)), "probe memory at {:#x}", address);
  }
  return {};
}

}  // namespace kata::agent
