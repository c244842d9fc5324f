// MakeVmSpec.
#include "sandbox/machine_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "hypervisor/driver.h"
#include "protocol/constants.h"

namespace kata::sandbox {
namespace {

// For networks that a container is connected to when its machine runs: by Docker from 28 on also those that
// it begins with. Each port makes every boot a little longer (docs/network.md).
constexpr uint32_t kHotplugPorts = 4;

hypervisor::Acceleration ToAcceleration(const std::string& name) {
  if (name == "kvm") return hypervisor::Acceleration::kKvm;
  if (name == "tcg") return hypervisor::Acceleration::kTcg;
  return hypervisor::Acceleration::kAuto;
}

uint32_t MaxVcpus(const config::Config& config, MachineSize size) {
  // Linux believes that a processor may come later only when it sees a hypervisor that it knows
  // (acpi_is_processor_usable in arch/x86/kernel/acpi/boot.c), and QEMU's emulator is none.
  if (config.runtime.static_sandbox_resource_mgmt || EmulatesProcessors(config)) return size.vcpus;
  return std::max(size.vcpus, config.hypervisor.default_max_vcpus);
}

uint64_t MaxMemoryMib(const config::Config& config, MachineSize size) {
  const config::HypervisorConfig& from = config.hypervisor;
  // Memory that is set aside at the start is all there is.
  if (config.runtime.static_sandbox_resource_mgmt || from.enable_mem_prealloc || from.enable_hugepages) {
    return size.memory_mib;
  }
  // QEMU's emulator has 40 bits of physical addresses, for devices as well.
  constexpr uint64_t kMaxEmulatedMib = 256 << 10;
  uint64_t max_mib = from.default_max_memory_mib;
  if (EmulatesProcessors(config)) max_mib = std::min(max_mib, kMaxEmulatedMib);
  if (max_mib <= size.memory_mib) return size.memory_mib;
  return max_mib - (max_mib - size.memory_mib) % hypervisor::kMemoryUnitMib;
}

std::vector<std::string> KernelParameters(const config::Config& config,
                                          const std::vector<std::string>& channel_parameters) {
  // A panic ends the VMM, and so the wait for the guest, after one second.
  std::vector<std::string> parameters = {"panic=1"};
  if (!config.hypervisor.enable_debug) parameters.push_back("quiet");
  parameters.push_back(
      fmt::format("{}={}", protocol::kOptionLog, config.agent.enable_debug ? "debug" : "info"));
  if (config.agent.debug_console_enabled) parameters.emplace_back(protocol::kOptionDebugConsole);
  // For an image whose init is systemd; any other ignores them. The network is the agent's to set up.
  if (!config.hypervisor.image.empty()) {
    for (const char* word : {"systemd.unit=kata-containers.target", "systemd.mask=systemd-networkd.service",
                             "systemd.mask=systemd-networkd.socket"}) {
      parameters.emplace_back(word);
    }
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
  spec.machine_type = from.machine_type;
  spec.machine_accelerators = from.machine_accelerators;
  spec.cpu_features = from.cpu_features;
  spec.acceleration = ToAcceleration(from.acceleration);
  spec.vcpus = size.vcpus;
  spec.max_vcpus = MaxVcpus(config, size);
  spec.memory_mib = size.memory_mib;
  spec.max_memory_mib = MaxMemoryMib(config, size);
  spec.shared_memory = from.shared_fs == "virtio-fs";
  spec.prealloc_memory = from.enable_mem_prealloc;
  spec.hugepages = from.enable_hugepages;
  spec.free_page_reporting = from.reclaim_guest_freed_memory;
  spec.kernel = from.kernel;
  spec.initrd = from.initrd;
  spec.image = from.image;
  spec.image_type = from.rootfs_type;
  spec.firmware = from.firmware;
  spec.hotplug_ports = config.runtime.internetworking_model == "none" ? 0 : kHotplugPorts;
  spec.seccomp_sandbox = from.seccomp_sandbox;
  spec.entropy_source = from.entropy_source;
  spec.kernel_parameters = KernelParameters(config, channel_parameters);
  return spec;
}

bool EmulatesProcessors(const config::Config& config) {
  return hypervisor::ResolveAcceleration(ToAcceleration(config.hypervisor.acceleration)) ==
         hypervisor::Acceleration::kTcg;
}

cgroup::Overhead MachineOverhead(const config::Config& config, MachineSize size) {
  constexpr uint64_t kMiB = 1u << 20;
  // VMM and virtiofsd with their queues and page tables.
  constexpr uint64_t kMonitor = 256 * kMiB;
  // QEMU's emulator keeps the code that it has translated: 1 GiB at most.
  constexpr uint64_t kTranslatedCode = 1024 * kMiB;
  return {.vm_memory_bytes = size.memory_mib * kMiB,
          .vmm_bytes = kMonitor + (EmulatesProcessors(config) ? kTranslatedCode : 0)};
}

}  // namespace kata::sandbox
