#include "network/endpoint.h"

#include <linux/if_arp.h>
#include <net/if.h>

#include <utility>

#include "base/log.h"
#include "linux/netlink/traffic_control.h"
#include "network/tap.h"

namespace kata::network {
namespace {

constexpr size_t kEthernetAddressBytes = 6;

std::vector<int> Numbers(const std::vector<UniqueFd>& fds) {
  std::vector<int> numbers;
  for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
  return numbers;
}

void LogFailure(const std::string& interface, const Status& status) {
  if (status) return;
  log::Warning("something made for the virtual machine's network stays behind",
               {{"interface", interface}, {"error", status.error().message()}});
}

}  // namespace

Result<Model> ParseModel(const std::string& name) {
  if (name == "tcfilter") return Model::kTcFilter;
  if (name == "macvtap") return Model::kMacvtap;
  if (name == "none") return Model::kNone;
  return MakeError(Code::kInvalidArgument, "internetworking_model '{}' is unknown", name);
}

Result<std::unique_ptr<Endpoint>> Endpoint::Join(linux::RouteSocket& socket, const linux::Link& interface,
                                                 const std::string& tap_name, const Options& options) {
  // What a virtio network card is on the guest's side.
  if (interface.type != ARPHRD_ETHER || interface.hardware_address.size() != kEthernetAddressBytes) {
    return MakeError(Code::kUnimplemented, "join interface '{}': only Ethernet can be passed on to a VM ({})",
                     interface.name, interface.kind.empty() ? "a device" : interface.kind);
  }
  std::unique_ptr<Endpoint> endpoint(new Endpoint(socket, interface, tap_name));
  if (options.model == Model::kMacvtap) {
    TRY_CTX(endpoint->JoinByMacvtap(options.queues), "join interface '{}'", interface.name);
  } else {
    TRY_CTX(endpoint->JoinByTcFilter(options.queues), "join interface '{}'", interface.name);
  }
  if (options.vhost) {
    endpoint->vhost_fds_ = TRY_CTX(OpenVhostNet(options.queues), "join interface '{}'", interface.name);
  }
  return endpoint;
}

Status Endpoint::JoinByTcFilter(uint32_t queues) {
  tap_fds_ = TRY(CreateTap(tap_name_, queues));
  tap_index_ = TRY(socket_.FindLink(tap_name_)).index;
  TRY(SetUpTap());
  Status added = linux::AddIngressQdisc(socket_, interface_.index);
  if (!added && added.error().code() == Code::kAlreadyExists) {
    return Error(Code::kAlreadyExists,
                 "it has an ingress qdisc already, perhaps as another VM uses this network namespace");
  }
  TRY(std::move(added));
  has_qdisc_ = true;
  // The tap's goes with the tap.
  TRY(linux::AddIngressQdisc(socket_, tap_index_));
  TRY(linux::RedirectIngress(socket_, interface_.index, tap_index_));
  return linux::RedirectIngress(socket_, tap_index_, interface_.index);
}

Status Endpoint::JoinByMacvtap(uint32_t queues) {
  // The kernel would put it on the device below, which is another network namespace's.
  if (interface_.kind == "macvlan" || interface_.kind == "macvtap") {
    return MakeError(Code::kUnimplemented,
                     "a {} interface cannot carry a macvtap device; set internetworking_model = \"tcfilter\"",
                     interface_.kind);
  }
  TRY(socket_.CreateMacvtap(tap_name_, interface_.index));
  tap_index_ = TRY(socket_.FindLink(tap_name_)).index;
  TRY(SetUpTap());
  tap_fds_ = TRY(OpenMacvtap(tap_name_, tap_index_, queues));
  return {};
}

Status Endpoint::SetUpTap() {
  TRY(socket_.SetLinkMtu(tap_index_, interface_.mtu));
  TRY(socket_.DisableAddressGeneration(tap_index_));
  TRY_CTX(socket_.SetLinkFlags(tap_index_, IFF_UP, 0), "set the tap device up");
  return {};
}

Endpoint::~Endpoint() {
  if (has_qdisc_) LogFailure(interface_.name, linux::DeleteIngressQdisc(socket_, interface_.index));
  CloseDescriptors();
  LogFailure(interface_.name, DeleteTap());
}

// Unless it has gone with the VMM. By name and index: another link that has been moved into the namespace may
// have got either.
Status Endpoint::DeleteTap() {
  if (tap_index_ == 0) return {};
  const Result<linux::Link> link = socket_.FindLink(tap_name_);
  if (!link && link.error().code() == Code::kNotFound) return {};
  if (TRY(link).index != tap_index_) return {};
  return socket_.DeleteLink(tap_index_);
}

std::vector<int> Endpoint::tap_fds() const {
  return Numbers(tap_fds_);
}

std::vector<int> Endpoint::vhost_fds() const {
  return Numbers(vhost_fds_);
}

void Endpoint::CloseDescriptors() {
  tap_fds_.clear();
  vhost_fds_.clear();
}

}  // namespace kata::network
