#include "agent/sandbox_namespaces.h"

#include <sched.h>
#include <unistd.h>

#include <optional>
#include <thread>
#include <utility>

namespace kata::agent {
namespace {

Result<SandboxNamespaces> CreateInThisThread(const std::string& hostname) {
  TRY(linux::Unshare(CLONE_NEWIPC | CLONE_NEWUTS));
  if (!hostname.empty() && sethostname(hostname.data(), hostname.size()) != 0) {
    return SysError("set host name '{}'", hostname);
  }
  SandboxNamespaces namespaces;
  namespaces.ipc = TRY(linux::NamespaceFd::OfProcess(0, CLONE_NEWIPC));
  namespaces.uts = TRY(linux::NamespaceFd::OfProcess(0, CLONE_NEWUTS));
  return namespaces;
}

}  // namespace

Result<SandboxNamespaces> SandboxNamespaces::Create(const std::string& hostname) {
  std::optional<Result<SandboxNamespaces>> result;
  std::thread([&] { result.emplace(CreateInThisThread(hostname)); }).join();
  if (!*result) return std::move(*result).error().Wrap("make the sandbox's namespaces");
  return std::move(*result);
}

}  // namespace kata::agent
