#include "agent/sandbox_setup.h"

#include <sys/mount.h>

#include <string>
#include <utility>
#include <vector>

#include "agent/kernel_modules.h"
#include "base/file.h"
#include "base/log.h"
#include "base/scope_exit.h"
#include "linux/mounts.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

constexpr char kResolvConf[] = "/etc/resolv.conf";

Status WriteResolvConf(const grpc::CreateSandboxRequest& request) {
  if (request.dns_size() == 0) return {};
  std::string text;
  for (const std::string& line : request.dns()) text += line + "\n";
  const std::string path(protocol::kGuestResolvConf);
  TRY(WriteFileAtomic(path, text));
  // Only a guest that has the file has programs that read it.
  if (PathExists(kResolvConf)) TRY(linux::Mount(path, kResolvConf, "", MS_BIND));
  return {};
}

// The API's rule: CreateSandbox makes the run directory anew.
Status ResetRunDirectory(const Settings& settings) {
  const std::string run_directory(protocol::kGuestRunDirectory);
  if (settings.in_guest) TRY(RemoveTree(run_directory));
  TRY(MakeDirectories(run_directory, 0755));
  return MakeDirectories(std::string(protocol::kGuestSandboxDirectory), 0755);
}

}  // namespace

Result<SandboxNamespaces> SetUpSandbox(const Settings& settings, StorageTable& storages,
                                       const grpc::CreateSandboxRequest& request) {
  for (const grpc::KernelModule& module : request.kernel_modules()) TRY(ProvideKernelModule(module));
  TRY_CTX(ResetRunDirectory(settings), "make the sandbox's directories");
  ScopeExit undo([&] { (void)TearDownSandbox(storages); });
  TRY_CTX(WriteResolvConf(request), "write '{}'", protocol::kGuestResolvConf);
  std::vector<std::string> held;
  TRY(AcquireStorages(storages, request.storages(), {}, held));
  SandboxNamespaces namespaces =
      TRY(SandboxNamespaces::Create(request.hostname().substr(0, kMaxHostNameBytes)));
  undo.Release();
  return namespaces;
}

Status TearDownSandbox(StorageTable& storages) {
  Status result = storages.ReleaseAll();
  if (PathExists(kResolvConf)) {
    // Not mounted is as good.
    (void)linux::Unmount(kResolvConf, MNT_DETACH);
  }
  Status removed = RemoveTree(std::string(protocol::kGuestSandboxDirectory));
  return result ? std::move(removed) : std::move(result);
}

}  // namespace kata::agent
