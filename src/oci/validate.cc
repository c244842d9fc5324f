// The specification as a whole, and hooks.
#include "oci/json.h"
#include "oci/limits.h"
#include "oci/validation.h"

namespace kata::oci {
namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// The major number of MAJOR.MINOR.PATCH[-pre][+build] (semver.org); nullopt if it is none.
std::optional<unsigned> MajorVersion(std::string_view version) {
  const size_t core_end = std::min(version.find_first_of("-+"), version.size());
  if (core_end + 1 == version.size()) return std::nullopt;
  unsigned parts = 0;
  unsigned major = 0;
  size_t position = 0;
  while (true) {
    const size_t start = position;
    while (position < core_end && IsDigit(version[position]) && position - start < 9) {
      if (parts == 0) major = major * 10 + static_cast<unsigned>(version[position] - '0');
      ++position;
    }
    if (position == start) return std::nullopt;
    ++parts;
    if (position == core_end) break;
    if (version[position] != '.') return std::nullopt;
    ++position;
  }
  if (parts != 3) return std::nullopt;
  return major;
}

Status CheckVersion(JsonPath& path, const std::string& version) {
  TRY(CheckPresent(path, "ociVersion", version));
  const std::optional<unsigned> major = MajorVersion(version);
  if (!major)
    return Invalid(path, "ociVersion", "expected a version such as 1.2.0, found {}", Quote(version));
  if (*major > 1) return Invalid(path, "ociVersion", "version {} is not supported, 1.x is", Quote(version));
  return {};
}

Status CheckHook(JsonPath& path, const Hook& hook) {
  TRY(CheckAbsolute(path, "path", hook.path));
  if (hook.timeout_seconds && *hook.timeout_seconds <= 0) {
    return Invalid(path, "timeout", "expected seconds above 0, found {}", *hook.timeout_seconds);
  }
  return {};
}

Status CheckHooks(JsonPath& path, const Hooks& hooks) {
  const auto check = [&](const Hook& hook) { return CheckHook(path, hook); };
  TRY(CheckEach(path, "prestart", hooks.prestart, check));
  TRY(CheckEach(path, "createRuntime", hooks.create_runtime, check));
  TRY(CheckEach(path, "createContainer", hooks.create_container, check));
  TRY(CheckEach(path, "startContainer", hooks.start_container, check));
  TRY(CheckEach(path, "poststart", hooks.poststart, check));
  return CheckEach(path, "poststop", hooks.poststop, check);
}

Status CheckNodeName(JsonPath& path, std::string_view member, const std::string& name) {
  if (name.size() <= kMaxNodeNameBytes) return {};
  return Invalid(path, member, "{} bytes, the kernel takes at most {}", name.size(), kMaxNodeNameBytes);
}

Status CheckAnnotations(JsonPath& path, const StringMap& annotations) {
  size_t bytes = 0;
  TRY(CheckEach(path, "annotations", annotations,
                [&](const std::string& key, const std::string& value) -> Status {
                  bytes += key.size() + value.size();
                  if (key.empty()) return path.MakeError("empty name");
                  return {};
                }));
  if (bytes <= kMaxAnnotationsBytes) return {};
  return Invalid(path, "annotations", "{} bytes, at most {} are taken", bytes, kMaxAnnotationsBytes);
}

}  // namespace

Status Validate(const Spec& spec) {
  JsonPath path;
  TRY(CheckVersion(path, spec.oci_version));
  if (!spec.process) return Invalid(path, "process", "missing");
  {
    const ScopedStep step(path, "process");
    TRY(CheckProcess(path, *spec.process));
  }
  if (!spec.root) return Invalid(path, "root", "missing");
  {
    const ScopedStep step(path, "root");
    TRY(CheckPresent(path, "path", spec.root->path));
  }
  TRY(CheckNodeName(path, "hostname", spec.hostname));
  TRY(CheckNodeName(path, "domainname", spec.domainname));
  TRY(CheckMounts(path, spec));
  {
    const ScopedStep step(path, "hooks");
    TRY(CheckHooks(path, spec.hooks));
  }
  TRY(CheckAnnotations(path, spec.annotations));
  if (spec.linux) {
    const ScopedStep step(path, "linux");
    TRY(CheckLinux(path, *spec.linux));
  }
  return {};
}

Status Validate(const Process& process) {
  JsonPath path;
  return CheckProcess(path, process);
}

Status Validate(const Resources& resources) {
  JsonPath path;
  return CheckResources(path, resources);
}

}  // namespace kata::oci
