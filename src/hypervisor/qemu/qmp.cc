#include "hypervisor/qemu/qmp.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"

namespace kata::hypervisor::qemu {
namespace {

using nlohmann::json;

constexpr size_t kReadChunk = 16u << 10;

Error Malformed(std::string_view reason) {
  return MakeError(Code::kDataLoss, "read qmp message: {}", reason);
}

// The parser's memory grows with nesting, so the depth is known before it runs.
bool NestsDeeperThan(std::string_view text, int limit) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > limit) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

// The string member `key` of `object`, or nullptr.
const std::string* FindString(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() ? it->get_ptr<const std::string*>() : nullptr;
}

std::string FormatVersion(const json& greeting) {
  if (!greeting.is_object()) return "unknown";
  const json::json_pointer path("/version/qemu");
  if (!greeting.contains(path) || !greeting[path].is_object()) return "unknown";
  const auto number = [&version = greeting[path]](const char* key) -> uint64_t {
    const auto it = version.find(key);
    return it != version.end() && it->is_number_unsigned() ? it->get<uint64_t>() : 0;
  };
  return fmt::format("{}.{}.{}", number("major"), number("minor"), number("micro"));
}

Result<QmpMessage> ParseError(const json& object, std::optional<uint64_t> id) {
  const json& error = object["error"];
  if (!error.is_object()) return Malformed("'error' is not an object");
  const std::string* error_class = FindString(error, "class");
  const std::string* description = FindString(error, "desc");
  if (error_class == nullptr || description == nullptr) return Malformed("'error' lacks 'class' or 'desc'");
  return QmpMessage(QmpReply{id, QmpError{*error_class, *description}});
}

Code CodeOf(const std::string& error_class) {
  if (error_class == "CommandNotFound") return Code::kUnimplemented;
  if (error_class == "DeviceNotFound") return Code::kNotFound;
  if (error_class == "DeviceNotActive") return Code::kFailedPrecondition;
  return Code::kInternal;
}

}  // namespace

Result<QmpMessage> ParseQmpLine(std::string_view line) {
  if (line.size() > kMaxQmpLine) return Malformed("line too long");
  if (NestsDeeperThan(line, kMaxQmpNesting)) return Malformed("nested too deeply");
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Malformed("not a JSON object");

  if (const auto greeting = object.find("QMP"); greeting != object.end()) {
    return QmpMessage(QmpGreeting{FormatVersion(*greeting)});
  }
  if (object.contains("event")) {
    const std::string* name = FindString(object, "event");
    if (name == nullptr) return Malformed("'event' is not a string");
    const auto data = object.find("data");
    if (data == object.end()) return QmpMessage(QmpEvent{*name, json::object()});
    if (!data->is_object()) return Malformed("'data' is not an object");
    return QmpMessage(QmpEvent{*name, *data});
  }
  std::optional<uint64_t> id;
  if (const auto it = object.find("id"); it != object.end()) {
    if (!it->is_number_unsigned()) return Malformed("'id' is not one of ours");
    id = it->get<uint64_t>();
  }
  if (object.contains("error")) return ParseError(object, id);
  const auto value = object.find("return");
  if (value == object.end()) return Malformed("neither greeting, event, return nor error");
  return QmpMessage(QmpReply{id, *value});
}

QmpClient::QmpClient(UniqueFd socket, EventCallback on_event)
    : socket_(std::move(socket)), on_event_(std::move(on_event)) {}

Result<std::unique_ptr<QmpClient>> QmpClient::Connect(UniqueFd socket, EventCallback on_event,
                                                      Deadline deadline) {
  TRY(SetNonBlocking(socket.get(), true));
  std::unique_ptr<QmpClient> client(new QmpClient(std::move(socket), std::move(on_event)));
  client->reader_ = std::thread([self = client.get()] { self->ReadLoop(); });
  {
    std::unique_lock lock(client->mutex_);
    const auto done = [&] { return client->greeting_.has_value() || client->failure_.has_value(); };
    if (!client->changed_.wait_until(lock, deadline.time(), done)) {
      return MakeError(Code::kDeadlineExceeded, "wait for qmp greeting: deadline exceeded");
    }
    if (!client->greeting_) return Error(*client->failure_).Wrap("wait for qmp greeting");
    client->version_ = client->greeting_->version;
  }
  TRY(client->Execute({.name = "qmp_capabilities"}, deadline));
  return client;
}

QmpClient::~QmpClient() {
  // Wakes the reader, which sees the end of the stream.
  shutdown(socket_.get(), SHUT_RDWR);
  if (reader_.joinable()) reader_.join();
}

Result<json> QmpClient::Execute(QmpCommand command, Deadline deadline) {
  std::vector<QmpCommand> commands;
  commands.push_back(std::move(command));
  std::vector<json> values = TRY(ExecuteAll(std::move(commands), deadline));
  return std::move(values.front());
}

