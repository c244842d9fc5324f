// The checks of ParseSpec that a specification needs too when it does not arrive as JSON.
#pragma once

#include "base/result.h"
#include "oci/spec.h"

namespace kata::oci {

// No NUL byte in a string, no more than kMaxObjects entries in a list or map of objects. kInvalidArgument
// naming the member.
Status CheckBounds(const Spec& spec);
Status CheckBounds(const Process& process);
Status CheckBounds(const Resources& resources);

}  // namespace kata::oci
