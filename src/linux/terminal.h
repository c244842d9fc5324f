// Terminals: pseudo-terminal pairs, window sizes, raw mode.
#pragma once

#include <termios.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::linux {

struct PtyPair {
  UniqueFd master;
  UniqueFd slave;
};

// A new pair from a ptmx device. The slave is opened through the master (TIOCGPTPEER), never by a path that
// somebody could have replaced, and neither NSS nor grantpt(3) is needed. Both are close-on-exec and not made
// the controlling terminal.
Result<PtyPair> OpenPty(const std::string& ptmx_path = "/dev/ptmx");
// The same from the devpts instance whose root directory is `devpts_dirfd`, which may be somebody else's:
// what is mounted over its ptmx, or a link there, is refused.
Result<PtyPair> OpenPtyAt(int devpts_dirfd);

struct WindowSize {
  uint16_t rows = 0;
  uint16_t columns = 0;
};
Result<WindowSize> GetWindowSize(int tty_fd);
Status SetWindowSize(int tty_fd, WindowSize size);

bool IsTerminal(int fd);

// Whether the terminal writes a carriage return before each new line (ONLCR), as a new one does. Of a
// pseudo-terminal either end tells.
Result<bool> MapsNewlines(int tty_fd);
// From now on it does not.
Status KeepNewlines(int tty_fd);

// Puts a terminal into raw mode and restores it on destruction.
class RawTerminal {
 public:
  // `fd` is borrowed and must outlive the object.
  static Result<RawTerminal> Enter(int fd);
  RawTerminal(RawTerminal&& other) noexcept : fd_(other.fd_), saved_(other.saved_) { other.fd_ = -1; }
  RawTerminal& operator=(RawTerminal&& other) noexcept;
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() { Restore(); }
  void Restore();

 private:
  RawTerminal(int fd, const termios& saved) : fd_(fd), saved_(saved) {}
  int fd_ = -1;
  termios saved_{};
};

}  // namespace kata::linux
