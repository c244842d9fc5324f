// What all parts of the agent share.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "agent/jobs.h"
#include "agent/oom_watcher.h"
#include "agent/ready_sockets.h"
#include "agent/reaper.h"
#include "agent/storage/registry.h"
#include "base/event_loop.h"

namespace kata::agent {

// How this agent runs; fixed once it serves.
struct Settings {
  bool is_init = false;     // PID 1 of a guest
  bool in_guest = false;    // of a guest, whose clock and devices are the agent's to set; not always as PID 1
  std::string cgroup_root;  // mount point of cgroup2; empty: containers get no cgroup
  std::string self_executable = "/proc/self/exe";  // run as `<self> init` for each container process
  uint32_t pipe_size_bytes = 0;                    // of stdio pipes; 0: the kernel's default
  std::chrono::seconds hotplug_timeout{3};         // how long to wait for a device that the host announced
};

// All borrowed; they live as long as the agent serves.
struct Context {
  const Settings& settings;
  EventLoop& loop;
  Reaper& reaper;
  JobRunner& jobs;
  OomWatcher& oom_watcher;
  StorageTable& storages;
  ReadySockets& ready_sockets;
};

}  // namespace kata::agent
