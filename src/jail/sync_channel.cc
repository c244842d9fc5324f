// Messages: one byte of type, then text; an error as "<code> <errno> <message>".
#include "jail/sync_channel.h"

#include <charconv>

#include "linux/unix_socket.h"

namespace kata::jail {
namespace {

constexpr size_t kMaxMessageBytes = 16u << 10;
constexpr auto kSendTimeout = std::chrono::seconds(10);

}  // namespace

Status SyncChannel::Send(Type type, std::string_view text, int fd) {
  std::string data(1, static_cast<char>(type));
  data += text.substr(0, kMaxMessageBytes - 1);
  std::vector<int> fds;
  if (fd >= 0) fds.push_back(fd);
  return linux::SendUnixMessage(socket_.get(), data, fds, Deadline::After(kSendTimeout));
}

Status SyncChannel::SendError(const Error& error) {
  return Send(Type::kError,
              fmt::format("{} {} {}", static_cast<int>(error.code()), error.sys_errno(), error.message()));
}

Result<SyncChannel::Message> SyncChannel::Receive(Deadline deadline) {
  linux::UnixMessage raw = TRY(linux::ReceiveUnixMessage(socket_.get(), kMaxMessageBytes, 1, deadline));
  Message message;
  if (raw.data.empty()) return message;
  message.type = static_cast<Type>(raw.data[0]);
  message.text = raw.data.substr(1);
  if (!raw.fds.empty()) message.fd = std::move(raw.fds[0]);
  return message;
}

Result<SyncChannel::Message> SyncChannel::Expect(Type type, Deadline deadline) {
  Message message = TRY(Receive(deadline));
  if (message.type == type) return message;
  if (message.type == Type::kError) return DecodeError(message.text);
  if (message.type == Type::kEndOfFile)
    return MakeError(Code::kAborted, "the other end has closed the channel");
  return MakeError(Code::kInternal, "unexpected message '{}'", static_cast<char>(message.type));
}

Error SyncChannel::DecodeError(std::string_view text) {
  int code = 0;
  int sys_errno = 0;
  const char* end = text.data() + text.size();
  const auto code_end = std::from_chars(text.data(), end, code);
  if (code_end.ec == std::errc() && code_end.ptr != end) {
    const auto errno_end = std::from_chars(code_end.ptr + 1, end, sys_errno);
    const bool known = code > 0 && code <= static_cast<int>(Code::kDataLoss);
    if (errno_end.ec == std::errc() && errno_end.ptr != end && known) {
      return Error(static_cast<Code>(code), std::string(errno_end.ptr + 1, end), sys_errno);
    }
  }
  return Error(Code::kInternal, std::string(text));
}

}  // namespace kata::jail
