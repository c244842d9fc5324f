#include "oci/bounds.h"

#include "oci/json_path.h"
#include "oci/limits.h"
#include "oci/members.h"

namespace kata::oci {
namespace {

class BoundsChecker {
 public:
  template <typename T>
    requires std::is_arithmetic_v<T>
  Status Check(T) {
    return {};
  }

  Status Check(const std::string& value) {
    if (value.find('\0') != std::string::npos) return path_.MakeError("contains a NUL byte");
    return {};
  }

  template <typename T>
  Status Check(const std::optional<T>& value) {
    return value ? Check(*value) : Status();
  }

  template <typename T>
  Status Check(const std::vector<T>& values) {
    if (Described<T>) TRY(CheckCount(values.size()));
    for (size_t i = 0; i < values.size(); ++i) {
      const ScopedStep step(path_, i);
      TRY(Check(values[i]));
    }
    return {};
  }

  template <typename T>
  Status Check(const std::map<std::string, T>& values) {
    TRY(CheckCount(values.size()));
    for (const auto& [name, value] : values) {
      const ScopedStep step(path_, name);
      if (name.find('\0') != std::string::npos) return path_.MakeError("name contains a NUL byte");
      TRY(Check(value));
    }
    return {};
  }

  template <Described T>
  Status Check(const T& value) {
    Status status;
    std::apply([&](const auto&... member) { (void)(... && (status = CheckMember(member, value))); },
               kMembers<T>);
    return status;
  }

 private:
  template <typename T, typename Field>
  Status CheckMember(const Member<T, Field>& member, const T& value) {
    const ScopedStep step(path_, member.name);
    return Check(value.*member.field);
  }
  template <typename T, typename Field>
  Status CheckMember(const WrappedMember<T, Field>& member, const T& value) {
    const ScopedStep step(path_, member.name);
    return CheckMember(member.inner, value);
  }
  template <typename T>
  Status CheckMember(const RefusedMember&, const T&) {
    return {};
  }

  Status CheckCount(size_t count) const {
    if (count > kMaxObjects) {
      return path_.MakeError(fmt::format("{} entries, the limit is {}", count, kMaxObjects));
    }
    return {};
  }

  JsonPath path_;
};

}  // namespace

Status CheckBounds(const Spec& spec) {
  return BoundsChecker().Check(spec);
}
Status CheckBounds(const Process& process) {
  return BoundsChecker().Check(process);
}
Status CheckBounds(const Resources& resources) {
  return BoundsChecker().Check(resources);
}

}  // namespace kata::oci
