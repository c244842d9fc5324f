// Guest PCI paths: where a device sits, told by the slots on the way to it, since bus numbers are the guest's
// own choice and unknown to the host.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kata::agent {

// "02/03": slot 2 on the root bus is a bridge, behind which slot 3 is the device. Each part is hexadecimal
// and may name a function: "02.1".
struct PciPath {
  struct Slot {
    unsigned slot = 0;      // up to 31
    unsigned function = 0;  // up to 7
    friend bool operator==(const Slot&, const Slot&) = default;
  };
  unsigned root_bus = 0;
  std::vector<Slot> slots;

  // Three parts of which the first is 20 or above: that is the bus number of a root bus of its own
  // (pxb-pcie). kInvalidArgument for another form.
  static Result<PciPath> Parse(std::string_view text);
};

// The directory of the device below `sys_root` ("/sys"), nullopt while there is none (yet). Its last part is
// the address, "0000:01:03.0".
Result<std::optional<std::string>> ResolvePciPath(const std::string& sys_root, const PciPath& path);

}  // namespace kata::agent
