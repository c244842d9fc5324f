#include "agent/swap.h"

#include <sys/swap.h>

#include "agent/device/finder.h"

namespace kata::agent {
namespace {

Status SwapOn(const BlockDevice& device) {
  if (swapon(device.node.c_str(), 0) != 0) return SysError("swap on '{}'", device.node);
  return {};
}

}  // namespace

Status AddSwapByPciPath(const std::vector<uint32_t>& slots, std::chrono::seconds hotplug_timeout) {
  std::string path;
  for (const uint32_t slot : slots) path += fmt::format("{}{:02x}", path.empty() ? "" : "/", slot);
  return SwapOn(TRY(DeviceFinder().BlockByPciPath(path, Deadline::After(hotplug_timeout))));
}

Status AddSwapByNode(const std::string& node, std::chrono::seconds hotplug_timeout) {
  return SwapOn(TRY(DeviceFinder().BlockByNode(node, Deadline::After(hotplug_timeout))));
}

}  // namespace kata::agent
