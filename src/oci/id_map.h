// Mounts that show the owners of files through a user namespace.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "linux/mounts.h"
#include "linux/namespaces.h"
#include "oci/spec.h"

namespace kata::oci {

// The container's entry for its user namespace; nullptr: it has none of its own.
const Namespace* FindUserNamespace(const Spec& spec);

// Which user namespace that is.
struct IdMap {
  bool recursive = false;      // also for the mounts below ("ridmap")
  std::string namespace_path;  // empty: one with these maps
  std::vector<IdMapping> uid_mappings;
  std::vector<IdMapping> gid_mappings;
};

// What mount asks for: its own mappings, or with the option "idmap" alone those of the container's user
// namespace; nullopt: nothing. `options`: those of the mount. kInvalidArgument for a mount that is no bind
// mount and for ids that are not said.
Result<std::optional<IdMap>> PlanIdMap(const Spec& spec, const Mount& mount,
                                       const linux::MountOptions& options);

// A namespace of its own also for the container's maps: the container's is not there yet.
Result<linux::NamespaceFd> OpenIdMap(const IdMap& map);

// Gives a container that joins a user namespace by its path the mappings of that. One that joins this
// process's own has none of its own: its entry goes.
Status ResolveUserNamespace(Spec& spec);

// The content of /proc/<pid>/{uid,gid}_map, and back.
std::string FormatIdMappings(const std::vector<IdMapping>& mappings);
Result<std::vector<IdMapping>> ParseIdMappings(const std::string& text);

}  // namespace kata::oci
