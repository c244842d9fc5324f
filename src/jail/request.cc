// The request as JSON in a sealed memfd.
#include "jail/request.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "oci/json.h"

namespace kata::jail {

InheritedFds InheritedFds::Capture() {
  InheritedFds fds;
  for (int fd = kRequestFd; fd <= kInitCgroupFd; ++fd) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) fds.open_ |= 1u << fd;
  }
  return fds;
}

std::string SerializeRequest(const Request& request) {
  const nlohmann::json json = {
      {"exec", request.operation == Request::Operation::kExec},
      {"spec", oci::ToJson(request.spec)},
      {"user", request.user_names.user},
      {"group", request.user_names.group},
      {"additional_groups", request.user_names.additional_groups},
      {"container_id", request.container_id},
      {"bundle", request.bundle},
      {"rootfs", request.rootfs},
      {"namespaces", request.namespaces},
      {"enable_seccomp", request.enable_seccomp},
  };
  // Bytes that are no UTF-8 (an argument may have any) must not throw; they were refused when the spec was
  // read.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<Request> ParseRequest(std::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  Request request;
  try {
    request.operation = json.at("exec").get<bool>() ? Request::Operation::kExec : Request::Operation::kCreate;
    request.user_names.user = json.at("user").get<std::string>();
    request.user_names.group = json.at("group").get<std::string>();
    request.user_names.additional_groups = json.at("additional_groups").get<std::vector<std::string>>();
    request.container_id = json.at("container_id").get<std::string>();
    request.bundle = json.at("bundle").get<std::string>();
    request.rootfs = json.at("rootfs").get<std::string>();
    request.namespaces = json.at("namespaces").get<int>();
    request.enable_seccomp = json.at("enable_seccomp").get<bool>();
    request.spec = TRY_CTX(oci::ParseSpec(json.at("spec").get<std::string>()), "read request");
  } catch (const nlohmann::json::exception& exception) {
    return MakeError(Code::kInternal, "read request: {}", exception.what());
  }
  return request;
}

Result<UniqueFd> MakeSealedMemfd(const char* name, std::string_view content) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return SysError("create memfd '{}'", name);
  TRY_CTX(WriteAll(fd.get(), content), "write memfd '{}'", name);
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
    return SysError("seal memfd '{}'", name);
  }
  if (lseek(fd.get(), 0, SEEK_SET) < 0) return SysError("rewind memfd '{}'", name);
  return fd;
}

}  // namespace kata::jail
