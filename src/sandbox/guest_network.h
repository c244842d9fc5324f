// GuestNetwork: keeps the network of the guest as it is in the container's network namespace, from the start
// of the virtual machine to its end.
#pragma once

#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/deadline.h"
#include "base/event_loop.h"
#include "base/result.h"
#include "hypervisor/vm_spec.h"
#include "linux/namespaces.h"
#include "linux/netlink/route.h"
#include "network/endpoint.h"
#include "network/scan.h"
#include "sandbox/agent_client.h"
#include "sandbox/machine.h"
#include "sandbox/name_relay.h"

namespace kata::sandbox {

// All work is done on a thread of its own that has entered the namespace: setns(2) moves one thread only,
// which can do nothing else any more. The members that block are not for the loop thread.
class GuestNetwork : public std::enable_shared_from_this<GuestNetwork> {
 public:
  using Options = network::Endpoint::Options;  // of each network card

  // `loop` is borrowed and must outlive the object. Enters `network_namespace`, joins the interfaces that are
  // there with tap devices. Blocks. Refuses the namespace that this process lives in: a host must not lose
  // its network to a guest. After a failure nothing is left.
  static Result<std::shared_ptr<GuestNetwork>> Create(EventLoop& loop,
                                                      const linux::NamespaceFd& network_namespace,
                                                      Options options);
  ~GuestNetwork();  // REQUIRES: Close

  // The network cards that the machine shall be started with; the descriptors are good until Follow or Close.
  std::vector<hypervisor::NetworkDevice> Devices();

  // Tells the agent of all there is. What fails does not keep the rest from it; the first failure. Blocks.
  Status Configure(AgentClient& agent, Deadline deadline);

  // From now on interfaces that appear are plugged into the machine, those that vanish unplugged, and changes
  // of addresses, routes, neighbours and IPv6 settings passed on, and the guest can ask the name server of
  // the namespace, if there is one; failures are logged, and tried again some times. Returns at once.
  void Follow(std::shared_ptr<Machine> machine, std::shared_ptr<AgentClient> agent);

  // Any thread. Calls `done`, on the loop thread, when all changes up to now have been passed on. What has
  // failed is tried again; the first failure of an interface that is there now, with its name.
  void Settle(std::move_only_function<void(Status)> done);

  // Takes away all that was made in the namespace. Call it when the machine has ended. Idempotent. Blocks
  // until a change that is being passed on has been, or has failed, as it does when machine and agent are
  // gone.
  void Close();

 private:
  // Each is twice the one before. A little more than four minutes in all: a guest that is not ready by then
  // is waited for no more.
  static constexpr std::chrono::seconds kFirstRetryDelay{1};
  static constexpr std::chrono::seconds kLastRetryDelay{128};

  // What the agent was told last, as bytes of the message: nothing says nothing. nullopt: it has failed to do
  // that, and what it has is not known.
  using Told = std::optional<std::string>;
  // An interface that is joined, and its network card.
  struct Card {
    std::string device_id;
    std::unique_ptr<network::Endpoint> endpoint;
    std::string guest_pci_path;  // of one that was plugged in
    Told told;
    Told told_ipv6;  // what of it the container may change itself
  };

  GuestNetwork(EventLoop& loop, Options options) : loop_(loop), options_(options) {}
  Status Enter(const linux::NamespaceFd& network_namespace);
  Status JoinAll();
  Result<network::Network> Scan();
  std::set<int> TapIndices() const;
  Result<Card> Join(const linux::Link& link);
  static hypervisor::NetworkDevice DeviceOf(const Card& card);

  void WaitForEvents();
  bool HasEvents();
  enum class Refused { kLeave, kTryAgain };
  void Sync(Refused refused);
  Status SyncOnce(Refused refused);
  bool UnplugVanished(const network::Network& network);
  Status PlugNew(const network::Network& network, Refused refused);
  Status Plug(const linux::Link& link);
  Status Tell(AgentClient& agent, network::Network network, Deadline deadline);
  Status TellIpv6(AgentClient& agent, const network::Network& network, Deadline deadline);
  Status TellInterface(AgentClient& agent, const network::Interface& interface, Card& card,
                       Deadline deadline);
  bool RelayNames();
  void TryAgainLater();
  void CloseOnThread();

  EventLoop& loop_;
  const Options options_;
  EventLoopThread thread_;

  // What follows belongs to the thread. Null or empty after Close.
  std::optional<linux::RouteSocket> socket_;
  std::map<int, Card> cards_;     // by the interface's index; after socket_, which they use
  std::map<int, Error> refused_;  // interfaces that could not be plugged in, by index
  Status problem_;                // why the guest's network is not as the namespace's
  unsigned next_number_ = 0;
  agent::v1::SetIpv6Request told_ipv6_;
  Told told_routes_ = "";
  Told told_neighbors_ = "";
  std::shared_ptr<Machine> machine_;
  std::shared_ptr<AgentClient> agent_;
  std::optional<asio::posix::stream_descriptor> events_;
  std::optional<asio::steady_timer> settle_timer_;
  std::optional<asio::steady_timer> retry_timer_;
  std::chrono::seconds retry_delay_ = kFirstRetryDelay;
  bool retry_waits_ = false;
  std::shared_ptr<NameRelay> name_relay_;
  bool relays_names_ = false;  // or has an agent that never will
};

}  // namespace kata::sandbox
