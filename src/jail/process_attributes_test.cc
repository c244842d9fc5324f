// Tests of jail/process_attributes.h and jail/credentials.h.
#include "jail/process_attributes.h"

#include "jail/credentials.h"
#include "support/result_matchers.h"

namespace kata::jail {
namespace {

TEST(CapabilityResolutionTest, UnknownNamesAndImpossibleAmbientOnesAreLeftOut) {
  oci::Capabilities capabilities;
  capabilities.bounding = {"CAP_CHOWN", "CAP_NOSUCH", "CAP_BPF"};
  capabilities.permitted = {"CAP_CHOWN"};
  capabilities.inheritable = {"CAP_CHOWN"};
  capabilities.ambient = {"CAP_CHOWN", "CAP_KILL"};
  const linux::CapabilitySets sets = ResolveCapabilities(capabilities, 0xff);
  EXPECT_EQ(sets.bounding, 1u);
  EXPECT_EQ(sets.ambient, 1u);
  EXPECT_EQ(ResolveCapabilities(std::nullopt, ~0ull), linux::CapabilitySets());
}

}  // namespace
}  // namespace kata::jail
