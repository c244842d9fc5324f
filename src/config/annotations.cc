// Annotations of a container that change the configuration of its virtual machine.
#include <fnmatch.h>
#include <regex.h>

#include <algorithm>
#include <iterator>

#include "base/scope_exit.h"
#include "base/utf8.h"
#include "config/loader.h"

namespace kata::config {
namespace {

constexpr std::string_view kHypervisorPrefix = "io.katacontainers.config.hypervisor.";

struct Annotation {
  std::string_view name;  // behind kAnnotationPrefix
  Section section;
  std::string_view key;
  std::string_view valid_paths = {};  // the key of the patterns of which one must match
};

// Those of Kata Containers whose keys are used here.
constexpr Annotation kAnnotations[] = {
    {"hypervisor.path", Section::kHypervisor, "path", "valid_hypervisor_paths"},
    {"hypervisor.kernel", Section::kHypervisor, "kernel"},
    {"hypervisor.image", Section::kHypervisor, "image"},
    {"hypervisor.initrd", Section::kHypervisor, "initrd"},
    {"hypervisor.machine_type", Section::kHypervisor, "machine_type"},
    {"hypervisor.machine_accelerators", Section::kHypervisor, "machine_accelerators"},
    {"hypervisor.cpu_features", Section::kHypervisor, "cpu_features"},
    {"hypervisor.kernel_params", Section::kHypervisor, "kernel_params"},
    {"hypervisor.firmware", Section::kHypervisor, "firmware"},
    {"hypervisor.default_vcpus", Section::kHypervisor, "default_vcpus"},
    {"hypervisor.default_max_vcpus", Section::kHypervisor, "default_maxvcpus"},
    {"hypervisor.default_memory", Section::kHypervisor, "default_memory"},
    {"hypervisor.shared_fs", Section::kHypervisor, "shared_fs"},
    {"hypervisor.virtio_fs_daemon", Section::kHypervisor, "virtio_fs_daemon", "valid_virtio_fs_daemon_paths"},
    {"hypervisor.virtio_fs_cache", Section::kHypervisor, "virtio_fs_cache"},
    {"hypervisor.virtio_fs_cache_size", Section::kHypervisor, "virtio_fs_cache_size"},
    {"hypervisor.virtio_fs_extra_args", Section::kHypervisor, "virtio_fs_extra_args"},
    {"hypervisor.msize_9p", Section::kHypervisor, "msize_9p"},
    {"hypervisor.enable_mem_prealloc", Section::kHypervisor, "enable_mem_prealloc"},
    {"hypervisor.enable_hugepages", Section::kHypervisor, "enable_hugepages"},
    {"hypervisor.disable_vhost_net", Section::kHypervisor, "disable_vhost_net"},
    {"hypervisor.reclaim_guest_freed_memory", Section::kHypervisor, "reclaim_guest_freed_memory"},
    {"hypervisor.entropy_source", Section::kHypervisor, "entropy_source", "valid_entropy_sources"},
    {"hypervisor.guest_hook_path", Section::kHypervisor, "guest_hook_path"},
    {"agent.kernel_modules", Section::kAgent, "kernel_modules"},
    {"runtime.disable_guest_seccomp", Section::kRuntime, "disable_guest_seccomp"},
    {"runtime.internetworking_model", Section::kRuntime, "internetworking_model"},
    {"runtime.create_container_timeout", Section::kRuntime, "create_container_timeout"},
};

// Null: not one that is used here.
const Annotation* FindAnnotation(std::string_view name) {
  const auto* const found = std::find_if(std::begin(kAnnotations), std::end(kAnnotations),
                                         [&](const Annotation& a) { return a.name == name; });
  return found == std::end(kAnnotations) ? nullptr : found;
}

// Whether an extended regular expression matches a part of `text`.
Result<bool> Matches(const std::string& expression, const std::string& text) {
  regex_t compiled;
  if (const int error = regcomp(&compiled, expression.c_str(), REG_EXTENDED | REG_NOSUB); error != 0) {
    char reason[128];
    regerror(error, &compiled, reason, sizeof reason);
    return MakeError(Code::kInvalidArgument, "'{}' is no regular expression: {}", expression, reason);
  }
  const ScopeExit free([&] { regfree(&compiled); });
  return regexec(&compiled, text.c_str(), 0, nullptr, 0) == 0;
}

// Whether one of the expressions matches; each is looked at.
Result<bool> MatchesAny(const std::vector<std::string>& expressions, const std::string& text) {
  bool any = false;
  for (const std::string& expression : expressions) any = TRY(Matches(expression, text)) || any;
  return any;
}

bool MatchesPath(const std::vector<std::string>& patterns, const std::string& path) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    // FNM_PERIOD: no wildcard stands for "..".
    return fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME | FNM_PERIOD) == 0;
  });
}

}  // namespace

