// An OCI bundle on disk: a directory with config.json, and the root file system that it names.
#pragma once

#include <string>

#include "base/result.h"
#include "oci/spec.h"

namespace kata::cli {

struct Bundle {
  std::string path;    // absolute, symbolic links resolved
  std::string rootfs;  // absolute
  oci::Spec spec;      // validated; has process, root and linux
};

// What is in its config.json, only parsed.
Result<oci::Spec> ReadSpec(const std::string& bundle_path);

// kNotFound and kInvalidArgument name the file and what is wrong with it.
Result<Bundle> LoadBundle(const std::string& path);

}  // namespace kata::cli
