// The client's side of attach.sock, and the form of the messages.
#include "sandbox/attach.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "sandbox/attach_message.h"

namespace kata::sandbox {
namespace {

using Json = nlohmann::json;

struct DescriptorName {
  const char* name;
  UniqueFd AttachRequest::* member;
};
constexpr DescriptorName kDescriptors[] = {
    {"channel", &AttachRequest::channel},
    {"stdin", &AttachRequest::stdin_fd},
    {"stdout", &AttachRequest::stdout_fd},
    {"stderr", &AttachRequest::stderr_fd},
};

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Error Malformed(std::string_view what) {
  return MakeError(Code::kInvalidArgument, "malformed attach message: {}", what);
}

}  // namespace

std::string EncodeAttachRequest(const AttachRequest& request) {
  Json names = Json::array();
  for (const DescriptorName& descriptor : kDescriptors) {
    if (request.*descriptor.member) names.push_back(descriptor.name);
  }
  return Dump({{"id", request.id},
               {"execId", request.exec_id},
               {"terminal", request.terminal},
               {"shimPid", request.shim_pid},
               {"descriptors", names}});
}

Result<AttachRequest> DecodeAttachRequest(linux::UnixMessage message) {
  const Json json = Json::parse(message.data, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Malformed("not a JSON object");
  const auto member = [&json](const char* key) { return json.contains(key) ? json[key] : Json(); };
  const Json id = member("id"), exec_id = member("execId"), terminal = member("terminal"),
             pid = member("shimPid"), names = member("descriptors");
  if (!id.is_string() || !exec_id.is_string() || !terminal.is_boolean() || !pid.is_number_integer() ||
      !names.is_array()) {
    return Malformed("a member is missing or of the wrong type");
  }
  AttachRequest request;
  request.id = id.get<std::string>();
  request.exec_id = exec_id.get<std::string>();
  request.terminal = terminal.get<bool>();
  request.shim_pid = pid.get<pid_t>();
  if (request.id.empty()) return Malformed("the id is empty");
  if (request.shim_pid <= 0) return Malformed("the pid of kata-shim is not positive");
  if (names.size() != message.fds.size()) return Malformed("descriptors do not match their names");
  for (size_t i = 0; i < names.size(); ++i) {
    bool known = false;
    for (const DescriptorName& descriptor : kDescriptors) {
      if (names[i] != descriptor.name || request.*descriptor.member) continue;
      request.*descriptor.member = std::move(message.fds[i]);
      known = true;
      break;
    }
    if (!known) return Malformed("a descriptor is unknown or named twice");
  }
  if (!request.channel) return Malformed("the channel to kata-shim is missing");
  return request;
}

std::string EncodeAttachReply(const Status& status) {
  if (status) return Dump({{"code", 0}, {"message", ""}});
  return Dump({{"code", std::to_underlying(status.error().code())}, {"message", status.error().message()}});
}

Status DecodeAttachReply(std::string_view data) {
  if (data.empty()) return Error(Code::kUnavailable, "the sandbox server closed the connection");
  const Json json = Json::parse(data, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("code") || !json["code"].is_number_integer() ||
      !json.contains("message") || !json["message"].is_string()) {
    return Error(Code::kInternal, "the sandbox server's reply does not parse");
  }
  const int code = json["code"].get<int>();
  if (code == 0) return {};
  return Error(static_cast<Code>(code), json["message"].get<std::string>());
}

Result<Attachment> Attachment::Attach(UniqueFd attach_socket, AttachRequest request, Deadline deadline) {
  const std::string context =
      request.exec_id.empty()
          ? fmt::format("attach to container '{}'", request.id)
          : fmt::format("attach to process '{}' of container '{}'", request.exec_id, request.id);
  std::vector<int> fds;
  for (const DescriptorName& descriptor : kDescriptors) {
    if (request.*descriptor.member) fds.push_back((request.*descriptor.member).get());
  }
  TRY_CTX(linux::SendUnixMessage(attach_socket.get(), EncodeAttachRequest(request), fds, deadline), "{}",
          context);
  const linux::UnixMessage reply = TRY_CTX(
      linux::ReceiveUnixMessage(attach_socket.get(), kMaxAttachMessageBytes, 0, deadline), "{}", context);
  TRY_CTX(DecodeAttachReply(reply.data), "{}", context);
  return Attachment(std::move(attach_socket));
}

Status Attachment::Commit() {
  TRY_CTX(
      linux::SendUnixMessage(socket_.get(), kCommitMessage, {}, Deadline::After(std::chrono::seconds(10))),
      "tell the sandbox server that the container is wanted");
  socket_.Reset();
  return {};
}

}  // namespace kata::sandbox
