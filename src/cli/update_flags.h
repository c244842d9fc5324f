// The flags of `update` as resource limits.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "oci/spec.h"

namespace kata::cli {

class UpdateFlags {
 public:
  struct Flag {
    std::string name;         // "--memory"
    std::string description;  // one line
    std::string value;        // as it was given; empty: it was not
  };

  UpdateFlags();
  // To be filled by the parser of the command line. Stays valid.
  std::vector<Flag>& flags() { return flags_; }
  // What was given, and nothing else. kInvalidArgument names the flag.
  Result<oci::Resources> ToResources() const;

 private:
  std::vector<Flag> flags_;
};

// A number of bytes, perhaps with a unit as Docker writes it ("512m", "1GiB"), or -1 for "unlimited".
Result<int64_t> ParseBytes(const std::string& text);

}  // namespace kata::cli
