// The datagrams between kata-shim (the stand-in process that engines watch) and the sandbox server. Plain C
// types in host byte order: both ends are on one machine and of one build. kata-shim links nothing but libc.
#pragma once

#include <cstdint>

namespace kata {

enum class ShimMessageType : uint32_t {
  kSignal = 1,      // shim -> server: a = signal number to deliver to the process
  kWindowSize = 2,  // shim -> server: a = rows, b = columns
  kExit = 3,        // server -> shim: a = exit code, all output is written: end with it
};

struct ShimMessage {
  ShimMessageType type;
  uint32_t a;
  uint32_t b;
};

// kata-shim's end of the channel is inherited under this number.
inline constexpr int kShimChannelFd = 3;
// A mount namespace that it enters, if there is one.
inline constexpr int kShimMountsFd = 4;
// And a user namespace.
inline constexpr int kShimUsersFd = 5;
// kata-shim's exit code when the server vanished without a word.
inline constexpr int kShimServerGoneExitCode = 255;

}  // namespace kata
