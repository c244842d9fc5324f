// From mappings of a specification to user namespaces.
#include "oci/id_map.h"

#include <algorithm>
#include <sstream>

namespace kata::oci {

const Namespace* FindUserNamespace(const Spec& spec) {
  if (!spec.linux) return nullptr;
  const auto user = std::ranges::find(spec.linux->namespaces, "user", &Namespace::type);
  return user == spec.linux->namespaces.end() ? nullptr : &*user;
}

// Mappings of the mount ask for it too, as the specification makes the option optional.
Result<std::optional<IdMap>> PlanIdMap(const Spec& spec, const Mount& mount,
                                       const linux::MountOptions& options) {
  const bool mappings = !mount.uid_mappings.empty() || !mount.gid_mappings.empty();
  if (!mappings && !options.id_map) return std::nullopt;
  if (mount.type != "bind" && !options.IsBind())
    return Error(Code::kInvalidArgument, "only a bind mount can map ids");
  IdMap map{.recursive = options.id_map_recursive,
            .namespace_path = {},
            .uid_mappings = mount.uid_mappings,
            .gid_mappings = mount.gid_mappings};
  if (mappings) {
    if (mount.uid_mappings.empty() || mount.gid_mappings.empty())
      return Error(Code::kInvalidArgument, "uidMappings and gidMappings need each other");
    return map;
  }
  const Namespace* user = FindUserNamespace(spec);
  if (user == nullptr) {
    return Error(Code::kInvalidArgument, "'idmap' needs uidMappings and gidMappings or a user namespace");
  }
  map.namespace_path = user->path;
  map.uid_mappings = spec.linux->uid_mappings;
  map.gid_mappings = spec.linux->gid_mappings;
  return map;
}

Result<linux::NamespaceFd> OpenIdMap(const IdMap& map) {
  if (!map.namespace_path.empty()) return linux::NamespaceFd::FromPath(map.namespace_path, CLONE_NEWUSER);
  return linux::MakeUserNamespace(FormatIdMappings(map.uid_mappings), FormatIdMappings(map.gid_mappings));
}

Status ResolveUserNamespace(Spec& spec) {
  const Namespace* user = FindUserNamespace(spec);
  if (user == nullptr || user->path.empty()) return {};
  const linux::NamespaceFd joined = TRY(linux::NamespaceFd::FromPath(user->path, CLONE_NEWUSER));
  if (TRY(joined.IsOwn())) {
    std::erase_if(spec.linux->namespaces, [](const Namespace& entry) { return entry.type == "user"; });
    spec.linux->uid_mappings.clear();
    spec.linux->gid_mappings.clear();
    return {};
  }
  const linux::IdMaps maps =
      TRY_CTX(linux::ReadIdMaps(joined), "read ids of user namespace '{}'", user->path);
  spec.linux->uid_mappings = TRY(ParseIdMappings(maps.uids));
  spec.linux->gid_mappings = TRY(ParseIdMappings(maps.gids));
  return {};
}

Result<std::vector<IdMapping>> ParseIdMappings(const std::string& text) {
  std::vector<IdMapping> mappings;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    IdMapping& mapping = mappings.emplace_back();
    std::istringstream numbers(line);
    if (!(numbers >> mapping.container_id >> mapping.host_id >> mapping.size))
      return MakeError(Code::kInternal, "'{}' is no mapping of ids", line);
  }
  return mappings;
}

std::string FormatIdMappings(const std::vector<IdMapping>& mappings) {
  std::string text;
  for (const IdMapping& mapping : mappings) {
    text += fmt::format("{} {} {}\n", mapping.container_id, mapping.host_id, mapping.size);
  }
  return text;
}

}  // namespace kata::oci
