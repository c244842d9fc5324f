// The commands of kata-runtime: what each was asked (its command line as values), and the function that does
// it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "oci/spec.h"

namespace kata::cli {

// Who makes control groups on the host.
enum class CgroupManager { kCgroupfs, kSystemd, kDisabled };

// What stands in front of the command. Paths are absolute.
struct GlobalOptions {
  std::string root;                   // --root: below it a directory for each container
  std::optional<std::string> config;  // --config
  std::string log;                    // --log; empty: none
  log::Format log_format = log::Format::kText;
  bool debug = false;
  CgroupManager cgroup_manager = CgroupManager::kCgroupfs;  // --systemd-cgroup, --cgroup-manager
  // --rootless: control groups that this user may not make are done without.
  bool rootless = false;
};

// How a process gets its stdio, of create, run and exec.
struct StdioOptions {
  bool detach = false;
  std::string pid_file;        // absolute; empty: none
  std::string console_socket;  // absolute; empty: none
  std::string pidfd_socket;    // absolute; empty: none
};

struct CreateOptions {
  std::string id;
  std::string bundle;  // absolute
  StdioOptions stdio;  // detach is always set
};

struct RunOptions {
  std::string id;
  std::string bundle;  // absolute
  StdioOptions stdio;
  bool keep = false;  // do not delete the container when it has ended
};

struct ExecOptions {
  std::string id;
  StdioOptions stdio;
  std::string process_file;  // absolute; empty: the bundle's process, changed as the members below say
  std::vector<std::string> args;
  bool terminal = false;
  std::string cwd;
  std::vector<std::string> env;
  std::string user;  // UID[:GID]
  std::vector<uint32_t> additional_gids;
  std::vector<std::string> capabilities;
  std::optional<bool> no_new_privileges;
  std::string apparmor_profile;
  std::string process_label;
  std::string cgroup;  // below the container's own in the guest; empty: not given
  bool ignore_paused = false;
};

struct StartOptions {
  std::string id;
};

struct KillOptions {
  std::string id;
  std::string signal = "SIGTERM";
  bool all = false;
};

struct DeleteOptions {
  std::vector<std::string> ids;
  bool force = false;
};

struct StateOptions {
  std::string id;
};

struct PauseOptions {
  std::string id;
};

struct ResumeOptions {
  std::string id;
};

struct PsOptions {
  std::string id;
  std::vector<std::string> ps_args;  // of ps(1), for a table
  std::string format = "table";
};

struct ListOptions {
  std::string format = "table";
  bool quiet = false;
};

struct UpdateOptions {
  std::string id;
  std::string resources_file;  // absolute, "-" for stdin; empty: `resources`
  oci::Resources resources;
};

struct EventsOptions {
  std::string id;
  std::chrono::milliseconds interval{5000};
  bool stats = false;  // show the statistics once
};

struct SpecOptions {
  std::string bundle;  // absolute
  bool rootless = false;
};

struct FeaturesOptions {};

// A command of runc that a virtual machine cannot have.
struct UnavailableOptions {
  std::string command;
};

// Each returns the program's exit code. stdout gets what the command shows, nothing else is printed.
Result<int> Execute(const GlobalOptions& globals, const CreateOptions& options);
Result<int> Execute(const GlobalOptions& globals, const RunOptions& options);
Result<int> Execute(const GlobalOptions& globals, const ExecOptions& options);
Result<int> Execute(const GlobalOptions& globals, const StartOptions& options);
Result<int> Execute(const GlobalOptions& globals, const KillOptions& options);
Result<int> Execute(const GlobalOptions& globals, const DeleteOptions& options);
Result<int> Execute(const GlobalOptions& globals, const StateOptions& options);
Result<int> Execute(const GlobalOptions& globals, const PauseOptions& options);
Result<int> Execute(const GlobalOptions& globals, const ResumeOptions& options);
Result<int> Execute(const GlobalOptions& globals, const PsOptions& options);
Result<int> Execute(const GlobalOptions& globals, const ListOptions& options);
Result<int> Execute(const GlobalOptions& globals, const UpdateOptions& options);
Result<int> Execute(const GlobalOptions& globals, const EventsOptions& options);
Result<int> Execute(const GlobalOptions& globals, const SpecOptions& options);
Result<int> Execute(const GlobalOptions& globals, const FeaturesOptions& options);
Result<int> Execute(const GlobalOptions& globals, const UnavailableOptions& options);

}  // namespace kata::cli
