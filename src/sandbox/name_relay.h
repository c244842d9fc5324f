// NameRelay: the host's end of the guest's way to the name server of the container's network namespace. It
// asks the agent for the queries of the guest, puts them to the name server and returns the answers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "sandbox/agent_client.h"

namespace kata::sandbox {

// Lives on a thread that is in the container's network namespace. The guest is hostile: it can send any bytes
// to that name server, so many queries at a time, and to nobody else. Queries and answers are not looked at.
class NameRelay : public std::enable_shared_from_this<NameRelay> {
 public:
  // Runs a function on the relay's thread; from any thread. Does nothing when that thread has ended.
  using Post = std::function<void(std::move_only_function<void()>)>;

  // `thread` is borrowed: the loop of the relay's thread. Has the agent listen; blocks for it.
  static Result<std::shared_ptr<NameRelay>> Start(EventLoop& thread, Post post,
                                                  std::shared_ptr<AgentClient> agent);
  // Ends the lookups under way.
  ~NameRelay();
  NameRelay(const NameRelay&) = delete;
  NameRelay& operator=(const NameRelay&) = delete;

 private:
  class Lookup;

  NameRelay(EventLoop& thread, Post post, std::shared_ptr<AgentClient> agent)
      : thread_(thread), post_(std::move(post)), agent_(std::move(agent)) {}
  void AwaitQuery();
  void OnQuery(const NameQuery& query);
  void Finish(const std::shared_ptr<Lookup>& lookup, uint64_t id, std::string answer);

  EventLoop& thread_;
  const Post post_;
  const std::shared_ptr<AgentClient> agent_;
  std::set<std::shared_ptr<Lookup>> lookups_;
  size_t answers_ = 0;     // that the agent has not taken yet; a hostile one never does
  bool awaiting_ = false;  // the agent has been asked for a query
};

}  // namespace kata::sandbox