Result<std::vector<json>> QmpClient::ExecuteAll(std::vector<QmpCommand> commands, Deadline deadline) {
  uint64_t first_id;
  {
    std::lock_guard lock(mutex_);
    first_id = next_id_;
    next_id_ += commands.size();
    for (size_t i = 0; i < commands.size(); ++i) replies_[first_id + i] = std::nullopt;
  }
  std::optional<Error> error;
  std::vector<json> values;
  for (size_t i = 0; i < commands.size() && !error; ++i) {
    if (Status sent = Send(first_id + i, commands[i], deadline); !sent) {
      error = std::move(sent).error().Wrap(fmt::format("execute '{}'", commands[i].name));
    }
  }
  for (size_t i = 0; i < commands.size() && !error; ++i) {
    Result<json> value = WaitReply(first_id + i, commands[i].name, deadline);
    if (value) {
      values.push_back(std::move(*value));
    } else {
      error = std::move(value).error();
    }
  }
  {
    // A late reply finds nobody waiting and is dropped.
    std::lock_guard lock(mutex_);
    for (size_t i = 0; i < commands.size(); ++i) replies_.erase(first_id + i);
  }
  if (error) return std::move(*error);
  return values;
}

Result<json> QmpClient::WaitReply(uint64_t id, const std::string& name, Deadline deadline) {
  std::unique_lock lock(mutex_);
  std::optional<QmpReply>& slot = replies_[id];
  const auto done = [&] { return slot.has_value() || failure_.has_value(); };
  if (!changed_.wait_until(lock, deadline.time(), done)) {
    return MakeError(Code::kDeadlineExceeded, "execute '{}': wait for qmp reply: deadline exceeded", name);
  }
  if (!slot) return Error(*failure_).Wrap(fmt::format("execute '{}'", name));
  if (const QmpError* error = std::get_if<QmpError>(&slot->outcome)) {
    return MakeError(CodeOf(error->error_class), "execute '{}': {}: {}", name, error->error_class,
                     error->description);
  }
  return std::move(std::get<json>(slot->outcome));
}

Status QmpClient::WaitClosed(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline.time(), [&] { return failure_.has_value(); })) {
    return MakeError(Code::kDeadlineExceeded, "wait for qmp connection to close: deadline exceeded");
  }
  return {};
}

Status QmpClient::Send(uint64_t id, const QmpCommand& command, Deadline deadline) {
  json object = {{"execute", command.name}, {"id", id}};
  if (!command.arguments.is_null()) object["arguments"] = command.arguments;
  // Strings of a configuration may hold bytes that are no UTF-8, which dump() would otherwise throw for.
  const std::string line = object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";

  std::lock_guard lock(write_mutex_);
  size_t sent = 0;
  while (sent < line.size()) {
    iovec part{const_cast<char*>(line.data()) + sent, line.size() - sent};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    if (command.fd >= 0 && sent == 0) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      memcpy(CMSG_DATA(header), &command.fd, sizeof(int));
    }
    const ssize_t count = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (count > 0) {
      sent += static_cast<size_t>(count);
    } else if (errno == EAGAIN) {
      TRY(WaitFd(socket_.get(), POLLOUT, deadline, "room in qmp socket"));
    } else if (errno != EINTR) {
      return SysError("write to qmp socket");
    }
  }
  return {};
}

void QmpClient::ReadLoop() {
  std::string input;
  for (;;) {
    const size_t used = input.size();
    input.resize(used + kReadChunk);
    const ssize_t count = recv(socket_.get(), input.data() + used, kReadChunk, 0);
    const int error = errno;
    input.resize(used + (count > 0 ? static_cast<size_t>(count) : 0));
    if (count == 0) return Fail(Error(Code::kUnavailable, "qmp connection closed"));
    if (count < 0) {
      if (error == EINTR) continue;
      if (error != EAGAIN) return Fail(ErrnoError(error, "read qmp socket").WithCode(Code::kUnavailable));
      pollfd waiting{socket_.get(), POLLIN, 0};
      poll(&waiting, 1, -1);  // ended by the destructor's shutdown at the latest
      continue;
    }
    if (Status handled = HandleInput(input); !handled) return Fail(std::move(handled).error());
  }
}

Status QmpClient::HandleInput(std::string& input) {
  size_t start = 0;
  for (size_t end; (end = input.find('\n', start)) != std::string::npos; start = end + 1) {
    std::string_view line(input.data() + start, end - start);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) HandleMessage(TRY(ParseQmpLine(line)));
  }
  input.erase(0, start);
  if (input.size() > kMaxQmpLine) return Malformed("line too long");
  return {};
}

void QmpClient::HandleMessage(QmpMessage message) {
  if (const QmpEvent* event = std::get_if<QmpEvent>(&message)) {
    if (on_event_) on_event_(*event);
    return;
  }
  std::lock_guard lock(mutex_);
  if (const QmpGreeting* greeting = std::get_if<QmpGreeting>(&message)) {
    greeting_ = *greeting;
  } else {
    QmpReply& reply = std::get<QmpReply>(message);
    const auto waiting = reply.id ? replies_.find(*reply.id) : replies_.end();
    if (waiting == replies_.end()) return;
    waiting->second = std::move(reply);
  }
  changed_.notify_all();
}

void QmpClient::Fail(Error error) {
  // Nobody reads any more; the other side must not wait for that.
  shutdown(socket_.get(), SHUT_RDWR);
  {
    std::lock_guard lock(mutex_);
    failure_ = std::move(error);
    changed_.notify_all();
  }
  if (on_event_) on_event_({.name = kClosedEvent, .data = nlohmann::json::object()});
}

}  // namespace kata::hypervisor::qemu
