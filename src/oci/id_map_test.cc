#include "oci/id_map.h"

#include <unistd.h>

#include "support/result_matchers.h"

namespace kata::oci {
namespace {

using test::IsError;
using testing::HasSubstr;

Result<std::optional<IdMap>> Plan(const Spec& spec, const Mount& mount) {
  return PlanIdMap(spec, mount, TRY(linux::ParseMountOptions(mount.options)));
}

Spec WithUserNamespace(const std::string& path) {
  Spec spec;
  spec.linux.emplace();
  spec.linux->namespaces = {{"mount", ""}, {"user", path}};
  spec.linux->uid_mappings = {{0, 100000, 65536}};
  spec.linux->gid_mappings = {{0, 200000, 65536}};
  return spec;
}

TEST(IdMapTest, OnlyWhereAMountAsksForIt) {
  ASSERT_OK_AND_ASSIGN(const auto none, Plan(WithUserNamespace(""), {"/d", "bind", "/s", {"rbind"}, {}, {}}));
  EXPECT_FALSE(none.has_value());
}

TEST(IdMapTest, TheMountsOwnIds) {
  ASSERT_OK_AND_ASSIGN(const auto map,
                       Plan(WithUserNamespace("/x"), {"/d", "", "/s", {"bind"}, {{0, 5, 1}}, {{0, 6, 1}}}));
  ASSERT_TRUE(map.has_value());
  EXPECT_EQ(map->namespace_path, "");
  EXPECT_EQ(FormatIdMappings(map->uid_mappings), "0 5 1\n");
  EXPECT_EQ(FormatIdMappings(map->gid_mappings), "0 6 1\n");
  EXPECT_FALSE(map->recursive);
}

TEST(IdMapTest, OrThoseOfTheContainersUserNamespace) {
  ASSERT_OK_AND_ASSIGN(const auto map, Plan(WithUserNamespace(""), {"/d", "bind", "/s", {"ridmap"}, {}, {}}));
  ASSERT_TRUE(map.has_value());
  EXPECT_EQ(map->namespace_path, "");
  EXPECT_EQ(FormatIdMappings(map->gid_mappings), "0 200000 65536\n");
  EXPECT_TRUE(map->recursive);
  ASSERT_OK_AND_ASSIGN(const auto joined,
                       Plan(WithUserNamespace("/ns"), {"/d", "bind", "/s", {"idmap"}, {}, {}}));
  ASSERT_TRUE(joined.has_value());
  EXPECT_EQ(joined->namespace_path, "/ns");
}

TEST(IdMapTest, IdsMustBeSaid) {
  EXPECT_THAT(Plan({}, {"/d", "bind", "/s", {"idmap"}, {}, {}}),
              IsError(Code::kInvalidArgument, HasSubstr("'idmap' needs uidMappings")));
  EXPECT_THAT(Plan({}, {"/d", "bind", "/s", {}, {{0, 1, 2}}, {}}),
              IsError(Code::kInvalidArgument, "uidMappings and gidMappings need each other"));
  EXPECT_THAT(Plan(WithUserNamespace(""), {"/d", "tmpfs", "tmpfs", {"idmap"}, {}, {}}),
              IsError(Code::kInvalidArgument, "only a bind mount can map ids"));
}

TEST(IdMapTest, AJoinedNamespaceHasItsOwnIds) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_OK_AND_ASSIGN(const auto user, linux::MakeUserNamespace("0 7000 10\n", "0 8000 20\n"));
  // Podman gives a mapping to such a container that means nothing.
  Spec spec = WithUserNamespace(linux::FdPath(user.get()));
  ASSERT_OK(ResolveUserNamespace(spec));
  EXPECT_EQ(FormatIdMappings(spec.linux->uid_mappings), "0 7000 10\n");
  EXPECT_EQ(FormatIdMappings(spec.linux->gid_mappings), "0 8000 20\n");
  EXPECT_NE(FindUserNamespace(spec), nullptr);
  spec = WithUserNamespace("/proc/self/ns/user");
  ASSERT_OK(ResolveUserNamespace(spec));
  EXPECT_EQ(FindUserNamespace(spec), nullptr);
  EXPECT_TRUE(spec.linux->uid_mappings.empty());
  spec = WithUserNamespace("");
  ASSERT_OK(ResolveUserNamespace(spec));
  EXPECT_EQ(FormatIdMappings(spec.linux->uid_mappings), "0 100000 65536\n");
}

TEST(IdMapTest, TextForTheKernel) {
  EXPECT_EQ(FormatIdMappings({{0, 1000, 1}, {1, 100000, 65535}}), "0 1000 1\n1 100000 65535\n");
  ASSERT_OK_AND_ASSIGN(const auto read,
                       ParseIdMappings("         0       1000          1\n 1 100000 4294967295\n"));
  EXPECT_EQ(FormatIdMappings(read), "0 1000 1\n1 100000 4294967295\n");
  EXPECT_FALSE(ParseIdMappings("0 x 1\n"));
}

}  // namespace
}  // namespace kata::oci
