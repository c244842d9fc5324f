// MakeVmSpec.
#include "sandbox/machine_spec.h"

#include <fmt/format.h>

#include <sstream>
#include <utility>

#include "hypervisor/driver.h"
#include "protocol/constants.h"

namespace kata::sandbox {
namespace {

// For networks that a running container is connected to. Each port makes every boot a little longer
// (docs/network.md).
constexpr uint32_t kHotplugPorts = 2;

hypervisor::Acceleration ToAcceleration(const std::string& name) {
  if (name == "kvm") return hypervisor::Acceleration::kKvm;
  if (name == "tcg") return hypervisor::Acceleration::kTcg;
  return hypervisor::Acceleration::kAuto;
}

std::vector<std::string> KernelParameters(const config::Config& config,
                                          const std::vector<std::string>& channel_parameters) {
  // A panic ends the VMM, and so the wait for the guest, after one second.
  std::vector<std::string> parameters = {"panic=1"};
  if (!config.hypervisor.enable_debug) parameters.push_back("quiet");
  parameters.push_back(
      fmt::format("{}={}", protocol::kOptionLog, config.agent.enable_debug ? "debug" : "info"));
  if (config.agent.debug_console_enabled) {
    parameters.emplace_back(protocol::kOptionDebugConsole);
    parameters.push_back(
        fmt::format("{}={}", protocol::kOptionDebugConsolePort, protocol::kDebugConsolePort));
  }
  parameters.insert(parameters.end(), channel_parameters.begin(), channel_parameters.end());
  std::istringstream words(config.hypervisor.kernel_params);
  for (std::string word; words >> word;) parameters.push_back(word);
  return parameters;
}

}  // namespace

hypervisor::VmSpec MakeVmSpec(const config::Config& config, const std::string& sandbox_id, MachineSize size,
                              const std::vector<std::string>& channel_parameters) {
  const config::HypervisorConfig& from = config.hypervisor;
  hypervisor::VmSpec spec;
  spec.id = sandbox_id;
  spec.vmm_path = from.path;
  spec.valid_vmm_paths = from.valid_hypervisor_paths;
  spec.machine_type = from.machine_type;
  spec.machine_accelerators = from.machine_accelerators;
  spec.cpu_features = from.cpu_features;
  spec.acceleration = ToAcceleration(from.acceleration);
  // Nothing is hot-plugged: the guest is not made to reserve for what will not come.
  spec.vcpus = size.vcpus;
  spec.max_vcpus = size.vcpus;
  spec.memory_mib = size.memory_mib;
  spec.max_memory_mib = size.memory_mib;
  spec.shared_memory = from.shared_fs == "virtio-fs";
  spec.prealloc_memory = from.enable_mem_prealloc;
  spec.hugepages = from.enable_hugepages;
  spec.free_page_reporting = from.reclaim_guest_freed_memory;
  spec.kernel = from.kernel;
  spec.initrd = from.initrd;
  spec.image = from.image;
  spec.firmware = from.firmware;
  spec.hotplug_ports = config.runtime.internetworking_model == "none" ? 0 : kHotplugPorts;
  spec.seccomp_sandbox = from.seccomp_sandbox;
  spec.entropy_source = from.entropy_source;
  spec.kernel_parameters = KernelParameters(config, channel_parameters);
  spec.debug = from.enable_debug;
  return spec;
}

cgroup::Overhead MachineOverhead(const config::Config& config, MachineSize size) {
  constexpr uint64_t kMiB = 1u << 20;
  // VMM and virtiofsd with their queues and page tables.
  constexpr uint64_t kMonitor = 256 * kMiB;
  // QEMU's emulator keeps the code that it has translated: 1 GiB at most.
  constexpr uint64_t kTranslatedCode = 1024 * kMiB;
  const bool emulates = hypervisor::ResolveAcceleration(ToAcceleration(config.hypervisor.acceleration)) ==
                        hypervisor::Acceleration::kTcg;
  return {.vm_memory_bytes = size.memory_mib * kMiB,
          .vmm_bytes = kMonitor + (emulates ? kTranslatedCode : 0)};
}

}  // namespace kata::sandbox
