// configuration.toml: any bytes give a configuration or an error, never a crash.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "config/loader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kata::config::Host host;
  host.cpus = 4;
  host.memory_mib = 8192;
  kata::config::Loader loader(host);
  if (loader.Add(std::string_view(reinterpret_cast<const char*>(data), size), "c.toml"))
    (void)loader.Finish();
  return 0;
}
