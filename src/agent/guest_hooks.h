// Guest hooks: programs of the guest's image that run at certain points of each container's life. They lie in
// directories of the host's choice, <path>/{prestart,poststart,poststop}.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "oci/json.h"

namespace kata::agent {

struct GuestHooks {
  // Paths, in the order of their names.
  std::vector<std::string> prestart;
  std::vector<std::string> poststart;
  std::vector<std::string> poststop;

  // The executable files found; none for an empty path. What cannot be read is logged and does not keep
  // containers from running (the documented behaviour of guest_hook_path).
  static GuestHooks Load(const std::string& path);
};

// Runs `hooks` one after the other, each for at most 10 s, with `state` on standard input; the first failure
// ends it. Blocks; for workers.
Status RunHooks(const std::vector<std::string>& hooks, const oci::State& state);

}  // namespace kata::agent
