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
    Sync();
    WaitForEvents();
  });
}

void GuestNetwork::Settle(std::move_only_function<void()> done) {
  thread_.loop().Post([self = shared_from_this(), done = std::move(done)]() mutable {
    if (self->events_ && self->HasEvents()) self->Sync();
    self->RelayNames();
    // The last reference must not go on this thread, which the destructor waits for.
    EventLoop& loop = self->loop_;
    loop.Post([self = std::move(self), done = std::move(done)]() mutable { done(); });
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
      if (HasEvents()) Sync();
      WaitForEvents();
    });
  });
}

bool GuestNetwork::HasEvents() {
  pollfd entry{.fd = events_->native_handle(), .events = POLLIN, .revents = 0};
  return poll(&entry, 1, 0) > 0;
}

void GuestNetwork::Sync() {
  if (!machine_) return;
  linux::DrainEvents(events_->native_handle());
  const Result<network::Network> network = Scan();
  if (!network) {
    LogFailure("cannot read the network namespace", "", network.error());
    return;
  }
  UnplugVanished(*network);
  PlugNew(*network);
  if (const Status told = Tell(*agent_, *network, Deadline::After(kAgentCallTime)); !told) {
    LogFailure("the guest's network is not as the container's", "", told.error());
  }
  RelayNames();
}

void GuestNetwork::UnplugVanished(const network::Network& network) {
  std::erase_if(refused_, [&](int index) { return network.Find(index) == nullptr; });
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
    }
    return true;
  });
}

void GuestNetwork::PlugNew(const network::Network& network) {
  for (const network::Interface& interface : network.interfaces) {
    const int index = interface.link.index;
    if (cards_.contains(index) || refused_.contains(index)) continue;
    if (const Status plugged = Plug(interface.link); !plugged) {
      LogFailure("cannot plug in a network card", interface.link.name, plugged.error());
      // A failed attempt makes events itself; it shall not lead to the next.
      refused_.insert(index);
    } else {
      log::Info("network card plugged in", {{"interface", interface.link.name}});
    }
  }
}

Status GuestNetwork::Plug(const linux::Link& link) {
  Card card = TRY(Join(link));
  card.guest_pci_path = TRY(machine_->AttachDevice(DeviceOf(card), Deadline::After(kPlugTime)));
  card.endpoint->CloseDescriptors();
  cards_[link.index] = std::move(card);
  return {};
}

Status GuestNetwork::Tell(AgentClient& agent, const network::Network& network, Deadline deadline) {
  for (const network::Interface& interface : network.interfaces) {
    const auto card = cards_.find(interface.link.index);
    if (card == cards_.end()) continue;
    const types::Interface message = network::ToMessage(interface, card->second.guest_pci_path);
    std::string bytes = message.SerializeAsString();
    if (bytes == card->second.told) continue;
    TRY_CTX(agent.UpdateInterface(message, deadline), "set up interface '{}' in the guest",
            interface.link.name);
    card->second.told = std::move(bytes);
    // Setting it down and up has cost the guest what was entered for it.
    told_routes_.clear();
    told_neighbors_.clear();
  }
  const grpc::Routes routes = network::RoutesToMessage(network);
  if (std::string bytes = routes.SerializeAsString(); bytes != told_routes_) {
    TRY_CTX(agent.UpdateRoutes(routes, deadline), "set the routes in the guest");
    told_routes_ = std::move(bytes);
  }
  const grpc::ARPNeighbors neighbors = network::NeighborsToMessage(network);
  if (std::string bytes = neighbors.SerializeAsString(); bytes != told_neighbors_) {
    TRY_CTX(agent.AddArpNeighbors(neighbors, deadline), "set the neighbours in the guest");
    told_neighbors_ = std::move(bytes);
  }
  return {};
}

// An engine starts its name server when it connects the container to the first network that needs one, before
// the interface comes.
void GuestNetwork::RelayNames() {
  if (!machine_ || relays_names_) return;
  const Result<bool> needed = network::HasNameServer();
  if (needed && !*needed) return;
  relays_names_ = true;
  const auto post = [weak = weak_from_this()](std::move_only_function<void()> job) {
    if (const std::shared_ptr<GuestNetwork> self = weak.lock()) self->thread_.loop().Post(std::move(job));
  };
  const auto start = [&]() -> Status {
    TRY(needed);
    name_relay_ = TRY(NameRelay::Start(thread_.loop(), post, agent_));
    return {};
  };
  if (const Status started = start(); !started) {
    LogFailure("the guest cannot ask the name server of its networks", "", started.error());
  } else {
    log::Info("the guest's names are looked up on the host");
  }
}

// --- the end ---

void GuestNetwork::CloseOnThread() {
  name_relay_.reset();
  settle_timer_.reset();
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
