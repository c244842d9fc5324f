#include "agent/server_address.h"

#include "base/parse_number.h"

namespace kata::agent {

Result<ServerAddress> ParseServerAddress(std::string_view text) {
  constexpr std::string_view kVsock = "vsock://";
  constexpr std::string_view kHostVsock = "vsock://2:";  // VMADDR_CID_HOST
  constexpr std::string_view kUnix = "unix://";
  constexpr std::string_view kSerial = "serial://";
  if (text.starts_with(kUnix) && text.substr(kUnix.size()).starts_with('/')) {
    return ServerAddress{ServerAddress::Kind::kUnix, 0, std::string(text.substr(kUnix.size()))};
  }
  if (text.starts_with(kSerial) && text.size() > kSerial.size()) {
    return ServerAddress{ServerAddress::Kind::kSerial, 0, std::string(text.substr(kSerial.size()))};
  }
  if (text.starts_with(kVsock) && text.rfind(':') > kVsock.size()) {
    ServerAddress address;
    if (text.starts_with(kHostVsock)) address.kind = ServerAddress::Kind::kHostVsock;
    address.port = ParseNumber<uint32_t>(text.substr(text.rfind(':') + 1)).value_or(0);
    if (address.port > 0) return address;
  }
  return MakeError(Code::kInvalidArgument,
                   "server address '{}': expected vsock://CID:PORT, unix:///PATH or serial://NAME", text);
}

}  // namespace kata::agent
