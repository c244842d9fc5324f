// MakeGuestSpec and its parts.
#include "sandbox/guest_spec.h"

#include <sys/utsname.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/file.h"
#include "base/utf8.h"
#include "linux/namespaces.h"
#include "oci/json.h"
#include "protocol/oci_convert.h"
#include "ttrpc/frame.h"

namespace kata::sandbox {
namespace {

constexpr char kResolverFile[] = "/etc/resolv.conf";
constexpr size_t kMaxResolverBytes = 64u << 10;

oci::Linux MakeGuestLinux(oci::Linux linux, const GuestSpecOptions& options) {
  if (linux.resources) linux.resources = MakeGuestResources(*linux.resources);
  linux.cgroups_path = "/kata/" + options.container_id;
  std::erase_if(linux.namespaces, [](const oci::Namespace& ns) { return ns.type == "network"; });
  for (oci::Namespace& ns : linux.namespaces) ns.path.clear();
  if (!options.keep_seccomp) linux.seccomp.reset();
  linux.mount_label.clear();
  linux.intel_rdt.reset();
  return linux;
}

// For what the request says besides: ids, storages and devices, and longer paths in the guest.
constexpr size_t kRequestBytes = 64u << 10;
constexpr size_t kMoreMountBytes = 512;

size_t BytesOf(const std::vector<std::string>& list) {
  size_t bytes = 0;
  for (const std::string& text : list) bytes += text.size();
  return bytes;
}

struct Part {
  std::string_view name;
  size_t bytes = 0;
};

// `parts`: those that can be large.
Status CheckSize(size_t bytes, size_t most, std::initializer_list<Part> parts) {
  if (bytes <= most) return {};
  const Part largest = std::ranges::max(parts, {}, &Part::bytes);
  return MakeError(Code::kInvalidArgument,
                   "{}: {} bytes make the whole {} bytes long; a virtual machine can be told of {}",
                   largest.name, largest.bytes, bytes, most);
}

}  // namespace

Status CheckGuestSpec(const oci::Spec& spec) {
  if (spec.linux && spec.linux->intel_rdt) {
    const oci::IntelRdt& rdt = *spec.linux->intel_rdt;
    if (!rdt.clos_id.empty() || !rdt.l3_cache_schema.empty() || !rdt.mem_bw_schema.empty()) {
      return Error(Code::kInvalidArgument,
                   "linux.intelRdt: Intel RDT divides caches of the host, which a guest does not see");
    }
  }
  if (spec.linux && spec.linux->resources && !spec.linux->resources->rdma.empty()) {
    return Error(Code::kInvalidArgument, "linux.resources.rdma: a virtual machine has no RDMA devices");
  }
  const grpc::Spec message = protocol::ToProto(spec);
  size_t mounts = 0;
  for (const grpc::Mount& mount : message.mounts()) mounts += mount.ByteSizeLong();
  size_t annotations = 0;
  for (const auto& [key, value] : spec.annotations) annotations += key.size() + value.size();
  const oci::Process process = spec.process.value_or(oci::Process());
  return CheckSize(message.ByteSizeLong() + spec.mounts.size() * kMoreMountBytes,
                   ttrpc::kMaxDataSize - kRequestBytes,
                   {{"process.args", BytesOf(process.args)},
                    {"process.env", BytesOf(process.env)},
                    {"mounts", mounts + spec.mounts.size() * kMoreMountBytes},
                    {"hooks", message.hooks().ByteSizeLong()},
                    {"annotations", annotations},
                    {"linux", message.linux().ByteSizeLong()}});
}

// It travels as JSON to the sandbox server, and shorter from there.
Status CheckGuestProcess(const oci::Process& process) {
  return CheckSize(oci::ToJson(process).size(), ttrpc::kMaxDataSize - kRequestBytes,
                   {{"args", BytesOf(process.args)}, {"env", BytesOf(process.env)}});
}

bool JoinsNamespace(const oci::Spec& spec, std::string_view type) {
  return spec.linux &&
         std::any_of(spec.linux->namespaces.begin(), spec.linux->namespaces.end(),
                     [type](const oci::Namespace& ns) { return ns.type == type && !ns.path.empty(); });
}

Status CheckGuestSeccomp(const oci::Spec& spec) {
  if (!spec.linux || !spec.linux->seccomp) return {};
  const oci::Seccomp& seccomp = *spec.linux->seccomp;
  const auto check = [](const std::string& action, std::string_view member) -> Status {
    if (action != "SCMP_ACT_NOTIFY") return {};
    return MakeError(
        Code::kUnimplemented,
        "linux.seccomp.{}: SCMP_ACT_NOTIFY is not supported: nobody on the host can answer for processes "
        "in a virtual machine",
        member);
  };
  if (!seccomp.listener_path.empty()) {
    return Error(
        Code::kUnimplemented,
        "linux.seccomp.listenerPath: nobody on the host can answer for processes in a virtual machine");
  }
  TRY(check(seccomp.default_action, "defaultAction"));
  for (size_t i = 0; i < seccomp.syscalls.size(); ++i) {
    TRY(check(seccomp.syscalls[i].action, fmt::format("syscalls[{}].action", i)));
  }
  return {};
}

Status CheckNamespacePaths(const oci::Spec& spec) {
  if (!spec.linux) return {};
  for (size_t i = 0; i < spec.linux->namespaces.size(); ++i) {
    const oci::Namespace& entry = spec.linux->namespaces[i];
    // kata-shim was started in the one for the network.
    if (entry.path.empty() || entry.type == "network") continue;
    const linux::NamespaceKind kind = TRY(linux::FindNamespaceKind(entry.type));
    TRY_CTX(linux::NamespaceFd::FromPath(entry.path, kind.clone_flag), "linux.namespaces[{}].path", i);
  }
  return {};
}

oci::Resources MakeGuestResources(const oci::Resources& resources) {
  oci::Resources guest = resources;
  if (guest.cpu) {
    guest.cpu->cpus.clear();
    guest.cpu->mems.clear();
    // Real-time budgets are shares of the host's processors.
    guest.cpu->realtime_runtime_us.reset();
    guest.cpu->realtime_period_us.reset();
  }
  if (guest.block_io) {
    guest.block_io->weight_device.clear();
    guest.block_io->throttle_read_bps_device.clear();
    guest.block_io->throttle_write_bps_device.clear();
    guest.block_io->throttle_read_iops_device.clear();
    guest.block_io->throttle_write_iops_device.clear();
  }
  guest.network.reset();
  guest.rdma.clear();
  return guest;
}

oci::Process MakeGuestProcess(const oci::Process& process) {
  oci::Process guest = process;
  guest.apparmor_profile.clear();
  guest.selinux_label.clear();
  return guest;
}

oci::Spec MakeGuestSpec(const oci::Spec& spec, const GuestSpecOptions& options) {
  oci::Spec guest = spec;
  // The others are the host's to run.
  guest.hooks = {.start_container = spec.hooks.start_container};
  guest.mounts = options.files.mounts;
  if (!guest.root) guest.root.emplace();
  guest.root->path = options.files.rootfs;
  if (guest.process) guest.process = MakeGuestProcess(*guest.process);
  if (guest.linux) guest.linux = MakeGuestLinux(std::move(*guest.linux), options);
  return guest;
}

grpc::CreateContainerRequest MakeCreateContainerRequest(const oci::Spec& spec,
                                                        const GuestSpecOptions& options) {
  grpc::CreateContainerRequest request;
  request.set_container_id(options.container_id);
  request.set_exec_id(options.container_id);
  *request.mutable_oci() = protocol::ToProto(MakeGuestSpec(spec, options));
  for (const grpc::Storage& storage : options.files.storages) *request.add_storages() = storage;
  for (const grpc::Device& device : options.devices) *request.add_devices() = device;
  request.set_bundle(options.bundle);
  request.set_null_stdin(options.stdio.null_stdin);
  request.set_plain_newlines(options.stdio.plain_newlines);
  return request;
}

std::string GuestHostName(const oci::Spec& spec) {
  utsname name{};
  if (!spec.hostname.empty() || uname(&name) < 0) return spec.hostname;
  return name.nodename;
}

std::vector<std::string> ResolverLines(const oci::Spec& spec, const std::string& bundle) {
  std::vector<std::string> lines;
  for (const oci::Mount& mount : spec.mounts) {
    if (mount.destination != kResolverFile) continue;
    const std::string path = mount.source.starts_with('/') ? mount.source : bundle + "/" + mount.source;
    const Result<std::string> text = ReadFile(path, kMaxResolverBytes);
    if (!text) continue;
    lines.clear();
    std::istringstream stream(*text);
    // Messages of protobuf carry UTF-8 alone; a file may have comments in anything.
    for (std::string line; std::getline(stream, line);) lines.push_back(ReplaceInvalidUtf8(line));
  }
  return lines;
}

}  // namespace kata::sandbox
