#include "linux/ipv6_settings.h"

#include <charconv>
#include <string_view>

#include "base/file.h"

namespace kata::linux {
namespace {

struct Setting {
  const char* file;
  uint32_t Ipv6Settings::* member;
};

// In the order of writing: IPv6 is enabled when all else is in place.
constexpr Setting kSettings[] = {{"accept_ra", &Ipv6Settings::accept_ra},
                                 {"autoconf", &Ipv6Settings::autoconf},
                                 {"addr_gen_mode", &Ipv6Settings::addr_gen_mode},
                                 {"disable_ipv6", &Ipv6Settings::disable_ipv6}};

std::string PathOf(const std::string& name, const Setting& setting) {
  return fmt::format("/proc/sys/net/ipv6/conf/{}/{}", name, setting.file);
}

Result<uint32_t> ParseSetting(const std::string& path, std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return MakeError(Code::kDataLoss, "'{}' is not a number: '{}'", path, text);
  return value;
}

}  // namespace

Result<Ipv6Settings> ReadIpv6Settings(const std::string& name) {
  Ipv6Settings settings;
  for (const Setting& setting : kSettings) {
    const std::string path = PathOf(name, setting);
    const Result<std::string> text = ReadFile(path, 64);
    if (!text && text.error().code() == Code::kNotFound) return Ipv6Settings{.disable_ipv6 = 1};
    settings.*setting.member = TRY(ParseSetting(path, TRY(text)));
  }
  return settings;
}

Status ApplyIpv6Settings(const std::string& name, const Ipv6Settings& wanted) {
  for (const Setting& setting : kSettings) {
    const std::string path = PathOf(name, setting);
    const Result<std::string> text = ReadFile(path, 64);
    if (!text && text.error().code() == Code::kNotFound) return {};
    const uint32_t value = wanted.*setting.member;
    if (TRY(ParseSetting(path, TRY(text))) == value) continue;
    TRY_CTX(WriteKnob(path, std::to_string(value)), "set '{}' to {}", path, value);
  }
  return {};
}

}  // namespace kata::linux
