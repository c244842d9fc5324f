#include "agent/kernel_modules.h"

#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "agent/guest_program.h"
#include "base/file.h"

namespace kata::agent {
namespace {

constexpr std::chrono::seconds kModprobeTimeout{30};

// Whether the list that comes with a kernel's modules says that the kernel has it; lines are
// "kernel/fs/ext4/ext4.ko".
bool ListedAsBuiltIn(const std::string& name) {
  utsname system{};
  if (uname(&system) != 0) return false;
  const Result<std::string> list = ReadFile(fmt::format("/lib/modules/{}/modules.builtin", system.release));
  if (!list) return false;
  std::string text = "\n" + *list;
  std::replace(text.begin(), text.end(), '-', '_');
  return text.contains(fmt::format("/{}.ko\n", name));
}

}  // namespace

Status ProvideKernelModule(const grpc::KernelModule& module) {
  const std::string& name = module.name();
  if (name.empty() || name.contains('/') || name[0] == '.' || name[0] == '-') {
    return MakeError(Code::kInvalidArgument, "invalid kernel module name '{}'", name);
  }
  // The kernel writes '_' where a file's name may have '-'.
  std::string kernel_name = name;
  std::replace(kernel_name.begin(), kernel_name.end(), '-', '_');
  if (PathExists("/sys/module/" + kernel_name) || ListedAsBuiltIn(kernel_name)) return {};
  const Result<std::string> modprobe = FindGuestProgram("modprobe");
  if (!modprobe) {
    return MakeError(
        Code::kFailedPrecondition,
        "load kernel module '{}': not built into the guest kernel, and the guest has no modprobe", name);
  }
  GuestProgram program{*modprobe, {name}, {}, {}};
  program.args.insert(program.args.end(), module.parameters().begin(), module.parameters().end());
  TRY_CTX(RunGuestProgram(program, Deadline::After(kModprobeTimeout)), "load kernel module '{}'", name);
  return {};
}

}  // namespace kata::agent
