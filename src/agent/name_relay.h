// NameRelay: takes the queries that programs in the guest send to a name server which only the host can
// reach, and gives them the host's answers.
#pragma once

#include <netinet/in.h>

#include <asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "agent/port_redirect.h"
#include "base/acceptor.h"
#include "base/event_loop.h"
#include "base/result.h"

namespace kata::agent {

// Loop thread only. Who asks is hostile: the number and length of queries are bounded, and where there are
// too many the oldest goes, whose sender has waited longest.
class NameRelay {
 public:
  struct Query {
    uint64_t id = 0;
    bool stream = false;  // came over TCP
    std::string message;
  };
  using QueryCallback = std::function<void(const Query&)>;

  // `loop` is borrowed. `cgroup_root`: mount point of cgroup2, in which the containers are.
  NameRelay(EventLoop& loop, std::string cgroup_root) : loop_(loop), cgroup_root_(std::move(cgroup_root)) {}
  NameRelay(const NameRelay&) = delete;
  NameRelay& operator=(const NameRelay&) = delete;

  // Takes what is sent to this address of the loopback interface, over UDP and TCP. kFailedPrecondition if it
  // does so for another address already.
  Status Listen(const sockaddr_in& address);
  // Calls back, once, with the next query.
  void Next(uint64_t connection_id, QueryCallback callback);
  // Nothing happens if the sender of the query has gone.
  void Answer(uint64_t id, const std::string& message);
  void DropConnection(uint64_t connection_id);

 private:
  class Stream;
  struct Waiter {
    uint64_t connection_id;
    QueryCallback callback;
  };
  using Sender = std::variant<sockaddr_in, std::weak_ptr<Stream>>;

  void AwaitDatagrams();
  void ReadDatagrams();
  void AddStream(UniqueFd socket);
  void Add(Sender sender, std::string message);
  void Deliver();

  EventLoop& loop_;
  const std::string cgroup_root_;
  std::optional<sockaddr_in> address_;
  std::optional<asio::posix::stream_descriptor> datagrams_;
  std::unique_ptr<Acceptor> acceptor_;
  PortRedirect redirect_;
  std::deque<std::shared_ptr<Stream>> streams_;  // the oldest first
  uint64_t next_id_ = 1;
  std::map<uint64_t, Sender> senders_;  // of queries without an answer
  std::deque<Query> queries_;           // that nobody has asked for yet
  std::deque<Waiter> waiters_;
};

}  // namespace kata::agent
