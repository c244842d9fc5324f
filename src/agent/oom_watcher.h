// Tells the host when the kernel killed a process of a container for lack of memory.
#pragma once

#include <asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "linux/cgroup2.h"

namespace kata::agent {

// Watches memory.events of the containers' cgroups by inotify(7). Events wait for whoever asks, one for each
// container: what happens meanwhile in the same one is part of it. Loop thread only.
class OomWatcher {
 public:
  static Result<std::unique_ptr<OomWatcher>> Create(EventLoop& loop);

  // Watches a cgroup from now on. A cgroup without memory controller has no events.
  Status Add(const std::string& container_id, const std::string& cgroup_directory);
  void Remove(const std::string& container_id);
  // Reports what has happened by now, as inotify tells of it later. Whether a process was ever killed.
  bool Update(const std::string& container_id);

  // Gets the id of the container of one event, now or later.
  using EventCallback = std::move_only_function<void(const std::string& container_id)>;
  void Next(uint64_t connection_id, EventCallback callback);
  // Forgets who asked over a connection that is gone.
  void DropConnection(uint64_t connection_id);

 private:
  struct Watch {
    std::string container_id;
    linux::CgroupDir cgroup;
    uint64_t kills = 0;  // of which the host knows
  };
  struct Waiter {
    uint64_t connection_id;
    EventCallback callback;
  };
  OomWatcher(EventLoop& loop, UniqueFd inotify);
  std::map<int, Watch>::iterator Find(const std::string& container_id);
  void AwaitChange();
  void ReadChanges();
  void Check(Watch& watch);
  void Deliver();

  asio::posix::stream_descriptor inotify_;
  std::map<int, Watch> watches_;  // by inotify's watch descriptor
  std::deque<std::string> events_;
  std::deque<Waiter> waiters_;
};

}  // namespace kata::agent
