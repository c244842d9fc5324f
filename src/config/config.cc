// Finding and reading the configuration's files.
#include "config/config.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "config/loader.h"

namespace kata::config {
namespace {

constexpr size_t kMaxFileBytes = 1u << 20;
constexpr size_t kMaxDropIns = 1000;

// With every symbolic link resolved.
Result<std::string> RealPath(const std::string& path) {
  const std::unique_ptr<char, decltype(&free)> resolved(realpath(path.c_str(), nullptr), &free);
  if (!resolved) return SysError("open configuration '{}'", path);
  return std::string(resolved.get());
}

Result<std::string> ReadRegularFile(const std::string& path) {
  // Without O_NONBLOCK the open of a FIFO would wait for a writer.
  const UniqueFd fd = TRY(Open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat info{};
  if (fstat(fd.get(), &info) < 0) return SysError("stat '{}'", path);
  if (!S_ISREG(info.st_mode)) return MakeError(Code::kInvalidArgument, "'{}' is not a regular file", path);
  return TRY_CTX(ReadFd(fd.get(), kMaxFileBytes), "'{}'", path);
}

Status AddFile(Loader& loader, const std::string& file) {
  const std::string text = TRY_CTX(ReadRegularFile(file), "read configuration");
  return loader.Add(text, file);
}

Status AddDropIns(Loader& loader, const std::string& main_file) {
  const std::string directory = main_file.substr(0, main_file.find_last_of('/')) + "/config.d";
  Result<std::vector<std::string>> names = ListDirectory(directory);
  if (!names) {
    if (names.error().code() == Code::kNotFound) return {};
    return std::move(names).error().Wrap("read configuration");
  }
  std::erase_if(*names,
                [](const std::string& name) { return name.starts_with('.') || !name.ends_with(".toml"); });
  if (names->size() > kMaxDropIns) {
    return MakeError(Code::kResourceExhausted, "read configuration: '{}' has more than {} files", directory,
                     kMaxDropIns);
  }
  for (const std::string& name : *names) TRY(AddFile(loader, fmt::format("{}/{}", directory, name)));
  return {};
}

Result<std::string> FindFile(const std::optional<std::string>& explicit_path) {
  if (explicit_path) return RealPath(*explicit_path);
  const std::vector<std::string> paths = DefaultPaths();
  const auto found = std::find_if(paths.begin(), paths.end(), PathExists);
  if (found == paths.end()) {
    return MakeError(Code::kNotFound, "find configuration: there is no '{}'", fmt::join(paths, "' or '"));
  }
  return RealPath(*found);
}

}  // namespace

std::vector<std::string> DefaultPaths() {
  std::vector<std::string> paths = {"/etc/kata-containers/configuration.toml",
                                    "/usr/share/defaults/kata-containers/configuration.toml"};
  // Installed elsewhere: what belongs to <prefix>/bin/kata-runtime is below the same prefix.
  const std::unique_ptr<char, decltype(&free)> program(realpath("/proc/self/exe", nullptr), &free);
  if (program) {
    std::string prefix(program.get());
    for (int part = 0; part < 2 && !prefix.empty(); ++part) prefix.erase(prefix.find_last_of('/'));
    const std::string path = prefix + "/share/defaults/kata-containers/configuration.toml";
    if (std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(path);
  }
  return paths;
}

Result<Config> Load(const std::optional<std::string>& explicit_path,
                    const std::map<std::string, std::string>& annotations) {
  const std::string file = TRY(FindFile(explicit_path));
  Loader loader(Host::Detect());
  TRY(AddFile(loader, file));
  TRY(AddDropIns(loader, file));
  TRY(loader.Annotate(annotations));
  return loader.Finish();
}

}  // namespace kata::config
