// ProcessIo: one pump for each stream.
#include "sandbox/process_io.h"

#include <termios.h>

#include <asio/steady_timer.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "sandbox/stdio_fd.h"

namespace kata::sandbox {

// Guest to caller: read a chunk, write all of it, read the next.
class ProcessIo::OutputPump : public std::enable_shared_from_this<OutputPump> {
 public:
  using Reader = std::function<void(GuestStreams::DataCallback)>;

  OutputPump(EventLoop& loop, FdWatcher& watcher, Reader read, UniqueFd fd,
             std::chrono::milliseconds stall_time, std::function<void()> on_done,
             std::function<void()> on_stalled)
      : watcher_(watcher),
        read_(std::move(read)),
        fd_(std::move(fd), StdioFd::Direction::kWrite),
        stall_timer_(loop.context()),
        stall_time_(stall_time),
        on_done_(std::move(on_done)),
        on_stalled_(std::move(on_stalled)) {}

  bool done() const { return done_; }

  void Read() {
    read_([weak = weak_from_this()](Result<std::string> data) {
      if (const auto self = weak.lock()) self->OnData(std::move(data));
    });
  }

  // No callback any more; the descriptor is closed.
  void Shut() {
    done_ = true;
    watch_.Cancel();
    stall_timer_.cancel();
    fd_.Close();
  }

  void WriteUnbuffered(std::string_view text) {
    if (!fd_.valid()) return;
    // A line must not get in front of the rest of a chunk that waits for room; it is lost then.
    if (pending_.empty()) (void)fd_.Write(text);
  }

 private:
  void OnData(Result<std::string> data) {
    if (done_) return;
    // A failed read means that the process or its machine is gone; its owner learns that from its wait.
    if (!data || data->empty()) {
      Finish();
      return;
    }
    pending_ = std::move(*data);
    offset_ = 0;
    WritePending();
  }

  void WritePending() {
    while (fd_.valid() && offset_ < pending_.size()) {
      const Result<std::optional<size_t>> written = fd_.Write(std::string_view(pending_).substr(offset_));
      if (!written) {
        log::Debug("the reader of a process's output is gone", {{"error", written.error().message()}});
        fd_.Close();
      } else if (*written) {
        offset_ += **written;
      } else {
        WaitForRoom();
        return;
      }
    }
    pending_.clear();
    Read();
  }

  void WaitForRoom() {
    Result<FdWatcher::Watch> watch = watcher_.Once(fd_.get(), EPOLLOUT, [weak = weak_from_this()](uint32_t) {
      const auto self = weak.lock();
      if (!self) return;
      self->stall_timer_.cancel();
      self->WritePending();
    });
    if (!watch) {
      log::Debug("the output of a process cannot be waited for", {{"error", watch.error().message()}});
      fd_.Close();
      WritePending();
      return;
    }
    watch_ = std::move(*watch);
    stall_timer_.expires_after(stall_time_);
    stall_timer_.async_wait([weak = weak_from_this()](const std::error_code& error) {
      const auto self = weak.lock();
      if (self && !error && !self->done_) self->on_stalled_();
    });
  }

  // The descriptor is its owner's to close: WriteUnbuffered may have a last line for it.
  void Finish() {
    done_ = true;
    on_done_();
  }

  FdWatcher& watcher_;
  Reader read_;
  StdioFd fd_;
  FdWatcher::Watch watch_;
  asio::steady_timer stall_timer_;
  std::chrono::milliseconds stall_time_;
  std::function<void()> on_done_;
  std::function<void()> on_stalled_;
  std::string pending_;
  size_t offset_ = 0;
  bool done_ = false;
};

// Caller to guest: read a chunk, wait until the process's pipe has taken it, read the next.
class ProcessIo::InputPump : public std::enable_shared_from_this<InputPump> {
 public:
  InputPump(FdWatcher& watcher, std::shared_ptr<GuestStreams> guest, UniqueFd fd)
      : watcher_(watcher), guest_(std::move(guest)), fd_(std::move(fd), StdioFd::Direction::kRead) {}

  void Start() {
    started_ = true;
    Read();
  }

  // The caller's side is over; what is under way still goes out.
  void Close() {
    watch_.Cancel();
    fd_.Close();
    if (started_ && !writing_) CloseGuest();
  }

  void Shut() {
    closed_ = true;
    watch_.Cancel();
    fd_.Close();
  }

