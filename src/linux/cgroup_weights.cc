#include "linux/cgroup_weights.h"

#include <algorithm>
#include <cmath>

namespace kata::linux {

uint64_t CpuWeightFromShares(uint64_t shares) {
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  // A quadratic in the logarithm through (2, 1), (1024, 100) and (262144, 10000). The margin undoes rounding
  // of the floating point where the result is meant to be whole.
  const double log = std::log2(static_cast<double>(shares));
  const double exponent = (log * log + 125 * log) / 612.0 - 7.0 / 34.0;
  return static_cast<uint64_t>(std::ceil(std::pow(10, exponent) - 1e-9));
}

uint64_t IoWeightFromBlkio(uint64_t weight) {
  const uint64_t bounded = std::clamp<uint64_t>(weight, 10, 1000);
  return 1 + (bounded - 10) * 9999 / 990;
}

}  // namespace kata::linux
