#include "cli/network_namespace.h"

#include <sched.h>

#include <algorithm>
#include <thread>

namespace kata::cli {
namespace {

using linux::NamespaceFd;

Result<NamespaceFd> MakeNamespace() {
  // unshare(2) moves the calling thread, so that is done by one that ends at once.
  Result<NamespaceFd> made = Error(Code::kInternal, "the thread did not run");
  std::thread([&made] {
    made = [] -> Result<NamespaceFd> {
      TRY(linux::Unshare(CLONE_NEWNET));
      return NamespaceFd::OfProcess(0, CLONE_NEWNET);
    }();
  }).join();
  if (!made) return std::move(made).error().Wrap("create network namespace");
  return made;
}

}  // namespace

Result<NamespaceFd> OpenNetworkNamespace(const oci::Spec& spec) {
  const auto& namespaces = spec.linux->namespaces;
  const auto network = std::find_if(namespaces.begin(), namespaces.end(),
                                    [](const oci::Namespace& entry) { return entry.type == "network"; });
  constexpr char kRefusal[] =
      "host network is not supported: a virtual machine has network interfaces of its own; use a network of "
      "the "
      "engine and publish ports";
  if (network == namespaces.end()) {
    return MakeError(Code::kInvalidArgument, "{} (linux.namespaces has no entry 'network')", kRefusal);
  }
  if (network->path.empty()) return MakeNamespace();
  NamespaceFd named = TRY_CTX(NamespaceFd::FromPath(network->path, CLONE_NEWNET), "join network");
  const NamespaceFd own = TRY(NamespaceFd::OfProcess(0, CLONE_NEWNET));
  if (TRY(named.IsSameAs(own))) {
    return MakeError(Code::kInvalidArgument, "{} ('{}' is the host's)", kRefusal, network->path);
  }
  return named;
}

}  // namespace kata::cli
