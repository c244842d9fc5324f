// Pseudo-terminals by ioctl (ioctl_tty(2), pts(4)).
#include "linux/terminal.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/file.h"
#include "linux/rooted_path.h"

namespace kata::linux {
namespace {

Result<PtyPair> PairFromMaster(UniqueFd master) {
  int unlock = 0;
  if (ioctl(master.get(), TIOCSPTLCK, &unlock) < 0) return SysError("unlock pseudo-terminal");
  UniqueFd slave(ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave) return SysError("open pseudo-terminal slave");
  return PtyPair{std::move(master), std::move(slave)};
}

Result<termios> ReadMode(int tty_fd) {
  termios mode{};
  if (tcgetattr(tty_fd, &mode) < 0) return SysError("read terminal settings");
  return mode;
}

}  // namespace

Result<PtyPair> OpenPty(const std::string& ptmx_path) {
  return PairFromMaster(TRY(Open(ptmx_path, O_RDWR | O_NOCTTY)));
}

Result<PtyPair> OpenPtyAt(int devpts_dirfd) {
  const uint64_t resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
  return PairFromMaster(TRY(OpenAt2(devpts_dirfd, "ptmx", O_RDWR | O_NOCTTY, resolve)));
}

Result<WindowSize> GetWindowSize(int tty_fd) {
  winsize size{};
  if (ioctl(tty_fd, TIOCGWINSZ, &size) < 0) return SysError("read window size");
  return WindowSize{size.ws_row, size.ws_col};
}

Status SetWindowSize(int tty_fd, WindowSize size) {
  winsize value{};
  value.ws_row = size.rows;
  value.ws_col = size.columns;
  if (ioctl(tty_fd, TIOCSWINSZ, &value) < 0) return SysError("set window size");
  return {};
}

bool IsTerminal(int fd) {
  return isatty(fd) == 1;
}

Result<bool> MapsNewlines(int tty_fd) {
  return (TRY(ReadMode(tty_fd)).c_oflag & ONLCR) != 0;
}

Status KeepNewlines(int tty_fd) {
  termios mode = TRY(ReadMode(tty_fd));
  mode.c_oflag &= ~static_cast<tcflag_t>(ONLCR);
  if (tcsetattr(tty_fd, TCSANOW, &mode) < 0) return SysError("set terminal to keep new lines");
  return {};
}

Result<RawTerminal> RawTerminal::Enter(int fd) {
  const termios saved = TRY(ReadMode(fd));
  termios raw = saved;
  cfmakeraw(&raw);
  if (tcsetattr(fd, TCSANOW, &raw) < 0) return SysError("set terminal to raw mode");
  return RawTerminal(fd, saved);
}

RawTerminal& RawTerminal::operator=(RawTerminal&& other) noexcept {
  if (this != &other) {
    Restore();
    fd_ = std::exchange(other.fd_, -1);
    saved_ = other.saved_;
  }
  return *this;
}

void RawTerminal::Restore() {
  // Drains first, so that output written in raw mode is not mangled by the restored settings.
  if (fd_ >= 0) tcsetattr(std::exchange(fd_, -1), TCSADRAIN, &saved_);
}

}  // namespace kata::linux
