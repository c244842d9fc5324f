// Netlink messages (netlink(7)): building requests, reading what the kernel sent. Pure; no sockets.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace kata::linux::netlink {

// A request: the netlink header, the protocol's own fixed header, attributes.
class MessageBuilder {
 public:
  // `flags`: NLM_F_*. `fixed`: e.g. an ifinfomsg.
  template <typename Fixed>
  MessageBuilder(uint16_t type, uint16_t flags, const Fixed& fixed) : MessageBuilder(type, flags) {
    static_assert(std::is_trivially_copyable_v<Fixed>);
    Append(&fixed, sizeof fixed);
  }

  // One attribute. The payload is copied.
  void Add(uint16_t type, std::string_view payload);
  void AddU32(uint16_t type, uint32_t value);
  // With the terminating zero byte that the kernel wants.
  void AddString(uint16_t type, std::string_view text);
  // Attributes added between the two become parts of one.
  size_t BeginNest(uint16_t type);
  void EndNest(size_t nest);

  // The bytes for the kernel, with length and sequence number filled in.
  std::string Finish(uint32_t sequence) const;

 private:
  MessageBuilder(uint16_t type, uint16_t flags);
  void Append(const void* data, size_t size);

  std::string bytes_;
};

// One message of a datagram; `payload` points into it.
struct Message {
  uint16_t type = 0;
  uint16_t flags = 0;
  uint32_t sequence = 0;
  std::string_view payload;  // behind the netlink header
};

// The messages of one datagram. kDataLoss if a length does not fit; nothing outside of `datagram` is read.
Result<std::vector<Message>> ParseMessages(std::string_view datagram);

// Attributes of a message, by type. Views into the message's payload.
class Attributes {
 public:
  // kDataLoss if a length does not fit. Of a repeated type the last counts.
  static Result<Attributes> Parse(std::string_view bytes);

  std::optional<std::string_view> Get(uint16_t type) const;
  // nullopt also when the payload has not exactly that size.
  std::optional<uint32_t> GetU32(uint16_t type) const;
  // Up to the first zero byte; empty if there is none.
  std::string GetString(uint16_t type) const;

 private:
  struct Attribute {
    uint16_t type;
    std::string_view payload;
  };
  std::vector<Attribute> attributes_;
};

// Splits a payload into the fixed header and the attributes behind it.
template <typename Fixed>
Result<Attributes> ParsePayload(std::string_view payload, Fixed& fixed) {
  static_assert(std::is_trivially_copyable_v<Fixed>);
  if (payload.size() < sizeof fixed) return Error(Code::kDataLoss, "netlink message is too short");
  std::memcpy(&fixed, payload.data(), sizeof fixed);  // NOLINT(bugprone-suspicious-stringview-data-usage)
  const size_t begin = NLMSG_ALIGN(sizeof fixed);
  return Attributes::Parse(payload.size() > begin ? payload.substr(begin) : std::string_view());
}

// What an NLMSG_ERROR or NLMSG_DONE message says: success for errno 0, else the errno with the kernel's own
// words (NLMSGERR_ATTR_MSG) where it sent some. kDataLoss if the message is malformed.
Status ParseAcknowledgement(const Message& message);

}  // namespace kata::linux::netlink
