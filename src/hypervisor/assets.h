// The check of what Driver::Plan, being pure, cannot see: whether the files of a VmSpec are there and fit.
#pragma once

#include "base/result.h"
#include "hypervisor/vm_spec.h"

namespace kata::hypervisor {

// The VMM is an executable file, kernel, initrd, image and firmware (if a path) are files that are not empty,
// 9p shares are directories, kernel and initrd fit into the guest's memory. An error names the object: "guest
// kernel '/x/vmlinux': No such file or directory". Vm::Start calls it; call it earlier to fail before
// anything has been set up.
Status CheckAssets(const VmSpec& spec);

}  // namespace kata::hypervisor
