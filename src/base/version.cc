#include "base/version.h"

#ifndef KATA_VERSION
#error "KATA_VERSION and KATA_COMMIT come from the build system (cmake/options.cmake)"
#endif

namespace kata {

std::string_view Version() {
  return KATA_VERSION;
}
std::string_view Commit() {
  return KATA_COMMIT;
}
std::string_view OciSpecVersion() {
  return "1.2.0";
}

}  // namespace kata
