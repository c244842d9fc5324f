// FdWatcher: an epoll instance inside asio's.
#include "sandbox/fd_watcher.h"

#include <array>
#include <asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <map>
#include <system_error>
#include <utility>

#include "base/unique_fd.h"

namespace kata::sandbox {

class FdWatcher::Impl : public std::enable_shared_from_this<FdWatcher::Impl> {
 public:
  Impl(EventLoop& loop, int epoll_fd) : epoll_(loop.context(), epoll_fd) {}

  void Arm() {
    epoll_.async_wait(asio::posix::stream_descriptor::wait_read,
                      [self = shared_from_this()](const std::error_code& error) {
                        if (!error) self->Dispatch();
                      });
  }

  Status Add(uint64_t id, int fd, uint32_t events, Callback callback) {
    epoll_event event{};
    event.events = events | EPOLLONESHOT;
    event.data.u64 = id;
    if (epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, fd, &event) < 0)
      return SysError("watch descriptor {}", fd);
    entries_.emplace(id, Entry{fd, std::move(callback)});
    return {};
  }

  void Remove(uint64_t id) {
    const auto it = entries_.find(id);
    if (it == entries_.end()) return;
    epoll_ctl(epoll_.native_handle(), EPOLL_CTL_DEL, it->second.fd, nullptr);
    entries_.erase(it);
  }

  void Close() {
    std::error_code ignored;
    epoll_.close(ignored);
    entries_.clear();
  }

  uint64_t NextId() { return ++last_id_; }

 private:
  struct Entry {
    int fd;
    Callback callback;
  };

  void Dispatch() {
    std::array<epoll_event, 32> events;
    const int count = epoll_wait(epoll_.native_handle(), events.data(), events.size(), 0);
    for (int i = 0; i < count; ++i) {
      // A callback before this one may have ended this wait.
      const auto it = entries_.find(events[i].data.u64);
      if (it == entries_.end()) continue;
      Callback callback = std::move(it->second.callback);
      Remove(it->first);
      callback(events[i].events);
    }
    if (epoll_.is_open()) Arm();
  }

  asio::posix::stream_descriptor epoll_;
  std::map<uint64_t, Entry> entries_;
  uint64_t last_id_ = 0;
};

FdWatcher::Watch::Watch(Watch&& other) noexcept
    : watcher_(std::move(other.watcher_)), id_(std::exchange(other.id_, 0)) {}

FdWatcher::Watch& FdWatcher::Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    Cancel();
    watcher_ = std::move(other.watcher_);
    id_ = std::exchange(other.id_, 0);
  }
  return *this;
}

void FdWatcher::Watch::Cancel() {
  if (id_ == 0) return;
  if (const std::shared_ptr<Impl> watcher = watcher_.lock()) watcher->Remove(id_);
  id_ = 0;
}

Result<std::unique_ptr<FdWatcher>> FdWatcher::Create(EventLoop& loop) {
  UniqueFd epoll_fd(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_fd) return SysError("create epoll instance");
  try {
    auto impl = std::make_shared<Impl>(loop, epoll_fd.get());
    (void)epoll_fd.Release();  // asio's descriptor owns it now
    impl->Arm();
    return std::unique_ptr<FdWatcher>(new FdWatcher(std::move(impl)));
  } catch (const std::system_error& error) {
    return MakeError(Code::kInternal, "watch epoll instance: {}", error.what());
  }
}

FdWatcher::~FdWatcher() {
  impl_->Close();
}

Result<FdWatcher::Watch> FdWatcher::Once(int fd, uint32_t events, Callback callback) {
  const uint64_t id = impl_->NextId();
  TRY(impl_->Add(id, fd, events, std::move(callback)));
  return Watch(impl_, id);
}

}  // namespace kata::sandbox
