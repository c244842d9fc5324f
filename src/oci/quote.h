// Strangers' text in an error message.
#pragma once

#include <string>
#include <string_view>

namespace kata::oci {

// 'text' in the given quotes: printable ASCII on one line, other bytes as \xNN, the rest of a long text as
// "...".
std::string Quote(std::string_view text, char quote = '\'');

}  // namespace kata::oci
