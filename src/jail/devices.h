// /dev of a container: the default devices, those of the spec, links.
#pragma once

#include <vector>

#include "base/result.h"
#include "oci/spec.h"

namespace kata::jail {

// /dev/null, zero, full, random, urandom, tty, then `spec.linux.devices`; a device of the spec with the same
// path replaces a default one.
std::vector<oci::Device> DevicesOf(const oci::Spec& spec);

struct DeviceContext {
  int root_fd = -1;
  // mknod(2) of devices is forbidden in a user namespace: the agent's nodes are bind mounted instead.
  bool user_namespace = false;
};

// Creates the nodes; an existing node of the same type and number is kept, other files that are no directory
// are replaced.
Status CreateDevices(const DeviceContext& context, const std::vector<oci::Device>& devices);

// /dev/fd, stdin, stdout, stderr, core, ptmx.
Status CreateDeviceLinks(int root_fd);

}  // namespace kata::jail
