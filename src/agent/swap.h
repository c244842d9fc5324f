// Swap space on disks that the host has plugged in and formatted.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"

namespace kata::agent {

// The disk behind these PCI slots, as in PciPath but one slot a number. Blocks; for workers.
Status AddSwapByPciPath(const std::vector<uint32_t>& slots, std::chrono::seconds hotplug_timeout);
// A disk by its device node.
Status AddSwapByNode(const std::string& node, std::chrono::seconds hotplug_timeout);

}  // namespace kata::agent
