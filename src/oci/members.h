// Which JSON member is which field: one line per member serves reading, writing and checking (json.cc,
// bounds.cc). The order is that of the specification's Go types, so that output looks like runc's.
#pragma once

#include <cstddef>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "oci/json.h"
#include "oci/spec.h"

namespace kata::oci {

enum class Presence {
  kOptional,  // absent in JSON: the field's initial value, which is not written
  kAlways,    // as above, but always written
  kRequired,  // must be there: its absence could not be told from a value
};

template <typename Struct, typename Field>
struct Member {
  std::string_view name;
  Field Struct::* field;
  Presence presence;
};
template <typename Struct, typename Field>
constexpr Member<Struct, Field> Optional(std::string_view name, Field Struct::* field) {
  return {name, field, Presence::kOptional};
}
template <typename Struct, typename Field>
constexpr Member<Struct, Field> Always(std::string_view name, Field Struct::* field) {
  return {name, field, Presence::kAlways};
}
template <typename Struct, typename Field>
constexpr Member<Struct, Field> Required(std::string_view name, Field Struct::* field) {
  return {name, field, Presence::kRequired};
}

// An optional field that JSON wraps into an object of its own: "pids": {"limit": 5}.
template <typename Struct, typename Field>
struct WrappedMember {
  std::string_view name;
  Member<Struct, Field> inner;
};
template <typename Struct, typename Field>
constexpr WrappedMember<Struct, Field> Wrapped(std::string_view name, Member<Struct, Field> inner) {
  return {name, inner};
}

// A section that must not be ignored and is not supported.
struct RefusedMember {
  std::string_view name;
  std::string_view reason;
};

// The members of a struct; nullptr for types that are not structs of the specification.
template <typename T>
inline constexpr std::nullptr_t kMembers = nullptr;
template <typename T>
concept Described = !std::is_same_v<decltype(kMembers<T>), const std::nullptr_t>;

// --- process ---

template <>
inline constexpr auto kMembers<ConsoleSize> =
    std::tuple(Required("height", &ConsoleSize::height), Required("width", &ConsoleSize::width));

template <>
inline constexpr auto kMembers<User> =
    std::tuple(Always("uid", &User::uid), Always("gid", &User::gid), Optional("umask", &User::umask),
               Optional("additionalGids", &User::additional_gids), Optional("username", &User::username));

template <>
inline constexpr auto kMembers<Capabilities> =
    std::tuple(Optional("bounding", &Capabilities::bounding), Optional("effective", &Capabilities::effective),
               Optional("inheritable", &Capabilities::inheritable),
               Optional("permitted", &Capabilities::permitted), Optional("ambient", &Capabilities::ambient));

template <>
inline constexpr auto kMembers<Rlimit> = std::tuple(
    Required("type", &Rlimit::type), Required("hard", &Rlimit::hard), Required("soft", &Rlimit::soft));

template <>
inline constexpr auto kMembers<Scheduler> =
    std::tuple(Required("policy", &Scheduler::policy), Optional("nice", &Scheduler::nice),
               Optional("priority", &Scheduler::priority), Optional("flags", &Scheduler::flags),
               Optional("runtime", &Scheduler::runtime_ns), Optional("deadline", &Scheduler::deadline_ns),
               Optional("period", &Scheduler::period_ns));

template <>
inline constexpr auto kMembers<IoPriority> =
    std::tuple(Required("class", &IoPriority::io_class), Always("priority", &IoPriority::priority));

template <>
inline constexpr auto kMembers<ExecCpuAffinity> =
    std::tuple(Optional("initial", &ExecCpuAffinity::initial), Optional("final", &ExecCpuAffinity::final));

template <>
inline constexpr auto kMembers<Process> = std::tuple(
    Optional("terminal", &Process::terminal), Optional("consoleSize", &Process::console_size),
    Always("user", &Process::user), Optional("args", &Process::args), Optional("env", &Process::env),
    Always("cwd", &Process::cwd), Optional("capabilities", &Process::capabilities),
    Optional("rlimits", &Process::rlimits), Optional("noNewPrivileges", &Process::no_new_privileges),
    Optional("apparmorProfile", &Process::apparmor_profile), Optional("oomScoreAdj", &Process::oom_score_adj),
    Optional("scheduler", &Process::scheduler), Optional("selinuxLabel", &Process::selinux_label),
    Optional("ioPriority", &Process::io_priority), Optional("execCPUAffinity", &Process::exec_cpu_affinity));

// --- root, mounts, hooks ---

template <>
inline constexpr auto kMembers<Root> =
    std::tuple(Always("path", &Root::path), Optional("readonly", &Root::readonly));

template <>
inline constexpr auto kMembers<IdMapping> =
    std::tuple(Required("containerID", &IdMapping::container_id), Required("hostID", &IdMapping::host_id),
               Required("size", &IdMapping::size));

template <>
inline constexpr auto kMembers<Mount> =
    std::tuple(Always("destination", &Mount::destination), Optional("type", &Mount::type),
               Optional("source", &Mount::source), Optional("options", &Mount::options),
               Optional("uidMappings", &Mount::uid_mappings), Optional("gidMappings", &Mount::gid_mappings));

template <>
inline constexpr auto kMembers<Hook> =
    std::tuple(Always("path", &Hook::path), Optional("args", &Hook::args), Optional("env", &Hook::env),
               Optional("timeout", &Hook::timeout_seconds));

template <>
inline constexpr auto kMembers<Hooks> =
    std::tuple(Optional("prestart", &Hooks::prestart), Optional("createRuntime", &Hooks::create_runtime),
               Optional("createContainer", &Hooks::create_container),
               Optional("startContainer", &Hooks::start_container), Optional("poststart", &Hooks::poststart),
               Optional("poststop", &Hooks::poststop));

// --- linux.resources ---

template <>
inline constexpr auto kMembers<DeviceRule> =
    std::tuple(Required("allow", &DeviceRule::allow), Optional("type", &DeviceRule::type),
               Optional("major", &DeviceRule::major), Optional("minor", &DeviceRule::minor),
               Optional("access", &DeviceRule::access));

template <>
inline constexpr auto kMembers<MemoryResources> = std::tuple(
    Optional("limit", &MemoryResources::limit), Optional("reservation", &MemoryResources::reservation),
    Optional("swap", &MemoryResources::swap), Optional("kernel", &MemoryResources::kernel),
    Optional("kernelTCP", &MemoryResources::kernel_tcp), Optional("swappiness", &MemoryResources::swappiness),
    Optional("disableOOMKiller", &MemoryResources::disable_oom_killer),
    Optional("useHierarchy", &MemoryResources::use_hierarchy),
    Optional("checkBeforeUpdate", &MemoryResources::check_before_update));

template <>
inline constexpr auto kMembers<CpuResources> = std::tuple(
    Optional("shares", &CpuResources::shares), Optional("quota", &CpuResources::quota_us),
    Optional("burst", &CpuResources::burst_us), Optional("period", &CpuResources::period_us),
    Optional("realtimeRuntime", &CpuResources::realtime_runtime_us),
    Optional("realtimePeriod", &CpuResources::realtime_period_us), Optional("cpus", &CpuResources::cpus),
    Optional("mems", &CpuResources::mems), Optional("idle", &CpuResources::idle));

template <>
inline constexpr auto kMembers<WeightDevice> =
    std::tuple(Required("major", &WeightDevice::major), Required("minor", &WeightDevice::minor),
               Optional("weight", &WeightDevice::weight), Optional("leafWeight", &WeightDevice::leaf_weight));

template <>
inline constexpr auto kMembers<ThrottleDevice> =
    std::tuple(Required("major", &ThrottleDevice::major), Required("minor", &ThrottleDevice::minor),
               Required("rate", &ThrottleDevice::rate));

template <>
inline constexpr auto kMembers<BlockIoResources> = std::tuple(
    Optional("weight", &BlockIoResources::weight), Optional("leafWeight", &BlockIoResources::leaf_weight),
    Optional("weightDevice", &BlockIoResources::weight_device),
    Optional("throttleReadBpsDevice", &BlockIoResources::throttle_read_bps_device),
    Optional("throttleWriteBpsDevice", &BlockIoResources::throttle_write_bps_device),
    Optional("throttleReadIOPSDevice", &BlockIoResources::throttle_read_iops_device),
    Optional("throttleWriteIOPSDevice", &BlockIoResources::throttle_write_iops_device));

template <>
inline constexpr auto kMembers<HugepageLimit> =
    std::tuple(Required("pageSize", &HugepageLimit::page_size), Required("limit", &HugepageLimit::limit));

template <>
inline constexpr auto kMembers<InterfacePriority> = std::tuple(
    Required("name", &InterfacePriority::name), Required("priority", &InterfacePriority::priority));

template <>
inline constexpr auto kMembers<NetworkResources> = std::tuple(
    Optional("classID", &NetworkResources::class_id), Optional("priorities", &NetworkResources::priorities));

template <>
inline constexpr auto kMembers<RdmaLimit> = std::tuple(Optional("hcaHandles", &RdmaLimit::hca_handles),
                                                       Optional("hcaObjects", &RdmaLimit::hca_objects));

template <>
inline constexpr auto kMembers<Resources> = std::tuple(
    Optional("devices", &Resources::devices), Optional("memory", &Resources::memory),
    Optional("cpu", &Resources::cpu), Wrapped("pids", Optional("limit", &Resources::pids_limit)),
    Optional("blockIO", &Resources::block_io), Optional("hugepageLimits", &Resources::hugepage_limits),
    Optional("network", &Resources::network), Optional("rdma", &Resources::rdma),
    Optional("unified", &Resources::unified));

// --- linux ---

template <>
inline constexpr auto kMembers<Namespace> =
    std::tuple(Always("type", &Namespace::type), Optional("path", &Namespace::path));

template <>
inline constexpr auto kMembers<Device> = std::tuple(
    Always("path", &Device::path), Always("type", &Device::type), Optional("major", &Device::major),
    Optional("minor", &Device::minor), Optional("fileMode", &Device::file_mode),
    Optional("uid", &Device::uid), Optional("gid", &Device::gid));

template <>
inline constexpr auto kMembers<SeccompArg> =
    std::tuple(Required("index", &SeccompArg::index), Required("value", &SeccompArg::value),
               Optional("valueTwo", &SeccompArg::value_two), Required("op", &SeccompArg::op));

template <>
inline constexpr auto kMembers<SeccompSyscall> =
    std::tuple(Optional("names", &SeccompSyscall::names), Always("action", &SeccompSyscall::action),
               Optional("errnoRet", &SeccompSyscall::errno_ret), Optional("args", &SeccompSyscall::args));

template <>
inline constexpr auto kMembers<Seccomp> = std::tuple(
    Always("defaultAction", &Seccomp::default_action),
    Optional("defaultErrnoRet", &Seccomp::default_errno_ret),
    Optional("architectures", &Seccomp::architectures), Optional("flags", &Seccomp::flags),
    Optional("listenerPath", &Seccomp::listener_path),
    Optional("listenerMetadata", &Seccomp::listener_metadata), Optional("syscalls", &Seccomp::syscalls));

template <>
inline constexpr auto kMembers<TimeOffset> =
    std::tuple(Optional("secs", &TimeOffset::secs), Optional("nanosecs", &TimeOffset::nanosecs));

template <>
inline constexpr auto kMembers<IntelRdt> =
    std::tuple(Optional("closID", &IntelRdt::clos_id), Optional("l3CacheSchema", &IntelRdt::l3_cache_schema),
               Optional("memBwSchema", &IntelRdt::mem_bw_schema));

template <>
inline constexpr auto kMembers<Personality> =
    std::tuple(Always("domain", &Personality::domain), Optional("flags", &Personality::flags));

template <>
inline constexpr auto kMembers<Linux> = std::tuple(
    Optional("uidMappings", &Linux::uid_mappings), Optional("gidMappings", &Linux::gid_mappings),
    Optional("sysctl", &Linux::sysctl), Optional("resources", &Linux::resources),
    Optional("cgroupsPath", &Linux::cgroups_path), Optional("namespaces", &Linux::namespaces),
    Optional("devices", &Linux::devices), Optional("seccomp", &Linux::seccomp),
    Optional("rootfsPropagation", &Linux::rootfs_propagation), Optional("maskedPaths", &Linux::masked_paths),
    Optional("readonlyPaths", &Linux::readonly_paths), Optional("mountLabel", &Linux::mount_label),
    Optional("intelRdt", &Linux::intel_rdt), Optional("personality", &Linux::personality),
    Optional("timeOffsets", &Linux::time_offsets));

// --- the whole ---

inline constexpr std::string_view kOtherPlatform = "not supported on linux";

template <>
inline constexpr auto kMembers<Spec> = std::tuple(
    Always("ociVersion", &Spec::oci_version), Optional("process", &Spec::process),
    Optional("root", &Spec::root), Optional("hostname", &Spec::hostname),
    Optional("domainname", &Spec::domainname), Optional("mounts", &Spec::mounts),
    Optional("hooks", &Spec::hooks), Optional("annotations", &Spec::annotations),
    Optional("linux", &Spec::linux), RefusedMember{"solaris", kOtherPlatform},
    RefusedMember{"windows", kOtherPlatform}, RefusedMember{"zos", kOtherPlatform},
    RefusedMember{"freebsd", kOtherPlatform},
    RefusedMember{"vm",
                  "not supported: hypervisor, kernel and image are those of the runtime's configuration"});

template <>
inline constexpr auto kMembers<State> =
    std::tuple(Always("ociVersion", &State::oci_version), Always("id", &State::id),
               Always("status", &State::status), Optional("pid", &State::pid),
               Always("bundle", &State::bundle), Optional("annotations", &State::annotations));

}  // namespace kata::oci
