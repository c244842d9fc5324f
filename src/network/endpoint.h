// Endpoint: an interface of a container's network namespace joined with a virtual machine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "linux/netlink/route.h"

namespace kata::network {

// How an interface and the VM's tap device are joined.
enum class Model {
  kTcFilter,  // a tap beside the interface; what arrives at either is redirected out of the other
  kMacvtap,   // a macvtap device on the interface
  kNone,      // not at all: the guest has loopback only
};

// "tcfilter", "macvtap", "none"; kInvalidArgument for others.
Result<Model> ParseModel(const std::string& name);

// Used and destroyed on a thread in the network namespace. Destruction takes away what was made; that the
// interface or the whole namespace has gone meanwhile does no harm.
class Endpoint {
 public:
  struct Options {
    Model model = Model::kTcFilter;  // not kNone
    uint32_t queues = 1;
    bool vhost = true;  // the kernel moves the packets, where it has vhost-net
  };
  // `socket` is borrowed and outlives the object. `tap_name`: for the new device. After a failure nothing is
  // left; the error names the interface.
  static Result<std::unique_ptr<Endpoint>> Join(linux::RouteSocket& socket, const linux::Link& interface,
                                                const std::string& tap_name, const Options& options);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  int tap_index() const { return tap_index_; }
  const std::string& interface_name() const { return interface_.name; }
  // "02:42:ac:11:00:02": the card of the guest has the interface's, as the network knows no other.
  std::string hardware_address() const { return linux::FormatHardwareAddress(interface_.hardware_address); }

  // For the VMM; they belong to the endpoint.
  std::vector<int> tap_fds() const;
  std::vector<int> vhost_fds() const;
  // When the VMM has its own copies: from then on a tap device ends with the VMM.
  void CloseDescriptors();

 private:
  Endpoint(linux::RouteSocket& socket, linux::Link interface, std::string tap_name)
      : socket_(socket), interface_(std::move(interface)), tap_name_(std::move(tap_name)) {}
  Status JoinByTcFilter(uint32_t queues);
  Status JoinByMacvtap(uint32_t queues);
  Status SetUpTap();
  Status DeleteTap();

  linux::RouteSocket& socket_;
  const linux::Link interface_;
  const std::string tap_name_;
  int tap_index_ = 0;
  bool has_qdisc_ = false;  // of ours, on the interface
  std::vector<UniqueFd> tap_fds_;
  std::vector<UniqueFd> vhost_fds_;
};

}  // namespace kata::network
