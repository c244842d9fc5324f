// The system call filter of a container.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/result.h"
#include "oci/spec.h"

namespace kata::jail {

// A compiled filter, loaded with one system call.
class SeccompFilter {
 public:
  // kInvalidArgument for an unknown action, operator, architecture or flag; kUnimplemented for
  // SCMP_ACT_NOTIFY. A system call name that libseccomp does not know is left out, as no program could make
  // that call here.
  static Result<SeccompFilter> Compile(const oci::Seccomp& seccomp);

  // For the calling thread, from now on. Needs CAP_SYS_ADMIN or no_new_privs.
  Status Load() const;

  const std::vector<sock_filter>& program() const { return program_; }

 private:
  SeccompFilter(std::vector<sock_filter> program, unsigned flags)
      : program_(std::move(program)), flags_(flags) {}
  std::vector<sock_filter> program_;
  unsigned flags_ = 0;
};

}  // namespace kata::jail
