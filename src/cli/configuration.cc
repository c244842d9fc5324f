#include "cli/configuration.h"

#include "base/log.h"
#include "storage/virtiofsd.h"

namespace kata::cli {
namespace {

// Here, where the file can be named, and nothing has been started yet.
Status CheckVirtiofsdArguments(const config::Config& config) {
  const config::HypervisorConfig& hypervisor = config.hypervisor;
  if (hypervisor.shared_fs != "virtio-fs" || hypervisor.virtio_fs_extra_args.empty()) return {};
  constexpr std::chrono::seconds kVersionTime{10};
  const auto where = [&](const char* key) {
    return config.Where(fmt::format("hypervisor.{}.{}", config.hypervisor_name, key));
  };
  const storage::VirtiofsdKind kind =
      TRY_CTX(storage::DetectVirtiofsdKind(hypervisor.virtio_fs_daemon, Deadline::After(kVersionTime)), "{}",
              where("virtio_fs_daemon"));
  TRY_CTX(storage::CheckExtraArguments(kind, hypervisor.virtio_fs_extra_args), "{}",
          where("virtio_fs_extra_args"));
  return {};
}

}  // namespace

Result<config::Config> LoadConfiguration(const GlobalOptions& globals, const oci::StringMap& annotations) {
  config::Config config = TRY(config::Load(globals.config, annotations));
  if (config.runtime.enable_debug) log::SetLevel(log::Level::kDebug);
  for (const std::string& warning : config.warnings) log::Warning(warning);
  for (const std::string& note : config.notes) log::Info(note);
  TRY(CheckVirtiofsdArguments(config));
  return config;
}

}  // namespace kata::cli
