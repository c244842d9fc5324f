// configuration.toml, and the values of annotations: any bytes give a configuration or an error, never a
// crash.
#include <cstddef>
#include <cstdint>
#include <string>

#include "config/loader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kata::config::Host host;
  host.cpus = 4;
  host.memory_mib = 8192;
  kata::config::Loader loader(host);
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (loader.Add(text, "c.toml")) (void)loader.Finish();

  kata::config::Loader annotated(host);
  if (annotated.Add("[hypervisor.qemu]\nenable_annotations = [\".*\"]\n", "c.toml")) {
    (void)annotated.Annotate({{"io.katacontainers.config.hypervisor.default_memory", text}});
    (void)annotated.Annotate({{"io.katacontainers.config.hypervisor.default_vcpus", text}});
    (void)annotated.Annotate({{"io.katacontainers.config.hypervisor.virtio_fs_extra_args", text}});
    (void)annotated.Annotate({{"io.katacontainers.config.agent.kernel_modules", text}});
    (void)annotated.Annotate({{"io.katacontainers.config." + text, text}});
  }
  return 0;
}
