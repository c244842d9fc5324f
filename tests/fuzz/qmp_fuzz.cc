// QMP lines as a QEMU may write them that the guest has taken over.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "hypervisor/qemu/qmp.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kata::hypervisor::qemu;
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const kata::Result<QmpMessage> message = ParseQmpLine(line);
  if (!message) {
    // A refusal is one printable cause, whatever the line held.
    if (message.error().message().find('\n') != std::string::npos) abort();
    return 0;
  }
  if (const auto* event = std::get_if<QmpEvent>(&*message); event != nullptr && !event->data.is_object())
    abort();
  return 0;
}
