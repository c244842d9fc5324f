// Text to a JSON document, with the checks that hold for all of it whatever it describes.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "base/result.h"

namespace kata::oci {

// Refuses (kInvalidArgument, naming line and column or the member): what is not JSON, a key that appears
// twice in one object, a NUL byte in a string or key, deeper nesting than kMaxJsonDepth, more values than
// kMaxJsonValues. More than kMaxConfigBytes of text is kResourceExhausted.
Result<nlohmann::json> ParseDocument(std::string_view text);

}  // namespace kata::oci
