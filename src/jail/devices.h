// /dev of a container: the default devices, those of the spec, links.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "oci/spec.h"

namespace kata::jail {

// /dev/null, zero, full, random, urandom, tty, then `spec.linux.devices`; a device of the spec with the same
// path replaces a default one.
std::vector<oci::Device> DevicesOf(const oci::Spec& spec);

// Detached mounts of a node for each device, in their order, without one for a pipe: mknod(2) of devices is
// forbidden in a user namespace, so they are made before it is entered, in a file system of their own that is
// mounted on the directory `place` meanwhile. Ids of owners are the container's; whose is not said belongs to
// nobody there, as under a runtime that mounts the host's nodes.
Result<std::vector<UniqueFd>> DetachDevices(const oci::Spec& spec, const std::vector<oci::Device>& devices,
                                            const std::string& place);

// Creates the nodes below `root_fd`; an existing node of the same type and number is kept, other files that
// are no directory are replaced. Where `nodes` of DetachDevices are given they are mounted instead.
Status CreateDevices(int root_fd, const std::vector<oci::Device>& devices,
                     const std::vector<UniqueFd>& nodes);

// /dev/fd, stdin, stdout, stderr, core, ptmx.
Status CreateDeviceLinks(int root_fd);

}  // namespace kata::jail
