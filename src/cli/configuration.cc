#include "cli/configuration.h"

#include "base/log.h"

namespace kata::cli {

Result<config::Config> LoadConfiguration(const GlobalOptions& globals) {
  config::Config config = TRY(config::Load(globals.config));
  if (config.runtime.enable_debug) log::SetLevel(log::Level::kDebug);
  for (const std::string& warning : config.warnings) log::Warning(warning);
  return config;
}

}  // namespace kata::cli
