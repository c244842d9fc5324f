// The version that all programs of this build report.
#pragma once

#include <string_view>

namespace kata {
std::string_view Version();         // "0.1.0"
std::string_view Commit();          // git's, "-dirty" behind it where the tree was
std::string_view OciSpecVersion();  // of the OCI runtime specification that is implemented
}  // namespace kata
