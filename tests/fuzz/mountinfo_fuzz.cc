// Fuzz target: the parser of /proc/<pid>/mountinfo.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "linux/mountinfo.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto mounts = kata::linux::ParseMountInfo(text);
  if (!mounts) return 0;
  for (const auto& mount : *mounts) {
    // Unescaping never lengthens, and what was accepted has all required fields.
    if (mount.mount_point.empty() || mount.fs_type.empty() || mount.mount_point.size() > size)
      __builtin_trap();
    (void)mount.HasOption("ro");
  }
  return 0;
}