 private:
  void Read() {
    if (closed_) return;
    if (!fd_.valid()) {
      CloseGuest();
      return;
    }
    Result<std::optional<std::string>> data = fd_.Read(kChunkBytes);
    if (data && !*data) {
      WaitForData();
    } else if (!data || (*data)->empty()) {
      // A terminal whose master is gone reads as EIO: as good an end as any other.
      fd_.Close();
      CloseGuest();
    } else {
      Write(**data);
    }
  }

  void WaitForData() {
    Result<FdWatcher::Watch> watch = watcher_.Once(fd_.get(), EPOLLIN, [weak = weak_from_this()](uint32_t) {
      if (const auto self = weak.lock()) self->Read();
    });
    if (watch) {
      watch_ = std::move(*watch);
      return;
    }
    log::Debug("the input of a process cannot be waited for", {{"error", watch.error().message()}});
    fd_.Close();
    CloseGuest();
  }

  void Write(const std::string& data) {
    writing_ = true;
    guest_->WriteStdin(data, [weak = weak_from_this(), data](Result<size_t> written) mutable {
      const auto self = weak.lock();
      if (!self) return;
      self->writing_ = false;
      if (self->closed_) return;
      if (!written || *written == 0) {
        // The process has closed its stdin or is gone: the writer shall see a broken pipe.
        self->Shut();
      } else if (*written < data.size()) {
        self->Write(data.substr(*written));
      } else {
        self->Read();
      }
    });
  }

  void CloseGuest() {
    if (closed_) return;
    closed_ = true;
    guest_->CloseStdin([](const Status&) {});
  }

  FdWatcher& watcher_;
  std::shared_ptr<GuestStreams> guest_;
  StdioFd fd_;
  FdWatcher::Watch watch_;
  bool started_ = false;
  bool writing_ = false;
  bool closed_ = false;
};

namespace {

void MakeRaw(int terminal_fd) {
  termios modes{};
  if (terminal_fd < 0 || tcgetattr(terminal_fd, &modes) < 0) return;
  cfmakeraw(&modes);
  tcsetattr(terminal_fd, TCSANOW, &modes);
}

}  // namespace

ProcessIo::ProcessIo(EventLoop& loop, FdWatcher& watcher, std::shared_ptr<GuestStreams> guest, Stdio stdio,
                     Callbacks callbacks, std::chrono::milliseconds stall_time)
    : callbacks_(std::move(callbacks)) {
  if (stdio.terminal) MakeRaw(stdio.stdin_fd.valid() ? stdio.stdin_fd.get() : stdio.stdout_fd.get());
  const auto on_stalled = [this] {
    if (std::function<void()> report = std::exchange(callbacks_.on_output_stalled, nullptr)) report();
  };
  stdout_ = std::make_shared<OutputPump>(
      loop, watcher,
      [guest](GuestStreams::DataCallback callback) { guest->ReadStdout(kChunkBytes, std::move(callback)); },
      std::move(stdio.stdout_fd), stall_time,
      [this] {
        // Who reads it sees the end; that of stderr comes with the process's, which may need words.
        if (stderr_) stdout_->Shut();
        OnPumpDone();
      },
      on_stalled);
  if (!stdio.terminal) {
    stderr_ = std::make_shared<OutputPump>(
        loop, watcher,
        [guest](GuestStreams::DataCallback callback) { guest->ReadStderr(kChunkBytes, std::move(callback)); },
        std::move(stdio.stderr_fd), stall_time, [this] { OnPumpDone(); }, on_stalled);
  }
  stdin_ = std::make_shared<InputPump>(watcher, std::move(guest), std::move(stdio.stdin_fd));
}

ProcessIo::~ProcessIo() {
  stdout_->Shut();
  if (stderr_) stderr_->Shut();
  stdin_->Shut();
}

void ProcessIo::StartOutput() {
  stdout_->Read();
  if (stderr_) stderr_->Read();
}

void ProcessIo::StartInput() {
  stdin_->Start();
}

void ProcessIo::CloseInput() {
  stdin_->Close();
}

void ProcessIo::WriteError(const std::string& line) {
  (stderr_ ? stderr_ : stdout_)->WriteUnbuffered(line);
}

void ProcessIo::OnPumpDone() {
  if (!stdout_->done() || (stderr_ && !stderr_->done())) return;
  if (std::function<void()> report = std::exchange(callbacks_.on_output_done, nullptr)) report();
}

}  // namespace kata::sandbox
