#include "agent/guest_hooks.h"

#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "agent/guest_program.h"
#include "base/file.h"
#include "base/log.h"

namespace kata::agent {
namespace {

constexpr std::chrono::seconds kHookTimeout{10};

Result<std::vector<std::string>> ListExecutables(const std::string& directory) {
  const Result<std::vector<std::string>> names = ListDirectory(directory);
  if (!names && names.error().code() == Code::kNotFound) return std::vector<std::string>();
  if (!names) return names.error();
  std::vector<std::string> paths;
  for (const std::string& name : *names) {
    std::string path = directory + "/" + name;
    struct stat info{};
    if (stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && access(path.c_str(), X_OK) == 0) {
      paths.push_back(std::move(path));
    }
  }
  return paths;
}

}  // namespace

GuestHooks GuestHooks::Load(const std::string& path) {
  GuestHooks hooks;
  if (path.empty()) return hooks;
  for (const auto& [name, list] :
       {std::pair("prestart", &hooks.prestart), std::pair("poststart", &hooks.poststart),
        std::pair("poststop", &hooks.poststop)}) {
    Result<std::vector<std::string>> found = ListExecutables(fmt::format("{}/{}", path, name));
    if (found) {
      *list = std::move(*found);
    } else {
      log::Warning("guest hooks cannot be read", {{"error", found.error().message()}});
    }
  }
  if (hooks.prestart.empty() && hooks.poststart.empty() && hooks.poststop.empty()) {
    log::Warning("the guest has no hooks", {{"path", path}});
  }
  return hooks;
}

Status RunHooks(const std::vector<std::string>& hooks, const oci::State& state) {
  if (hooks.empty()) return {};
  const std::string input = oci::ToJson(state);
  for (const std::string& hook : hooks) {
    TRY_CTX(RunGuestProgram({hook, {}, {}, input}, Deadline::After(kHookTimeout)), "guest hook '{}'", hook);
  }
  return {};
}

}  // namespace kata::agent
