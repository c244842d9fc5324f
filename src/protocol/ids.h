// What a container or exec id may look like, on both sides of the wire.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/result.h"

namespace kata::protocol {

inline constexpr size_t kMaxIdBytes = 1024;

// Ids become names of directories and files. Accepted is what runc accepts: 1 to kMaxIdBytes of A-Z a-z 0-9 _
// + - . but not "." or "..". kInvalidArgument "invalid container id '<id>': <why>".
Status CheckContainerId(std::string_view id);
// The same rule for exec ids.
Status CheckExecId(std::string_view id);

}  // namespace kata::protocol
