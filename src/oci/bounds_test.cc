#include "oci/bounds.h"

#include "oci/example_spec.h"
#include "oci/full_spec_for_test.h"
#include "oci/json.h"
#include "oci/limits.h"
#include "support/result_matchers.h"

namespace kata::oci {
namespace {

using test::IsError;

const std::string kNul("a\0b", 3);

TEST(CheckBounds, AcceptsWhatTheParserAccepts) {
  ASSERT_OK_AND_ASSIGN(const Spec spec, ParseSpec(kFullSpecJson));
  EXPECT_OK(CheckBounds(spec));
}

TEST(CheckBounds, FindsNulBytes) {
  Spec spec = ExampleSpec();
  spec.mounts[2].options[1] = kNul;
  EXPECT_THAT(CheckBounds(spec),
              IsError(Code::kInvalidArgument, "mounts[2].options[1]: contains a NUL byte"));
  spec = ExampleSpec();
  spec.annotations[kNul] = "x";
  EXPECT_THAT(CheckBounds(spec),
              IsError(Code::kInvalidArgument, "annotations[\"a\\x00b\"]: name contains a NUL byte"));
  Process process;
  process.exec_cpu_affinity.emplace().final = kNul;
  EXPECT_THAT(CheckBounds(process),
              IsError(Code::kInvalidArgument, "execCPUAffinity.final: contains a NUL byte"));
  Resources resources;
  resources.unified["memory.high"] = kNul;
  EXPECT_THAT(CheckBounds(resources),
              IsError(Code::kInvalidArgument, "unified[\"memory.high\"]: contains a NUL byte"));
}

TEST(CheckBounds, LimitsListsOfObjects) {
  Spec spec = ExampleSpec();
  spec.mounts.resize(kMaxObjects);
  EXPECT_OK(CheckBounds(spec));
  spec.mounts.resize(kMaxObjects + 1);
  EXPECT_THAT(CheckBounds(spec),
              IsError(Code::kInvalidArgument, "mounts: 16385 entries, the limit is 16384"));
}

}  // namespace
}  // namespace kata::oci
