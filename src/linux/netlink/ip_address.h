// Addresses as the network's text forms have them: IPv4, IPv6, hardware addresses.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace kata::linux {

class IpAddress {
 public:
  // "192.0.2.1" or "2001:db8::1"; kInvalidArgument for anything else.
  static Result<IpAddress> Parse(const std::string& text);
  // 4 or 16 bytes in network order; kInvalidArgument for another number.
  static Result<IpAddress> FromBytes(std::string_view bytes);

  int family() const { return family_; }                      // AF_INET or AF_INET6
  int bits() const { return family_ == AF_INET ? 32 : 128; }  // the longest prefix
  std::string_view bytes() const { return {reinterpret_cast<const char*>(bytes_.data()), bits() / 8u}; }
  bool IsUnspecified() const;  // 0.0.0.0, ::
  bool IsLoopback() const;     // 127.0.0.0/8, ::1
  std::string ToString() const;
  friend bool operator==(const IpAddress&, const IpAddress&) = default;

 private:
  int family_ = AF_INET;
  std::array<uint8_t, 16> bytes_{};
};

// An address with the length of its prefix.
struct IpPrefix {
  IpAddress address;
  uint8_t length = 0;
  // "192.0.2.0/24"; without '/' a single address.
  static Result<IpPrefix> Parse(const std::string& text);
  std::string ToString() const;
  friend bool operator==(const IpPrefix&, const IpPrefix&) = default;
};

// "02:00:5e:10:00:00" -> six bytes; any length up to 32 bytes (MAX_ADDR_LEN), digits of either case.
Result<std::string> ParseHardwareAddress(std::string_view text);
// Bytes -> "02:00:5e:10:00:00"; empty for none.
std::string FormatHardwareAddress(std::string_view bytes);

}  // namespace kata::linux
