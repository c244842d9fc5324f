#include "linux/netlink/message.h"

#include <cerrno>

namespace kata::linux::netlink {
namespace {

constexpr size_t kHeaderBytes = NLMSG_HDRLEN;
constexpr size_t kAttributeHeaderBytes = NLA_HDRLEN;

// Puts the length of the attribute at `offset` into its header, and pads.
void CloseAttribute(std::string& bytes, size_t offset) {
  const auto length = static_cast<uint16_t>(bytes.size() - offset);
  std::memcpy(&bytes[offset], &length, sizeof length);
  bytes.resize(NLA_ALIGN(bytes.size()));
}

void OpenAttribute(std::string& bytes, uint16_t type) {
  const nlattr header{.nla_len = 0, .nla_type = type};
  bytes.append(reinterpret_cast<const char*>(&header), sizeof header);
}

// The kernel's words for a failure (extended acknowledgement), or nothing.
std::string KernelWords(const Message& message) {
  if ((message.flags & NLM_F_ACK_TLVS) == 0) return {};
  // The request comes back in front of the attributes: with NLM_F_CAPPED only its header, else all of it; a
  // NLMSG_DONE holds just the number.
  size_t begin = sizeof(int);
  if (message.type == NLMSG_ERROR) {
    nlmsghdr request{};
    if (message.payload.size() < sizeof(int) + sizeof request) return {};
    std::memcpy(&request, message.payload.data() + sizeof(int), sizeof request);
    begin += sizeof request;
    if ((message.flags & NLM_F_CAPPED) == 0 && request.nlmsg_len > sizeof request) {
      begin += NLMSG_ALIGN(request.nlmsg_len - sizeof request);
    }
  }
  if (begin >= message.payload.size()) return {};
  const Result<Attributes> attributes = Attributes::Parse(message.payload.substr(begin));
  return attributes ? attributes->GetString(NLMSGERR_ATTR_MSG) : std::string();
}

}  // namespace

MessageBuilder::MessageBuilder(uint16_t type, uint16_t flags) {
  const nlmsghdr header{.nlmsg_len = 0, .nlmsg_type = type, .nlmsg_flags = flags};
  Append(&header, sizeof header);
}

void MessageBuilder::Append(const void* data, size_t size) {
  bytes_.append(static_cast<const char*>(data), size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void MessageBuilder::Add(uint16_t type, std::string_view payload) {
  const size_t offset = bytes_.size();
  OpenAttribute(bytes_, type);
  bytes_.append(payload);
  CloseAttribute(bytes_, offset);
}

void MessageBuilder::AddU32(uint16_t type, uint32_t value) {
  Add(type, {reinterpret_cast<const char*>(&value), sizeof value});
}

void MessageBuilder::AddString(uint16_t type, std::string_view text) {
  std::string terminated(text);
  terminated.push_back('\0');
  Add(type, terminated);
}

size_t MessageBuilder::BeginNest(uint16_t type) {
  const size_t offset = bytes_.size();
  OpenAttribute(bytes_, static_cast<uint16_t>(type | NLA_F_NESTED));
  return offset;
}

void MessageBuilder::EndNest(size_t nest) {
  CloseAttribute(bytes_, nest);
}

std::string MessageBuilder::Finish(uint32_t sequence) const {
  std::string bytes = bytes_;
  nlmsghdr header{};
  std::memcpy(&header, bytes.data(), sizeof header);
  header.nlmsg_len = static_cast<uint32_t>(bytes.size());
  header.nlmsg_seq = sequence;
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

Result<std::vector<Message>> ParseMessages(std::string_view datagram) {
  std::vector<Message> messages;
  while (!datagram.empty()) {
    nlmsghdr header{};
    if (datagram.size() < kHeaderBytes) return Error(Code::kDataLoss, "netlink datagram is cut off");
    std::memcpy(&header, datagram.data(), sizeof header);
    if (header.nlmsg_len < kHeaderBytes || header.nlmsg_len > datagram.size()) {
      return MakeError(Code::kDataLoss, "netlink message of {} bytes in a datagram of {}", header.nlmsg_len,
                       datagram.size());
    }
    messages.push_back({header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq,
                        datagram.substr(kHeaderBytes, header.nlmsg_len - kHeaderBytes)});
    // The last message need not be padded.
    datagram.remove_prefix(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size()));
  }
  return messages;
}

Result<Attributes> Attributes::Parse(std::string_view bytes) {
  Attributes attributes;
  while (!bytes.empty()) {
    nlattr header{};
    if (bytes.size() < kAttributeHeaderBytes) return Error(Code::kDataLoss, "netlink attribute is cut off");
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.nla_len < kAttributeHeaderBytes || header.nla_len > bytes.size()) {
      return MakeError(Code::kDataLoss, "netlink attribute of {} bytes in {}", header.nla_len, bytes.size());
    }
    attributes.attributes_.push_back(
        {static_cast<uint16_t>(header.nla_type & NLA_TYPE_MASK),
         bytes.substr(kAttributeHeaderBytes, header.nla_len - kAttributeHeaderBytes)});
    bytes.remove_prefix(std::min<size_t>(NLA_ALIGN(header.nla_len), bytes.size()));
  }
  return attributes;
}

std::optional<std::string_view> Attributes::Get(uint16_t type) const {
  for (auto it = attributes_.rbegin(); it != attributes_.rend(); ++it) {
    if (it->type == type) return it->payload;
  }
  return std::nullopt;
}

std::optional<uint32_t> Attributes::GetU32(uint16_t type) const {
  const std::optional<std::string_view> payload = Get(type);
  uint32_t value = 0;
  if (!payload || payload->size() != sizeof value) return std::nullopt;
  std::memcpy(&value, payload->data(), sizeof value);
  return value;
}

std::string Attributes::GetString(uint16_t type) const {
  const std::string_view payload = Get(type).value_or(std::string_view());
  return std::string(payload.substr(0, payload.find('\0')));
}

Status ParseAcknowledgement(const Message& message) {
  int number = 0;
  // A dump without result may end with an empty NLMSG_DONE.
  if (message.type == NLMSG_DONE && message.payload.empty()) return {};
  if (message.payload.size() < sizeof number) {
    return Error(Code::kDataLoss, "netlink acknowledgement is too short");
  }
  std::memcpy(&number, message.payload.data(), sizeof number);
  if (number == 0) return {};
  constexpr int kMaxErrno = 4095;  // MAX_ERRNO
  if (number > 0 || number < -kMaxErrno)
    return MakeError(Code::kDataLoss, "netlink acknowledgement with number {}", number);
  const std::string words = KernelWords(message);
  return ErrnoError(-number, words.empty() ? "the kernel refuses" : words);
}

}  // namespace kata::linux::netlink
