// From the text of configuration files to a checked Config: Add() each file, Annotate(), then Finish().
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "config/options.h"

namespace kata::config {

// What of the host decides about values.
struct Host {
  uint32_t cpus = 1;  // that this process may use
  uint64_t memory_mib = 0;
  // Where distributions install the programs: used when the file names none, the first that exists.
  std::vector<std::string> hypervisor_paths;
  std::vector<std::string> virtio_fs_daemon_paths;

  static Host Detect();
};

// Not thread safe. Not movable: the options point into it.
class Loader {
 public:
  explicit Loader(Host host);
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Takes over the values of one file; those of a later file win. `file` is for messages. kInvalidArgument
  // for what is no TOML or a wrong value; the loader is then of no further use.
  Status Add(std::string_view text, const std::string& file);

  // Takes over a container's annotations io.katacontainers.config.*, other ones are ignored. Those of the
  // hypervisor must match enable_annotations, and those that name programs and devices of the host the list
  // of valid ones: kInvalidArgument. Those that are not used here become a warning.
  Status Annotate(const std::map<std::string, std::string>& annotations);

  // Of the files so far.
  const std::vector<std::string>& warnings() const { return config_.warnings; }
  const std::vector<std::string>& notes() const { return config_.notes; }

  // Checks what depends on several values or on the host's files and fills in what follows from them.
  Result<Config> Finish();

 private:
  class TableReader;

  std::string PathOf(Section section, std::string_view key) const;
  std::string Where(Section section, std::string_view key) const;
  // Null: there is none of this name.
  const Option* FindOption(Section section, std::string_view key) const;
  // Stores the value of an annotation.
  Status SetFromText(const Option& option, const std::string& text);
  Status CheckEnabled(const std::string& name) const;
  Status ApplyAnnotation(const std::string& name, const std::string& value);
  Status CheckPrograms();
  Status CheckEntropySource();
  Status CheckKernelParameters();
  Status CheckGuestFiles();
  Status CheckMemory();
  Status CheckEnableAnnotations() const;
  Status CheckBindMounts();
  void WarnOfDebugConsole();
  void AdjustCounts();

  Host host_;
  Config config_;
  std::vector<Option> options_;
};

}  // namespace kata::config
