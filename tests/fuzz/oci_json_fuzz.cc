// config.json from outside: whatever is accepted must survive being written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "oci/json.h"

namespace {

// Stops the run with both texts, as a crash does.
void RequireEqual(const std::string& first, const std::string& second) {
  if (first == second) return;
  fprintf(stderr, "written first: %s\nwritten again: %s\n", first.c_str(), second.c_str());
  abort();
}

template <typename T>
void CheckRoundTrip(std::string_view text, kata::Result<T> (*parse)(std::string_view)) {
  const kata::Result<T> value = parse(text);
  if (!value) {
    if (value.error().message().empty() || value.error().message().find('\n') != std::string::npos) abort();
    return;
  }
  // The verdict does not matter, only that there is one.
  static_cast<void>(kata::oci::Validate(*value).has_value());
  const std::string written = kata::oci::ToJson(*value);
  const kata::Result<T> again = parse(written);
  if (!again) {
    fprintf(stderr, "%s\nof: %s\n", again.error().message().c_str(), written.c_str());
    abort();
  }
  RequireEqual(written, kata::oci::ToJson(*again));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckRoundTrip(text, &kata::oci::ParseSpec);
  CheckRoundTrip(text, &kata::oci::ParseProcess);
  CheckRoundTrip(text, &kata::oci::ParseResources);
  return 0;
}
