// The OCI specification as it is sent to the guest: what only makes sense on the host is taken out.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/spec.h"
#include "proto/agent.pb.h"
#include "sandbox/machine.h"
#include "sandbox/stdio_traits.h"

namespace kata::sandbox {

struct GuestSpecOptions {
  std::string container_id;
  std::string bundle;  // on the host
  GuestFiles files;
  std::vector<grpc::Device> devices;  // that were plugged in for it
  bool keep_seccomp = true;           // the agent can filter system calls and the configuration lets it
  StdioTraits stdio;
};

// Hooks run on the host, but for those of the point startContainer. The guest has a network of its own, so
// the container lives in the guest's; the other namespaces are new in the guest whatever their paths are on
// the host. CPU and memory node numbers of cgroups, block devices, interfaces and security labels are the
// host's and mean nothing in the guest; memory, CPU time, process and huge page limits hold there as well.
// execCPUAffinity counts the guest's processors.
oci::Spec MakeGuestSpec(const oci::Spec& spec, const GuestSpecOptions& options);

// Refuses, before a virtual machine is started for it, what only the host's kernel could hold to: classes of
// Intel RDT and limits of RDMA devices. And what is too large for the one message by which the guest is told.
Status CheckGuestSpec(const oci::Spec& spec);
// The same for an additional process.
Status CheckGuestProcess(const oci::Process& process);

// Refuses in the same way a filter of system calls that asks a process on the host about some: that could
// neither see nor answer for processes in another kernel.
Status CheckGuestSeccomp(const oci::Spec& spec);

// The namespaces of the host that linux.namespaces names are not joined, as the guest has its own, but what a
// path leads to must be one of its type: else the specification means something else than it says.
Status CheckNamespacePaths(const oci::Spec& spec);

// MakeGuestSpec and what goes with it in the request, but for what the container shares with others.
grpc::CreateContainerRequest MakeCreateContainerRequest(const oci::Spec& spec,
                                                        const GuestSpecOptions& options);

// Whether the container shall share this namespace ("ipc") with another.
bool JoinsNamespace(const oci::Spec& spec, std::string_view type);

// An additional process: as in config.json, without the host's labels.
oci::Process MakeGuestProcess(const oci::Process& process);

// The lines of the file that the container has as /etc/resolv.conf, for CreateSandbox.dns: so the guest
// itself, and containers without such a file, find names as well. None when there is no file, or one that is
// not small. Relative sources of mounts begin at `bundle`.
std::vector<std::string> ResolverLines(const oci::Spec& spec, const std::string& bundle);

// The host name of the guest: what the specification says, else that of this process, which a new uts
// namespace on the host would begin with and a shared one has.
std::string GuestHostName(const oci::Spec& spec);

// Limits that hold inside the guest.
oci::Resources MakeGuestResources(const oci::Resources& resources);

}  // namespace kata::sandbox
