#include "agent/oom_watcher.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace kata::agent {

Result<std::unique_ptr<OomWatcher>> OomWatcher::Create(EventLoop& loop) {
  UniqueFd inotify(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify.valid()) return SysError("make an inotify descriptor");
  return std::unique_ptr<OomWatcher>(new OomWatcher(loop, std::move(inotify)));
}

OomWatcher::OomWatcher(EventLoop& loop, UniqueFd inotify) : inotify_(loop.context(), inotify.Release()) {
  AwaitChange();
}

Status OomWatcher::Add(const std::string& container_id, const std::string& cgroup_directory) {
  linux::CgroupDir cgroup = TRY(linux::CgroupDir::Open(cgroup_directory));
  if (!cgroup.HasFile("memory.events")) return {};
  const std::string path = cgroup_directory + "/memory.events";
  const int descriptor = inotify_add_watch(inotify_.native_handle(), path.c_str(), IN_MODIFY);
  if (descriptor < 0) return SysError("watch '{}'", path);
  watches_[descriptor] = {container_id, std::move(cgroup)};
  return {};
}

std::map<int, OomWatcher::Watch>::iterator OomWatcher::Find(const std::string& container_id) {
  return std::find_if(watches_.begin(), watches_.end(),
                      [&](const auto& entry) { return entry.second.container_id == container_id; });
}

bool OomWatcher::Update(const std::string& container_id) {
  const auto it = Find(container_id);
  if (it == watches_.end()) return false;
  Check(it->second);
  const bool killed = it->second.kills > 0;
  Deliver();
  return killed;
}

void OomWatcher::Remove(const std::string& container_id) {
  const auto it = Find(container_id);
  if (it == watches_.end()) return;
  Check(it->second);
  // Fails if the file is gone already, which ended the watch too.
  inotify_rm_watch(inotify_.native_handle(), it->first);
  watches_.erase(it);
}

void OomWatcher::Next(uint64_t connection_id, EventCallback callback) {
  waiters_.push_back({connection_id, std::move(callback)});
  Deliver();
}

void OomWatcher::DropConnection(uint64_t connection_id) {
  std::erase_if(waiters_, [&](const Waiter& waiter) { return waiter.connection_id == connection_id; });
}

void OomWatcher::AwaitChange() {
  inotify_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
    if (error) return;
    ReadChanges();
    AwaitChange();
  });
}

void OomWatcher::ReadChanges() {
  alignas(inotify_event) char buffer[4096];
  ssize_t count;
  while ((count = read(inotify_.native_handle(), buffer, sizeof(buffer))) > 0) {
    for (ssize_t offset = 0; offset < count;) {
      inotify_event event;
      std::memcpy(&event, buffer + offset, sizeof(event));
      offset += static_cast<ssize_t>(sizeof(event) + event.len);
      if ((event.mask & IN_Q_OVERFLOW) != 0) {
        for (auto& [descriptor, watch] : watches_) Check(watch);
      } else if (const auto it = watches_.find(event.wd); it != watches_.end()) {
        Check(it->second);
      }
    }
  }
  Deliver();
}

void OomWatcher::Check(Watch& watch) {
  const Result<uint64_t> kills = watch.cgroup.OomKills();
  if (!kills || *kills <= watch.kills) return;
  watch.kills = *kills;
  if (std::find(events_.begin(), events_.end(), watch.container_id) != events_.end()) return;
  events_.push_back(watch.container_id);
}

void OomWatcher::Deliver() {
  while (!events_.empty() && !waiters_.empty()) {
    Waiter waiter = std::move(waiters_.front());
    waiters_.pop_front();
    const std::string container_id = std::move(events_.front());
    events_.pop_front();
    waiter.callback(container_id);
  }
}

}  // namespace kata::agent
