#include "sandbox/guest_network.h"

#include <poll.h>

#include <future>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/scope_exit.h"
#include "linux/netlink/events.h"
#include "network/name_server.h"
#include "sandbox/time_limits.h"

namespace kata::sandbox {
namespace {

// An engine that moves an interface into the namespace makes several changes in a row: they are waited for,
// so that the guest is told once.
constexpr std::chrono::milliseconds kQuietTime{20};

void LogFailure(std::string_view what, const std::string& interface, const Error& error) {
  log::Warning(what, {{"interface", interface}, {"error", error.message()}});
}

// Calls `tell` with `message` unless the agent was told just that.
template <typename Message, typename Told, typename Tell>
Status TellNews(const Message& message, Told& told, Tell tell) {
  std::string bytes = message.SerializeAsString();
  if (told == bytes) return {};
  told.reset();
  TRY(tell(message));
  told = std::move(bytes);
  return {};
}

// Without what it was told already: the container may have changed it since, as by --sysctl.
agent::v1::SetIpv6Request NewsOf(agent::v1::SetIpv6Request now, const agent::v1::SetIpv6Request& told) {
  const auto same = [](const types::Ipv6Settings& one, const types::Ipv6Settings& other) {
    return one.SerializeAsString() == other.SerializeAsString();
  };
  if (told.has_all() && same(now.all(), told.all())) now.clear_all();
  if (told.has_defaults() && same(now.defaults(), told.defaults())) now.clear_defaults();
  if (told.has_loopback() && same(now.loopback(), told.loopback())) now.clear_loopback();
  return now;
}

}  // namespace

GuestNetwork::~GuestNetwork() = default;

Result<std::shared_ptr<GuestNetwork>> GuestNetwork::Create(EventLoop& loop,
                                                           const linux::NamespaceFd& network_namespace,
                                                           Options options) {
  const linux::NamespaceFd own = TRY(linux::NamespaceFd::OfProcess(0, CLONE_NEWNET));
  if (TRY(network_namespace.IsSameAs(own))) {
    return Error(Code::kInvalidArgument, "the network namespace of the host cannot be a virtual machine's");
  }
  std::shared_ptr<GuestNetwork> network(new GuestNetwork(loop, options));
  // Not RunAndWait, which runs the function on this thread as long as the other has not begun: what enters
  // the namespace must be the network's own thread.
  std::promise<Status> joined;
  network->thread_.loop().Post([&] {
    Status status = network->Enter(network_namespace);
    if (status) status = network->JoinAll();
    if (!status) network->CloseOnThread();
    joined.set_value(std::move(status));
  });
  TRY(joined.get_future().get());
  return network;
}

Status GuestNetwork::Enter(const linux::NamespaceFd& network_namespace) {
  TRY(network_namespace.Enter());
  UniqueFd events = TRY(linux::OpenNetworkEvents());
  socket_ = TRY(linux::RouteSocket::Open());
  events_.emplace(thread_.loop().context(), events.Release());
  settle_timer_.emplace(thread_.loop().context());
  retry_timer_.emplace(thread_.loop().context());
  return {};
}

Status GuestNetwork::JoinAll() {
  const network::Network network = TRY(Scan());
  for (const network::Interface& interface : network.interfaces) {
    cards_[interface.link.index] = TRY(Join(interface.link));
  }
  return {};
}

Result<network::Network> GuestNetwork::Scan() {
  return network::SelectForGuest(TRY(network::ReadTables(*socket_)), TapIndices());
}

std::set<int> GuestNetwork::TapIndices() const {
  std::set<int> indices;
  for (const auto& [index, card] : cards_) indices.insert(card.endpoint->tap_index());
  return indices;
}

Result<GuestNetwork::Card> GuestNetwork::Join(const linux::Link& link) {
  const unsigned number = next_number_++;
  Card card;
  card.device_id = fmt::format("net{}", number);
  card.endpoint = TRY(network::Endpoint::Join(*socket_, link, fmt::format("tap{}_kata", number), options_));
  return card;
}

hypervisor::NetworkDevice GuestNetwork::DeviceOf(const Card& card) {
  return {.id = card.device_id,
          .mac = card.endpoint->hardware_address(),
          .tap_fds = card.endpoint->tap_fds(),
          .vhost_fds = card.endpoint->vhost_fds()};
}

std::vector<hypervisor::NetworkDevice> GuestNetwork::Devices() {
  std::vector<hypervisor::NetworkDevice> devices;
  thread_.loop().RunAndWait([&] {
    for (const auto& [index, card] : cards_) devices.push_back(DeviceOf(card));
  });
  return devices;
}

Status GuestNetwork::Configure(AgentClient& agent, Deadline deadline) {
  Status result;
  thread_.loop().RunAndWait(
      [&] { result = [&]() -> Status { return Tell(agent, TRY(Scan()), deadline); }(); });
  return result;
}

void GuestNetwork::Follow(std::shared_ptr<Machine> machine, std::shared_ptr<AgentClient> agent) {
  thread_.loop().Post([this, machine = std::move(machine), agent = std::move(agent)]() mutable {
    if (!events_) return;  // closed meanwhile
    machine_ = std::move(machine);
    agent_ = std::move(agent);
    for (auto& [index, card] : cards_) card.endpoint->CloseDescriptors();
    // What has changed while the guest booted; the rest of the events is our own doing.
    Sync(Refused::kLeave);
    WaitForEvents();
  });
}

void GuestNetwork::Settle(std::move_only_function<void(Status)> done) {
  thread_.loop().Post([self = shared_from_this(), done = std::move(done)]() mutable {
    if (self->events_ && (!self->problem_ || self->HasEvents())) {
      self->Sync(Refused::kTryAgain);
    } else if (!self->RelayNames()) {
      self->TryAgainLater();
    }
    // The last reference must not go on this thread, which the destructor waits for.
    EventLoop& loop = self->loop_;
    Status status = self->problem_;
    loop.Post([self = std::move(self), done = std::move(done), status = std::move(status)]() mutable {
      done(std::move(status));
    });
  });
}

// --- following changes ---

void GuestNetwork::WaitForEvents() {
  // Close cancels both waits, but a handler may be on its way already, without an error.
  events_->async_wait(asio::posix::stream_descriptor::wait_read, [this](const std::error_code& error) {
    if (error || !settle_timer_) return;
    settle_timer_->expires_after(kQuietTime);
    settle_timer_->async_wait([this](const std::error_code& timer_error) {
      if (timer_error || !events_) return;
      // A failed attempt to plug in makes events itself; it shall not lead to the next.
      if (HasEvents()) Sync(Refused::kLeave);
      WaitForEvents();
    });
  });
}

bool GuestNetwork::HasEvents() {
  pollfd entry{.fd = events_->native_handle(), .events = POLLIN, .revents = 0};
  return poll(&entry, 1, 0) > 0;
}

void GuestNetwork::Sync(Refused refused) {
  if (!machine_) return;
  linux::DrainEvents(events_->native_handle());
  problem_ = SyncOnce(refused);
  if (!problem_) LogFailure("the guest's network is not as the container's", "", problem_.error());
  const bool has_names = RelayNames();
  if (problem_ && has_names) {
    retry_delay_ = kFirstRetryDelay;
  } else {
    TryAgainLater();
  }
}

Status GuestNetwork::SyncOnce(Refused refused) {
  network::Network network = TRY(Scan());
  // Its port is free for another.
  if (UnplugVanished(network)) refused = Refused::kTryAgain;
  Status plugged = PlugNew(network, refused);
  Status told = Tell(*agent_, std::move(network), Deadline::After(kAgentCallTime));
  return plugged ? told : plugged;
}

void GuestNetwork::TryAgainLater() {
  if (!retry_timer_ || retry_waits_ || retry_delay_ > kLastRetryDelay) return;
  retry_waits_ = true;
  retry_timer_->expires_after(retry_delay_);
  retry_delay_ *= 2;
  retry_timer_->async_wait([this](const std::error_code& error) {
    if (error || !events_) return;
    retry_waits_ = false;
    Sync(Refused::kTryAgain);
  });
}

// Whether one has been unplugged.
bool GuestNetwork::UnplugVanished(const network::Network& network) {
  std::erase_if(refused_, [&](const auto& entry) { return network.Find(entry.first) == nullptr; });
  bool unplugged = false;
  std::erase_if(cards_, [&](const auto& entry) {
    const auto& [index, card] = entry;
    // The index alone may have been taken over by another interface.
    const network::Interface* interface = network.Find(index);
    if (interface != nullptr &&
        linux::FormatHardwareAddress(interface->link.hardware_address) == card.endpoint->hardware_address()) {
      return false;
    }
    const Status detached = machine_->DetachDevice(card.device_id, Deadline::After(kPlugTime));
    if (!detached) {
      LogFailure("cannot unplug a network card", card.endpoint->interface_name(), detached.error());
    } else {
      log::Info("network card unplugged", {{"interface", card.endpoint->interface_name()}});
      unplugged = true;
    }
    return true;
  });
  return unplugged;
}

// The first failure, also that of one which is not tried now.
Status GuestNetwork::PlugNew(const network::Network& network, Refused refused) {
  Status result;
  for (const network::Interface& interface : network.interfaces) {
    const int index = interface.link.index;
    if (cards_.contains(index)) continue;
    auto known = refused_.find(index);
    if (known == refused_.end() || refused == Refused::kTryAgain) {
      Status plugged = Plug(interface.link);
      if (plugged) {
        log::Info("network card plugged in", {{"interface", interface.link.name}});
        if (known != refused_.end()) refused_.erase(known);
        continue;
      }
      if (known == refused_.end()) retry_delay_ = kFirstRetryDelay;
      known = refused_.insert_or_assign(index, std::move(plugged).error()).first;
    }
    if (result) result = known->second;
  }
  return result;
}

Status GuestNetwork::Plug(const linux::Link& link) {
  Card card = TRY(Join(link));
  card.guest_pci_path = TRY_CTX(machine_->AttachDevice(DeviceOf(card), Deadline::After(kPlugTime)),
                                "plug in interface '{}'", link.name);
  card.endpoint->CloseDescriptors();
  cards_[link.index] = std::move(card);
  return {};
}

// --- telling the agent ---

Status GuestNetwork::Tell(AgentClient& agent, network::Network network, Deadline deadline) {
  Status result;
  const auto note = [&](Status status) {
    if (!status && result) result = std::move(status);
  };
  note(TellIpv6(agent, network, deadline));
  std::vector<int> missing;
  for (const network::Interface& interface : network.interfaces) {
    const auto card = cards_.find(interface.link.index);
    if (card != cards_.end()) note(TellInterface(agent, interface, card->second, deadline));
    if (card == cards_.end() || !card->second.told) missing.push_back(interface.link.index);
  }
  // The agent would take none of the routes if one of them leads through what it does not have.
  for (const int index : missing) network.Drop(index);
  note(TellNews(network::RoutesToMessage(network), told_routes_, [&](const grpc::Routes& routes) -> Status {
    TRY_CTX(agent.UpdateRoutes(routes, deadline), "set the routes in the guest");
    return {};
  }));
  note(TellNews(network::NeighborsToMessage(network), told_neighbors_,
                [&](const grpc::ARPNeighbors& neighbors) -> Status {
                  TRY_CTX(agent.AddArpNeighbors(neighbors, deadline), "set the neighbours in the guest");
                  return {};
                }));
  return result;
}

Status GuestNetwork::TellIpv6(AgentClient& agent, const network::Network& network, Deadline deadline) {
  const agent::v1::SetIpv6Request now = network::Ipv6ToMessage(network);
  const agent::v1::SetIpv6Request news = NewsOf(now, told_ipv6_);
  if (news.ByteSizeLong() == 0) return {};
  Status told = agent.SetIpv6(news, deadline);
  // Another agent: the guest has what its kernel begins with.
  if (!told && told.error().code() != Code::kUnimplemented) {
    return std::move(told).error().Wrap("set up IPv6 in the guest");
  }
  told_ipv6_ = now;
  if (!news.has_all()) return {};
  // It has changed what the interfaces were told.
  for (auto& [index, card] : cards_) {
    card.told.reset();
    card.told_ipv6.reset();
  }
  return {};
}

Status GuestNetwork::TellInterface(AgentClient& agent, const network::Interface& interface, Card& card,
                                   Deadline deadline) {
  return TellNews(network::ToMessage(interface, card.guest_pci_path), card.told,
                  [&](types::Interface message) -> Status {
                    // Setting it down and up costs the guest what was entered for it.
                    told_routes_.reset();
                    told_neighbors_ = "";
                    std::string ipv6 = message.ipv6().SerializeAsString();
                    if (card.told_ipv6 == ipv6) message.clear_ipv6();
                    TRY_CTX(agent.UpdateInterface(message, deadline), "set up interface '{}' in the guest",
                            interface.link.name);
                    card.told_ipv6 = std::move(ipv6);
                    return {};
                  });
}

// An engine starts its name server when it connects the container to the first network that needs one, before
// the interface comes. False: it could not be done, and should be tried again.
bool GuestNetwork::RelayNames() {
  if (!machine_ || relays_names_) return true;
  const Result<bool> needed = network::HasNameServer();
  if (needed && !*needed) return true;
  const auto post = [weak = weak_from_this()](std::move_only_function<void()> job) {
    if (const std::shared_ptr<GuestNetwork> self = weak.lock()) self->thread_.loop().Post(std::move(job));
  };
  const auto start = [&]() -> Status {
    TRY(needed);
    name_relay_ = TRY(NameRelay::Start(thread_.loop(), post, agent_));
    return {};
  };
  const Status started = start();
  if (started) {
    log::Info("the guest's names are looked up on the host");
  } else {
    LogFailure("the guest cannot ask the name server of its networks", "", started.error());
  }
  relays_names_ = started || started.error().code() == Code::kUnimplemented;
  return relays_names_;
}

// --- the end ---

void GuestNetwork::CloseOnThread() {
  name_relay_.reset();
  settle_timer_.reset();
  retry_timer_.reset();
  events_.reset();
  cards_.clear();
  socket_.reset();
  machine_.reset();
  agent_.reset();
}

void GuestNetwork::Close() {
  thread_.loop().RunAndWait([this] { CloseOnThread(); });
}

}  // namespace kata::sandbox
