// What the jail works out from a specification before it touches anything: whatever the reader and the checks
// let pass, the plan must not lead out of where it belongs.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "jail/cgroup_resources.h"
#include "jail/device_cgroup.h"
#include "jail/devices.h"
#include "jail/mount_plan.h"
#include "jail/namespaces.h"
#include "jail/request.h"
#include "jail/seccomp.h"
#include "linux/cpu_list.h"
#include "oci/json.h"

namespace {

using namespace kata;

void Require(bool condition, const std::string& what) {
  if (condition) return;
  fprintf(stderr, "%s\n", what.c_str());
  abort();
}

template <typename T>
void RequireOneLine(const Result<T>& result) {
  if (result) return;
  const std::string& message = result.error().message();
  Require(!message.empty() && message.find('\n') == std::string::npos, "error: " + message);
}

bool StaysBelow(const std::string& path) {
  const std::string framed = path + "/";
  return framed.find("/../") == std::string::npos && framed.find("/./") == std::string::npos &&
         framed.find("//") == std::string::npos && !framed.starts_with("../");
}

void PlanMounts(const oci::Spec& spec) {
  const auto steps = jail::PlanMounts(spec);
  RequireOneLine(steps);
  if (!steps) return;
  for (const jail::MountStep& step : *steps) {
    Require(step.destination.starts_with('/') && step.destination != "/" && StaysBelow(step.destination),
            "destination: " + step.destination);
    Require((step.set & step.clear) == 0, "set and cleared: " + step.destination);
    Require(!step.id_map || step.kind == jail::MountStep::Kind::kBind, "id map: " + step.destination);
  }
}

void PlanNamespaces(const oci::Spec& spec) {
  const auto plan = jail::PlanNamespaces(spec, {.ipc_fd = 5, .uts_fd = 6});
  RequireOneLine(plan);
  if (plan) Require(plan->Creates(CLONE_NEWNS), "no mount namespace");
  for (const auto& [name, value] : spec.linux->sysctl) {
    const Result<std::string> path = jail::SysctlPath(name);
    RequireOneLine(path);
    if (path) Require(!path->starts_with('/') && StaysBelow(*path), "sysctl: " + *path);
  }
}

void PlanDevices(const oci::Spec& spec) {
  for (const oci::Device& device : jail::DevicesOf(spec)) {
    Require(device.path.starts_with('/') && StaysBelow(device.path), "device: " + device.path);
  }
  RequireOneLine(jail::CompileDeviceRules(jail::EffectiveDeviceRules(jail::DeviceRulesOf(spec))));
}

void PlanResources(const oci::Resources& resources) {
  const auto writes = jail::PlanCgroupWrites(resources);
  RequireOneLine(writes);
  if (!writes) return;
  for (const jail::CgroupWrite& write : *writes) {
    Require(write.file.find('/') == std::string::npos && !write.file.starts_with("cgroup."),
            "cgroup file: " + write.file);
  }
}

void PlanProcess(const oci::Process& process) {
  if (!process.exec_cpu_affinity) return;
  RequireOneLine(linux::ParseCpuList(process.exec_cpu_affinity->initial));
  RequireOneLine(linux::ParseCpuList(process.exec_cpu_affinity->final));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Result<oci::Spec> spec = oci::ParseSpec({reinterpret_cast<const char*>(data), size});
  if (!spec || !oci::Validate(*spec)) return 0;
  PlanProcess(*spec->process);
  PlanMounts(*spec);
  PlanDevices(*spec);
  if (!spec->linux) return 0;
  PlanNamespaces(*spec);
  if (spec->linux->resources) PlanResources(*spec->linux->resources);
  if (spec->linux->seccomp) RequireOneLine(jail::SeccompFilter::Compile(*spec->linux->seccomp));
  // What the set-up process reads is what was planned here.
  jail::Request request;
  request.spec = *spec;
  const Result<jail::Request> copy = jail::ParseRequest(jail::SerializeRequest(request));
  if (copy) Require(oci::ToJson(copy->spec) == oci::ToJson(*spec), "the request changed");
  return 0;
}
