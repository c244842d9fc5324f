// Keys of Kata Containers that this version accepts without using them.
#include <algorithm>
#include <iterator>

#include "config/options.h"

namespace kata::config {
namespace {

struct UnusedKey {
  std::string_view path;
  std::string_view harmless = {};  // its value in Kata's own files, where that is not simply off
};

// Sorted. Keys of the QEMU, Cloud Hypervisor and Firecracker files of both runtimes of Kata Containers 4.
constexpr UnusedKey kUnusedKeys[] = {
    {"agent.cdh_api_timeout", "50"},
    {"agent.cdh_api_timeout_ms", "50000"},
    {"agent.container_pipe_size"},
    {"agent.create_container_timeout", "30"},
    {"agent.dial_timeout_ms", "10"},
    {"agent.enable_tracing"},
    {"agent.launch_process_timeout"},
    {"agent.log_level"},
    {"agent.mem_agent"},
    {"agent.policy"},
    {"agent.reconnect_timeout_ms", "3000"},
    {"agent.visible_cdi_devices"},
    {"factory.enable_template"},
    {"factory.template_path", "/run/vc/vm/template"},
    {"factory.vm_cache_endpoint", "/var/run/kata-containers/cache.sock"},
    {"factory.vm_cache_number"},
    {"hypervisor.block_device_aio", "io_uring"},
    {"hypervisor.block_device_cache_direct"},
    {"hypervisor.block_device_cache_noflush"},
    {"hypervisor.block_device_cache_set"},
    {"hypervisor.block_device_driver", "virtio-scsi"},
    {"hypervisor.block_device_logical_sector_size"},
    {"hypervisor.block_device_physical_sector_size"},
    {"hypervisor.boot_from_template"},
    {"hypervisor.boot_to_be_template"},
    {"hypervisor.cold_plug_vfio", "no-port"},
    {"hypervisor.confidential_guest"},
    {"hypervisor.ctlpath"},
    {"hypervisor.default_bridges", "1"},
    {"hypervisor.default_gpu_model"},
    {"hypervisor.default_gpus"},
    {"hypervisor.device_state_path"},
    {"hypervisor.disable_block_device_use", "true"},
    {"hypervisor.disable_guest_selinux", "true"},
    {"hypervisor.disable_image_nvdimm"},
    {"hypervisor.disable_nesting_checks"},
    {"hypervisor.disable_seccomp"},
    {"hypervisor.disable_selinux"},
    {"hypervisor.enable_guest_swap"},
    {"hypervisor.enable_iommu"},
    {"hypervisor.enable_iommu_platform"},
    {"hypervisor.enable_iothreads"},
    {"hypervisor.enable_numa"},
    {"hypervisor.enable_vhost_user_store"},
    {"hypervisor.enable_virtio_mem"},
    {"hypervisor.extra_monitor_socket"},
    {"hypervisor.factory"},
    {"hypervisor.firmware_volume"},
    {"hypervisor.guest_extension_images"},
    {"hypervisor.guest_memory_dump_paging"},
    {"hypervisor.guest_memory_dump_path"},
    {"hypervisor.guest_swap_create_threshold_secs"},
    {"hypervisor.guest_swap_path"},
    {"hypervisor.guest_swap_size_percent"},
    {"hypervisor.hot_plug_vfio", "no-port"},
    {"hypervisor.hypervisor_loglevel", "1"},
    {"hypervisor.indep_iothreads"},
    {"hypervisor.jailer_path"},
    {"hypervisor.kernel_verity_params"},
    {"hypervisor.log_level"},
    {"hypervisor.measurement_algo", "sha512"},
    {"hypervisor.memory_offset"},
    {"hypervisor.memory_path"},
    {"hypervisor.memory_slots", "10"},
    {"hypervisor.network_queues", "1"},
    {"hypervisor.num_queues", "1"},
    {"hypervisor.numa_mapping"},
    {"hypervisor.overhead_vcpus", "0.2"},
    {"hypervisor.pcie_root_port"},
    {"hypervisor.pcie_switch_port"},
    {"hypervisor.pflashes"},
    {"hypervisor.queue_size", "128"},
    {"hypervisor.rootless"},
    {"hypervisor.rx_rate_limiter_max_rate"},
    {"hypervisor.seccomp_sandbox"},
    {"hypervisor.sev_snp_guest"},
    {"hypervisor.snp_guest_policy"},
    {"hypervisor.snp_id_auth"},
    {"hypervisor.snp_id_block"},
    {"hypervisor.tdx_quote_generation_service_socket_port"},
    {"hypervisor.tx_rate_limiter_max_rate"},
    {"hypervisor.use_legacy_serial"},
    {"hypervisor.valid_ctlpaths"},
    {"hypervisor.valid_jailer_paths"},
    {"hypervisor.valid_vhost_user_store_paths", "/var/run/kata-containers/vhost-user"},
    {"hypervisor.vhost_user_reconnect_timeout_sec"},
    {"hypervisor.vhost_user_store_path", "/var/run/kata-containers/vhost-user"},
    {"hypervisor.vm_rootfs_driver"},
    {"runtime.agent_name", "kata"},
    {"runtime.dan_conf", "/run/kata-containers/dans"},
    {"runtime.disable_guest_empty_dir", "true"},
    {"runtime.disable_new_netns"},
    {"runtime.emptydir_mode", "shared-fs"},
    {"runtime.enable_pprof"},
    {"runtime.enable_tracing"},
    {"runtime.enable_vcpus_pinning"},
    {"runtime.experimental"},
    {"runtime.experimental_force_guest_pull"},
    {"runtime.guest_selinux_label"},
    {"runtime.hypervisor_name", "qemu"},
    {"runtime.jaeger_endpoint"},
    {"runtime.jaeger_password"},
    {"runtime.jaeger_user"},
    {"runtime.keep_abnormal"},
    {"runtime.kubelet_root_dir", "/var/lib/kubelet"},
    {"runtime.log_level"},
    {"runtime.name", "virt_container"},
    {"runtime.pod_resource_api_sock", "/var/lib/kubelet/pod-resources/kubelet.sock"},
    {"runtime.sandbox_cgroup_only"},
    {"runtime.selinux_label"},
    {"runtime.shared_mounts"},
    {"runtime.vfio_mode", "guest-kernel"},
};
constexpr bool Before(const UnusedKey& key, const UnusedKey& other) {
  return key.path < other.path;
}
static_assert(std::is_sorted(std::begin(kUnusedKeys), std::end(kUnusedKeys), Before));

}  // namespace

std::optional<std::string_view> HarmlessValueOfUnusedKey(std::string_view path) {
  const auto* const found =
      std::lower_bound(std::begin(kUnusedKeys), std::end(kUnusedKeys), UnusedKey{path}, Before);
  if (found == std::end(kUnusedKeys) || found->path != path) return std::nullopt;
  return found->harmless;
}

}  // namespace kata::config
