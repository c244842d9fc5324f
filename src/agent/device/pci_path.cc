#include "agent/device/pci_path.h"

#include "base/file.h"
#include "base/parse_number.h"

namespace kata::agent {
namespace {

constexpr unsigned kMaxSlot = 0x1f;
constexpr unsigned kMaxFunction = 7;
constexpr unsigned kFirstExtraRootBus = 0x20;
constexpr unsigned kMaxBus = 0xff;
// More bridges in a row than any machine has.
constexpr size_t kMaxSlots = 16;

std::optional<unsigned> ParseHex(std::string_view text, unsigned max) {
  const std::optional<unsigned> value = ParseNumber<unsigned>(text, 16);
  return value && *value <= max ? value : std::nullopt;
}

Result<PciPath::Slot> ParseSlot(std::string_view text) {
  const size_t dot = text.find('.');
  const std::optional<unsigned> slot = ParseHex(text.substr(0, dot), kMaxSlot);
  const std::optional<unsigned> function =
      dot == std::string_view::npos ? 0u : ParseHex(text.substr(dot + 1), kMaxFunction);
  if (!slot || !function) return MakeError(Code::kInvalidArgument, "'{}' is not a PCI slot", text);
  return PciPath::Slot{*slot, *function};
}

// The bus behind the bridge at `directory`: "0000:01", from its directory pci_bus.
Result<std::optional<std::string>> SecondaryBus(const std::string& directory) {
  const Result<std::vector<std::string>> buses = ListDirectory(directory + "/pci_bus");
  if (!buses) {
    if (buses.error().code() == Code::kNotFound) return std::optional<std::string>();
    return buses.error();
  }
  if (buses->empty()) return std::optional<std::string>();
  if (buses->size() > 1) {
    return MakeError(Code::kInternal, "bridge '{}' has {} buses", directory, buses->size());
  }
  return std::optional<std::string>(buses->front());
}

}  // namespace

Result<PciPath> PciPath::Parse(std::string_view text) {
  PciPath path;
  std::vector<std::string_view> parts;
  std::string_view rest = text;
  while (true) {
    const size_t slash = rest.find('/');
    parts.push_back(rest.substr(0, slash));
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (parts.size() > kMaxSlots) return MakeError(Code::kInvalidArgument, "PCI path '{}' is too long", text);
  if (parts.size() == 3) {
    const std::optional<unsigned> bus = ParseHex(parts.front(), kMaxBus);
    if (bus && *bus >= kFirstExtraRootBus) {
      path.root_bus = *bus;
      parts.erase(parts.begin());
    }
  }
  for (const std::string_view part : parts) {
    path.slots.push_back(TRY_CTX(ParseSlot(part), "PCI path '{}'", text));
  }
  return path;
}

Result<std::optional<std::string>> ResolvePciPath(const std::string& sys_root, const PciPath& path) {
  std::string directory = fmt::format("{}/devices/pci0000:{:02x}", sys_root, path.root_bus);
  std::string bus = fmt::format("0000:{:02x}", path.root_bus);
  for (size_t i = 0; i < path.slots.size(); ++i) {
    if (i > 0) {
      std::optional<std::string> behind = TRY(SecondaryBus(directory));
      if (!behind) return behind;
      bus = std::move(*behind);
    }
    directory += fmt::format("/{}:{:02x}.{}", bus, path.slots[i].slot, path.slots[i].function);
  }
  if (!PathExists(directory)) return std::optional<std::string>();
  return std::optional<std::string>(std::move(directory));
}

}  // namespace kata::agent
