// The linux section, except for its resources.
#include "protocol/converter.h"

namespace kata::protocol {
void Converter::Convert(const oci::Namespace& from, grpc::LinuxNamespace* to) {
  to->set_type(from.type);
  to->set_path(from.path);
}
void Converter::Convert(const grpc::LinuxNamespace& from, oci::Namespace* to) {
  to->type = from.type();
  to->path = from.path();
}

void Converter::Convert(const oci::Device& from, grpc::LinuxDevice* to) {
  to->set_path(from.path);
  to->set_type(from.type);
  to->set_major(from.major);
  to->set_minor(from.minor);
  if (from.file_mode) to->set_filemode(*from.file_mode);
  if (from.uid) to->set_uid(*from.uid);
  if (from.gid) to->set_gid(*from.gid);
}
void Converter::Convert(const grpc::LinuxDevice& from, oci::Device* to) {
  to->path = from.path();
  to->type = from.type();
  to->major = from.major();
  to->minor = from.minor();
  if (from.has_filemode()) to->file_mode = from.filemode();
  if (from.has_uid()) to->uid = from.uid();
  if (from.has_gid()) to->gid = from.gid();
}

void Converter::Convert(const oci::SeccompArg& from, grpc::LinuxSeccompArg* to) {
  to->set_index(from.index);
  to->set_value(from.value);
  to->set_valuetwo(from.value_two);
  to->set_op(from.op);
}
Status Converter::Convert(const grpc::LinuxSeccompArg& from, oci::SeccompArg* to) {
  to->index = TRY(Narrow<uint32_t>(from.index(), "index"));
  to->value = from.value();
  to->value_two = from.valuetwo();
  to->op = from.op();
  return {};
}

void Converter::Convert(const oci::SeccompSyscall& from, grpc::LinuxSyscall* to) {
  Convert(from.names, to->mutable_names());
  to->set_action(from.action);
  if (from.errno_ret) to->set_errnoret(*from.errno_ret);
  ConvertList(from.args, to->mutable_args());
}
Status Converter::Convert(const grpc::LinuxSyscall& from, oci::SeccompSyscall* to) {
  Convert(from.names(), &to->names);
  to->action = from.action();
  if (from.has_errnoret()) to->errno_ret = from.errnoret();
  TRY_CTX(ConvertList(from.args(), &to->args), "args");
  return {};
}

void Converter::Convert(const oci::Seccomp& from, grpc::LinuxSeccomp* to) {
  to->set_defaultaction(from.default_action);
  if (from.default_errno_ret) to->set_defaulterrnoret(*from.default_errno_ret);
  Convert(from.architectures, to->mutable_architectures());
  Convert(from.flags, to->mutable_flags());
  to->set_listenerpath(from.listener_path);
  to->set_listenermetadata(from.listener_metadata);
  ConvertList(from.syscalls, to->mutable_syscalls());
}
Status Converter::Convert(const grpc::LinuxSeccomp& from, oci::Seccomp* to) {
  to->default_action = from.defaultaction();
  if (from.has_defaulterrnoret()) to->default_errno_ret = from.defaulterrnoret();
  Convert(from.architectures(), &to->architectures);
  Convert(from.flags(), &to->flags);
  to->listener_path = from.listenerpath();
  to->listener_metadata = from.listenermetadata();
  TRY_CTX(ConvertList(from.syscalls(), &to->syscalls), "syscalls");
  return {};
}

void Converter::Convert(const oci::IntelRdt& from, grpc::LinuxIntelRdt* to) {
  to->set_closid(from.clos_id);
  to->set_l3cacheschema(from.l3_cache_schema);
  to->set_membwschema(from.mem_bw_schema);
}
void Converter::Convert(const grpc::LinuxIntelRdt& from, oci::IntelRdt* to) {
  to->clos_id = from.closid();
  to->l3_cache_schema = from.l3cacheschema();
  to->mem_bw_schema = from.membwschema();
}

void Converter::Convert(const oci::Personality& from, grpc::LinuxPersonality* to) {
  to->set_domain(from.domain);
  Convert(from.flags, to->mutable_flags());
}
void Converter::Convert(const grpc::LinuxPersonality& from, oci::Personality* to) {
  to->domain = from.domain();
  Convert(from.flags(), &to->flags);
}

void Converter::Convert(const oci::TimeOffset& from, grpc::LinuxTimeOffset* to) {
  to->set_secs(from.secs);
  to->set_nanosecs(from.nanosecs);
}
void Converter::Convert(const grpc::LinuxTimeOffset& from, oci::TimeOffset* to) {
  to->secs = from.secs();
  to->nanosecs = from.nanosecs();
}

void Converter::Convert(const oci::IdMapping& from, grpc::LinuxIDMapping* to) {
  to->set_hostid(from.host_id);
  to->set_containerid(from.container_id);
  to->set_size(from.size);
}
void Converter::Convert(const grpc::LinuxIDMapping& from, oci::IdMapping* to) {
  to->host_id = from.hostid();
  to->container_id = from.containerid();
  to->size = from.size();
}

void Converter::Convert(const oci::Linux& from, grpc::Linux* to) {
  ConvertList(from.uid_mappings, to->mutable_uidmappings());
  ConvertList(from.gid_mappings, to->mutable_gidmappings());
  Convert(from.sysctl, to->mutable_sysctl());
  if (from.resources) Convert(*from.resources, to->mutable_resources());
  to->set_cgroupspath(from.cgroups_path);
  ConvertList(from.namespaces, to->mutable_namespaces());
  ConvertList(from.devices, to->mutable_devices());
  if (from.seccomp) Convert(*from.seccomp, to->mutable_seccomp());
  to->set_rootfspropagation(from.rootfs_propagation);
  Convert(from.masked_paths, to->mutable_maskedpaths());
  Convert(from.readonly_paths, to->mutable_readonlypaths());
  to->set_mountlabel(from.mount_label);
  if (from.intel_rdt) Convert(*from.intel_rdt, to->mutable_intelrdt());
  if (from.personality) Convert(*from.personality, to->mutable_personality());
  for (const auto& [clock, offset] : from.time_offsets) Convert(offset, &(*to->mutable_timeoffsets())[clock]);
}
Status Converter::Convert(const grpc::Linux& from, oci::Linux* to) {
  ConvertList(from.uidmappings(), &to->uid_mappings);
  ConvertList(from.gidmappings(), &to->gid_mappings);
  Convert(from.sysctl(), &to->sysctl);
  if (from.has_resources()) TRY_CTX(Convert(from.resources(), &to->resources.emplace()), "resources");
  to->cgroups_path = from.cgroupspath();
  ConvertList(from.namespaces(), &to->namespaces);
  ConvertList(from.devices(), &to->devices);
  if (from.has_seccomp()) TRY_CTX(Convert(from.seccomp(), &to->seccomp.emplace()), "seccomp");
  to->rootfs_propagation = from.rootfspropagation();
  Convert(from.maskedpaths(), &to->masked_paths);
  Convert(from.readonlypaths(), &to->readonly_paths);
  to->mount_label = from.mountlabel();
  if (from.has_intelrdt()) Convert(from.intelrdt(), &to->intel_rdt.emplace());
  if (from.has_personality()) Convert(from.personality(), &to->personality.emplace());
  for (const auto& [clock, offset] : from.timeoffsets()) Convert(offset, &to->time_offsets[clock]);
  return {};
}

}  // namespace kata::protocol
