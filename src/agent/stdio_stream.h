// The agent's ends of a process's standard streams: pipes, or the master of a pseudo-terminal. They never
// block, and hold no memory for a peer that does not read.
#pragma once

#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "jail/jail.h"

namespace kata::agent {

// What a process writes. Loop thread only; owned by shared_ptr.
class OutputStream : public std::enable_shared_from_this<OutputStream> {
 public:
  // After the process has ended, output is waited for this long, as its children may hold the stream open.
  static constexpr std::chrono::milliseconds kDrainTime{500};
  // What is read at most after that time, or what the pipe holds if that is more, so that nothing written
  // before is lost, yet a background process that never stops writing does not keep the stream open.
  static constexpr size_t kMaxBytesAfterDrain = 1u << 20;
  // How often a terminal that nobody has open is looked at: its end cannot be waited for.
  static constexpr std::chrono::milliseconds kHangupInterval{100};
  static constexpr size_t kMaxReadBytes = 1u << 20;
  static constexpr size_t kMaxPendingReads = 8;

  // Empty: end of file, now and at every later read.
  using ReadCallback = std::move_only_function<void(Result<std::string>)>;

  // `fd`: non-blocking. `loop` is borrowed.
  OutputStream(EventLoop& loop, UniqueFd fd);

  // Reads up to `max_bytes` (bounded by kMaxReadBytes) as soon as there is anything. Reads are served in
  // order.
  void Read(size_t max_bytes, uint64_t connection_id, ReadCallback callback);
  // The process has ended: begins the drain time. Until then a terminal has no end, as the process may open
  // it again.
  void ProcessEnded();
  // Forgets the reads of a connection that is gone, so that no output is lost to it.
  void DropConnection(uint64_t connection_id);
  // End of file was seen and told to a reader.
  bool finished() const { return finished_; }

 private:
  struct PendingRead {
    size_t max_bytes;
    uint64_t connection_id;
    ReadCallback callback;
  };
  void Serve();
  // One read(2): data, empty at the end, nullopt when there is nothing yet.
  std::optional<Result<std::string>> ReadOnce(size_t max_bytes);
  void AwaitReadable();

  asio::posix::stream_descriptor descriptor_;
  asio::steady_timer drain_timer_;
  asio::steady_timer hangup_timer_;
  std::deque<PendingRead> reads_;
  bool waiting_ = false;
  bool process_ended_ = false;
  bool hung_up_ = false;   // nobody had the terminal open at the last read
  bool ended_ = false;     // end of file
  bool finished_ = false;  // ... which a reader knows
  bool drained_ = false;   // the drain time is over
  size_t max_bytes_after_drain_ = kMaxBytesAfterDrain;
  size_t bytes_after_drain_ = 0;
};

// What a process reads. Loop thread only; owned by shared_ptr.
class InputStream : public std::enable_shared_from_this<InputStream> {
 public:
  using WriteCallback = std::move_only_function<void(Result<size_t>)>;

  // `fd`: non-blocking. `terminal`: closing leaves the terminal as it is, since others use it too.
  InputStream(EventLoop& loop, UniqueFd fd, bool terminal);

  // Answers when the process's pipe or terminal has taken all of `data`. One write at a time:
  // kResourceExhausted while another one waits, which bounds what the agent holds.
  void Write(std::string data, WriteCallback callback);
  // End of file for the process, after a write that still waits. Idempotent.
  void Close();
  // Fails the write that waits; nobody reads any more.
  void Abandon();

 private:
  void Continue();
  void Finish(Result<size_t> result);

  asio::posix::stream_descriptor descriptor_;
  bool terminal_;
  bool close_requested_ = false;
  std::string data_;
  size_t written_ = 0;
  WriteCallback callback_;
};

// The descriptors of a new process's stdio: the child's ends and ours. Made on any thread.
struct StdioEnds {
  // Ends for the jail; closed by the agent once the process exists.
  UniqueFd child_stdin, child_stdout, child_stderr;
  // Non-blocking. With a terminal, `terminal` alone.
  UniqueFd stdin_writer, stdout_reader, stderr_reader, terminal;

  jail::StdioFds ForJail() const;
  void CloseChildEnds();
};

// Pipes of `pipe_size_bytes` (0: the kernel's default). With `null_stdin` none for stdin.
Result<StdioEnds> MakePipes(uint32_t pipe_size_bytes, bool null_stdin = false);
// The agent's end of the terminal that a process opened in its container.
Result<StdioEnds> TerminalEnds(UniqueFd master);

}  // namespace kata::agent