Status Loader::Annotate(const std::map<std::string, std::string>& annotations) {
  constexpr size_t kMaxNamesBytes = 1000;
  std::string unused;
  for (const auto& [name, value] : annotations) {
    if (!name.starts_with(kAnnotationPrefix)) continue;
    if (name.starts_with(kHypervisorPrefix)) TRY(CheckEnabled(name));
    if (FindAnnotation(name.substr(kAnnotationPrefix.size())) != nullptr) {
      TRY_CTX(ApplyAnnotation(name, value), "annotation '{}'", name);
    } else {
      unused += fmt::format("{}'{}'", unused.empty() ? "" : ", ", name);
    }
  }
  if (!unused.empty()) {
    config_.warnings.push_back(
        ToPlainLine("annotations that are not used by this version: " + unused, kMaxNamesBytes));
  }
  return {};
}

Status Loader::CheckEnableAnnotations() const {
  return TRY_CTX(MatchesAny(config_.hypervisor.enable_annotations, ""), "{}",
                 Where(Section::kHypervisor, "enable_annotations")),
         Status();
}

Status Loader::CheckEnabled(const std::string& name) const {
  const std::string where = Where(Section::kHypervisor, "enable_annotations");
  const std::string key = name.substr(kHypervisorPrefix.size());
  if (!TRY_CTX(MatchesAny(config_.hypervisor.enable_annotations, key), "{}", where)) {
    return MakeError(Code::kInvalidArgument, "{}: it does not enable the annotation '{}'", where, name);
  }
  // To boot a file whatever its hash is would be worse than not to boot it.
  if (key.ends_with("_hash")) {
    return MakeError(Code::kUnimplemented, "annotation '{}': this version checks no hashes", name);
  }
  return {};
}

Status Loader::ApplyAnnotation(const std::string& name, const std::string& value) {
  const Annotation& annotation = *FindAnnotation(std::string_view(name).substr(kAnnotationPrefix.size()));
  const Option& option = *FindOption(annotation.section, annotation.key);
  HypervisorConfig& hypervisor = config_.hypervisor;
  std::string text = value;
  if (annotation.key == "kernel_params" && !hypervisor.kernel_params.empty()) {
    text = fmt::format("{} {}", hypervisor.kernel_params, value);
  }
  if (!annotation.valid_paths.empty()) {
    const Option& valid = *FindOption(annotation.section, annotation.valid_paths);
    if (!MatchesPath(*std::get<std::vector<std::string>*>(valid.target), value)) {
      return MakeError(Code::kInvalidArgument, "'{}' matches none of the patterns of {}", value,
                       annotation.valid_paths);
    }
  }
  TRY(SetFromText(option, text));
  // One takes the place of the other.
  if (annotation.key == "image") hypervisor.initrd.clear();
  if (annotation.key == "initrd") hypervisor.image.clear();
  config_.locations[PathOf(annotation.section, annotation.key)] = fmt::format("annotation '{}'", name);
  return {};
}

}  // namespace kata::config
