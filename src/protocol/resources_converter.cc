// The linux.resources section.
#include "protocol/converter.h"

namespace kata::protocol {
namespace {
// On the wire a device rule's numbers are plain: "all" is written out.
constexpr int64_t kAllDevices = -1;
}  // namespace

void Converter::Convert(const oci::DeviceRule& from, grpc::LinuxDeviceCgroup* to) {
  to->set_allow(from.allow);
  to->set_type(from.type);
  to->set_major(from.major.value_or(kAllDevices));
  to->set_minor(from.minor.value_or(kAllDevices));
  to->set_access(from.access);
}
void Converter::Convert(const grpc::LinuxDeviceCgroup& from, oci::DeviceRule* to) {
  to->allow = from.allow();
  to->type = from.type();
  if (from.major() != kAllDevices) to->major = from.major();
  if (from.minor() != kAllDevices) to->minor = from.minor();
  to->access = from.access();
}

void Converter::Convert(const oci::MemoryResources& from, grpc::LinuxMemory* to) {
  if (from.limit) to->set_limit(*from.limit);
  if (from.reservation) to->set_reservation(*from.reservation);
  if (from.swap) to->set_swap(*from.swap);
  if (from.kernel) to->set_kernel(*from.kernel);
  if (from.kernel_tcp) to->set_kerneltcp(*from.kernel_tcp);
  if (from.swappiness) to->set_swappiness(*from.swappiness);
  if (from.disable_oom_killer) to->set_disableoomkiller(*from.disable_oom_killer);
  if (from.use_hierarchy) to->set_usehierarchy(*from.use_hierarchy);
  if (from.check_before_update) to->set_checkbeforeupdate(*from.check_before_update);
}
void Converter::Convert(const grpc::LinuxMemory& from, oci::MemoryResources* to) {
  if (from.has_limit()) to->limit = from.limit();
  if (from.has_reservation()) to->reservation = from.reservation();
  if (from.has_swap()) to->swap = from.swap();
  if (from.has_kernel()) to->kernel = from.kernel();
  if (from.has_kerneltcp()) to->kernel_tcp = from.kerneltcp();
  if (from.has_swappiness()) to->swappiness = from.swappiness();
  if (from.has_disableoomkiller()) to->disable_oom_killer = from.disableoomkiller();
  if (from.has_usehierarchy()) to->use_hierarchy = from.usehierarchy();
  if (from.has_checkbeforeupdate()) to->check_before_update = from.checkbeforeupdate();
}

void Converter::Convert(const oci::CpuResources& from, grpc::LinuxCPU* to) {
  if (from.shares) to->set_shares(*from.shares);
  if (from.quota_us) to->set_quota(*from.quota_us);
  if (from.burst_us) to->set_burst(*from.burst_us);
  if (from.period_us) to->set_period(*from.period_us);
  if (from.realtime_runtime_us) to->set_realtimeruntime(*from.realtime_runtime_us);
  if (from.realtime_period_us) to->set_realtimeperiod(*from.realtime_period_us);
  to->set_cpus(from.cpus);
  to->set_mems(from.mems);
  if (from.idle) to->set_idle(*from.idle);
}
void Converter::Convert(const grpc::LinuxCPU& from, oci::CpuResources* to) {
  if (from.has_shares()) to->shares = from.shares();
  if (from.has_quota()) to->quota_us = from.quota();
  if (from.has_burst()) to->burst_us = from.burst();
  if (from.has_period()) to->period_us = from.period();
  if (from.has_realtimeruntime()) to->realtime_runtime_us = from.realtimeruntime();
  if (from.has_realtimeperiod()) to->realtime_period_us = from.realtimeperiod();
  to->cpus = from.cpus();
  to->mems = from.mems();
  if (from.has_idle()) to->idle = from.idle();
}

void Converter::Convert(const oci::WeightDevice& from, grpc::LinuxWeightDevice* to) {
  to->set_major(from.major);
  to->set_minor(from.minor);
  if (from.weight) to->set_weight(*from.weight);
  if (from.leaf_weight) to->set_leafweight(*from.leaf_weight);
}
Status Converter::Convert(const grpc::LinuxWeightDevice& from, oci::WeightDevice* to) {
  to->major = from.major();
  to->minor = from.minor();
  if (from.has_weight()) to->weight = TRY(Narrow<uint16_t>(from.weight(), "weight"));
  if (from.has_leafweight()) to->leaf_weight = TRY(Narrow<uint16_t>(from.leafweight(), "leafWeight"));
  return {};
}

void Converter::Convert(const oci::ThrottleDevice& from, grpc::LinuxThrottleDevice* to) {
  to->set_major(from.major);
  to->set_minor(from.minor);
  to->set_rate(from.rate);
}
void Converter::Convert(const grpc::LinuxThrottleDevice& from, oci::ThrottleDevice* to) {
  to->major = from.major();
  to->minor = from.minor();
  to->rate = from.rate();
}

void Converter::Convert(const oci::BlockIoResources& from, grpc::LinuxBlockIO* to) {
  if (from.weight) to->set_weight(*from.weight);
  if (from.leaf_weight) to->set_leafweight(*from.leaf_weight);
  ConvertList(from.weight_device, to->mutable_weightdevice());
  ConvertList(from.throttle_read_bps_device, to->mutable_throttlereadbpsdevice());
  ConvertList(from.throttle_write_bps_device, to->mutable_throttlewritebpsdevice());
  ConvertList(from.throttle_read_iops_device, to->mutable_throttlereadiopsdevice());
  ConvertList(from.throttle_write_iops_device, to->mutable_throttlewriteiopsdevice());
}
Status Converter::Convert(const grpc::LinuxBlockIO& from, oci::BlockIoResources* to) {
  if (from.has_weight()) to->weight = TRY(Narrow<uint16_t>(from.weight(), "weight"));
  if (from.has_leafweight()) to->leaf_weight = TRY(Narrow<uint16_t>(from.leafweight(), "leafWeight"));
  TRY_CTX(ConvertList(from.weightdevice(), &to->weight_device), "weightDevice");
  ConvertList(from.throttlereadbpsdevice(), &to->throttle_read_bps_device);
  ConvertList(from.throttlewritebpsdevice(), &to->throttle_write_bps_device);
  ConvertList(from.throttlereadiopsdevice(), &to->throttle_read_iops_device);
  ConvertList(from.throttlewriteiopsdevice(), &to->throttle_write_iops_device);
  return {};
}

void Converter::Convert(const oci::HugepageLimit& from, grpc::LinuxHugepageLimit* to) {
  to->set_pagesize(from.page_size);
  to->set_limit(from.limit);
}
void Converter::Convert(const grpc::LinuxHugepageLimit& from, oci::HugepageLimit* to) {
  to->page_size = from.pagesize();
  to->limit = from.limit();
}

void Converter::Convert(const oci::InterfacePriority& from, grpc::LinuxInterfacePriority* to) {
  to->set_name(from.name);
  to->set_priority(from.priority);
}
void Converter::Convert(const grpc::LinuxInterfacePriority& from, oci::InterfacePriority* to) {
  to->name = from.name();
  to->priority = from.priority();
}

void Converter::Convert(const oci::NetworkResources& from, grpc::LinuxNetwork* to) {
  if (from.class_id) to->set_classid(*from.class_id);
  ConvertList(from.priorities, to->mutable_priorities());
}
void Converter::Convert(const grpc::LinuxNetwork& from, oci::NetworkResources* to) {
  if (from.has_classid()) to->class_id = from.classid();
  ConvertList(from.priorities(), &to->priorities);
}

void Converter::Convert(const oci::RdmaLimit& from, grpc::LinuxRdma* to) {
  if (from.hca_handles) to->set_hcahandles(*from.hca_handles);
  if (from.hca_objects) to->set_hcaobjects(*from.hca_objects);
}
void Converter::Convert(const grpc::LinuxRdma& from, oci::RdmaLimit* to) {
  if (from.has_hcahandles()) to->hca_handles = from.hcahandles();
  if (from.has_hcaobjects()) to->hca_objects = from.hcaobjects();
}

void Converter::Convert(const oci::Resources& from, grpc::LinuxResources* to) {
  ConvertList(from.devices, to->mutable_devices());
  if (from.memory) Convert(*from.memory, to->mutable_memory());
  if (from.cpu) Convert(*from.cpu, to->mutable_cpu());
  if (from.pids_limit) to->mutable_pids()->set_limit(*from.pids_limit);
  if (from.block_io) Convert(*from.block_io, to->mutable_blockio());
  ConvertList(from.hugepage_limits, to->mutable_hugepagelimits());
  if (from.network) Convert(*from.network, to->mutable_network());
  for (const auto& [device, limit] : from.rdma) Convert(limit, &(*to->mutable_rdma())[device]);
  Convert(from.unified, to->mutable_unified());
}
Status Converter::Convert(const grpc::LinuxResources& from, oci::Resources* to) {
  ConvertList(from.devices(), &to->devices);
  if (from.has_memory()) Convert(from.memory(), &to->memory.emplace());
  if (from.has_cpu()) Convert(from.cpu(), &to->cpu.emplace());
  if (from.pids().has_limit()) to->pids_limit = from.pids().limit();
  if (from.has_blockio()) TRY_CTX(Convert(from.blockio(), &to->block_io.emplace()), "blockIO");
  ConvertList(from.hugepagelimits(), &to->hugepage_limits);
  if (from.has_network()) Convert(from.network(), &to->network.emplace());
  for (const auto& [device, limit] : from.rdma()) Convert(limit, &to->rdma[device]);
  Convert(from.unified(), &to->unified);
  return {};
}

}  // namespace kata::protocol
