#include "protocol/ids.h"

#include <algorithm>

#include "oci/quote.h"

namespace kata::protocol {
namespace {

bool IsIdCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '+' ||
         c == '-' || c == '.';
}

Status CheckId(std::string_view kind, std::string_view id) {
  std::string_view why;
  if (id.empty()) {
    why = "is empty";
  } else if (id.size() > kMaxIdBytes) {
    why = "is longer than 1024 bytes";
  } else if (id == "." || id == "..") {
    why = "is a directory's own name";
  } else if (!std::ranges::all_of(id, IsIdCharacter)) {
    why = "has characters other than A-Z a-z 0-9 _ + - .";
  } else {
    return {};
  }
  return MakeError(Code::kInvalidArgument, "invalid {} id {}: {}", kind, oci::Quote(id), why);
}

}  // namespace

Status CheckContainerId(std::string_view id) {
  return CheckId("container", id);
}
Status CheckExecId(std::string_view id) {
  return CheckId("exec", id);
}

}  // namespace kata::protocol
