// systemd's way to write linux.cgroupsPath.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kata::cgroup {

// "slice:prefix:name" as the path of the scope that systemd makes of it: "a-b.slice:docker:c1" is
// "/a.slice/a-b.slice/docker-c1.scope". An empty slice is system.slice. nullopt for what has another form.
std::optional<std::string> ExpandSystemdPath(std::string_view cgroups_path);

}  // namespace kata::cgroup
