// Tests of oci/mounts.h.
#include "oci/mounts.h"

#include <gtest/gtest.h>

namespace kata::oci {
namespace {

TEST(CleanAbsolutePathTest, PathsAreCleaned) {
  EXPECT_EQ(CleanAbsolutePath("/a/./b/../c//"), "/a/c");
  EXPECT_EQ(CleanAbsolutePath("/../../x"), "/x");
  EXPECT_EQ(CleanAbsolutePath("/"), "/");
  EXPECT_EQ(CleanAbsolutePath("relative"), "/relative");
}

}  // namespace
}  // namespace kata::oci
