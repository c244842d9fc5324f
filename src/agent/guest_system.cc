#include "agent/guest_system.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include <charconv>
#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"

namespace kata::agent {
namespace {

constexpr char kMemoryBlockSize[] = "/sys/devices/system/memory/block_size_bytes";
constexpr char kMemoryProbe[] = "/sys/devices/system/memory/probe";
// More than the generator's pool holds.
constexpr size_t kMaxEntropyBytes = 64u << 10;

}  // namespace

Result<uint64_t> MemoryBlockSize() {
  if (!PathExists(kMemoryBlockSize)) return uint64_t{0};
  const std::string text = TRY(ReadFile(kMemoryBlockSize));
  uint64_t size = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size, 16);
  if (error != std::errc()) return MakeError(Code::kInternal, "'{}' holds no number", kMemoryBlockSize);
  return size;
}

bool MemoryProbeSupported() {
  return PathExists(kMemoryProbe);
}

Status SetClock(int64_t seconds, int64_t microseconds) {
  if (seconds < 0 || microseconds < 0 || microseconds >= 1000000) {
    return MakeError(Code::kInvalidArgument, "time {} s {} us is out of range", seconds, microseconds);
  }
  const timeval time{.tv_sec = seconds, .tv_usec = microseconds};
  if (settimeofday(&time, nullptr) != 0) return SysError("set the clock");
  return {};
}

Status ReseedRandom(std::string_view entropy) {
  if (entropy.size() > kMaxEntropyBytes) {
    return MakeError(Code::kInvalidArgument, "more than {} bytes of entropy", kMaxEntropyBytes);
  }
  const UniqueFd random = TRY(Open("/dev/random", O_RDWR));
  if (!entropy.empty()) {
    // struct rand_pool_info is two ints and as many bytes as the second says.
    std::vector<int> buffer(2 + (entropy.size() + sizeof(int) - 1) / sizeof(int));
    buffer[0] = static_cast<int>(entropy.size() * 8);
    buffer[1] = static_cast<int>(entropy.size());
    std::memcpy(&buffer[2], entropy.data(), entropy.size());
    if (ioctl(random.get(), RNDADDENTROPY, buffer.data()) != 0) return SysError("add entropy");
  }
  if (ioctl(random.get(), RNDRESEEDCRNG, 0) != 0) return SysError("reseed the random number generator");
  return {};
}

}  // namespace kata::agent
