#include "oci/json.h"

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "oci/full_spec_for_test.h"
#include "oci/limits.h"
#include "support/result_matchers.h"

namespace kata::oci {
namespace {

using nlohmann::json;
using test::IsError;
using test::IsErrorCode;
using test::IsOk;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// A process that leaves out nothing required, with `members` put in.
std::string Process(const std::string& members) {
  return R"({"process": {"cwd": "/", "args": ["a"])" + (members.empty() ? "" : ", " + members) + "}}";
}
std::string Linux(const std::string& members) {
  return R"({"linux": {)" + members + "}}";
}

TEST(ParseSpec, KeepsEveryMember) {
  ASSERT_OK_AND_ASSIGN(const Spec spec, ParseSpec(kFullSpecJson));
  EXPECT_EQ(json::parse(ToJson(spec)), json::parse(kFullSpecJson));
}

TEST(ParseSpec, PutsMembersIntoTheirFields) {
  ASSERT_OK_AND_ASSIGN(const Spec spec, ParseSpec(kFullSpecJson));
  EXPECT_EQ(spec.process->console_size->width, 80u);
  EXPECT_EQ(spec.process->rlimits[1].hard, UINT64_MAX);
  EXPECT_EQ(spec.process->oom_score_adj, -5);
  EXPECT_EQ(spec.mounts[1].gid_mappings[0].host_id, 2000u);
  EXPECT_EQ(spec.hooks.prestart[0].timeout_seconds, 30);
  EXPECT_EQ(spec.linux->resources->pids_limit, 100);
  EXPECT_EQ(spec.linux->resources->memory->disable_oom_killer, false);
  EXPECT_EQ(spec.linux->resources->devices[0].major, std::nullopt);
  EXPECT_EQ(spec.linux->resources->devices[1].minor, 0);
  EXPECT_EQ(spec.linux->devices[1].file_mode, std::nullopt);
  EXPECT_EQ(spec.linux->time_offsets.at("monotonic").secs, -172800);
}

TEST(ParseSpec, TakesNullAndUnknownMembersAsAbsent) {
  ASSERT_OK_AND_ASSIGN(const Spec spec, ParseSpec(R"({
    "ociVersion": "1.0.0", "process": {"args": null, "env": null, "cwd": "/", "capabilities": null, "newer": [{}]},
    "hooks": null, "mounts": null, "windows": null, "linux": {"resources": {"pids": null, "memory": {}}}, "x": {}})"));
  EXPECT_EQ(spec.process->cwd, "/");
  EXPECT_FALSE(spec.process->capabilities.has_value());
  EXPECT_FALSE(spec.linux->resources->pids_limit.has_value());
  EXPECT_TRUE(spec.linux->resources->memory.has_value());
  EXPECT_FALSE(spec.root.has_value());
}

struct BadInput {
  std::string name;
  std::string text;
  std::string error;
};
void PrintTo(const BadInput& input, std::ostream* out) {
  *out << input.name;
}

class BadSpecTest : public testing::TestWithParam<BadInput> {};

TEST_P(BadSpecTest, IsRefusedWithTheMembersPath) {
  EXPECT_THAT(ParseSpec(GetParam().text), IsError(Code::kInvalidArgument, GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(
    Texts, BadSpecTest,
    testing::ValuesIn(std::vector<BadInput>{
        {"Empty", "",
         "parse error at line 1, column 1: syntax error while parsing value - unexpected end of input; "
         "expected '[', "
         "'{', or a literal"},
        {"Truncated", R"({"process": )",
         "parse error at line 1, column 13: syntax error while parsing value - unexpected end of input; "
         "expected "
         "'[', '{', or a literal"},
        {"Garbage", "{\n  nonsense\n}",
         "parse error at line 2, column 4: syntax error while parsing object key - invalid literal"},
        {"TrailingText", "{} x",
         "parse error at line 1, column 4: syntax error while parsing value - invalid literal"},
        {"InvalidUtf8", "{\"hostname\": \"\xff\"}",
         "parse error at line 1, column 15: syntax error while parsing value - invalid string: ill-formed "
         "UTF-8 "
         "byte"},
        {"NotAnObject", "[]", "expected an object, found an array"},
        {"NullDocument", "null", "expected an object, found null"},
        {"StringExpected", R"({"mounts": [{}, {}, {}, {"destination": 1}]})",
         "mounts[3].destination: expected a string, found a number"},
        {"IntegerExpected", Linux(R"("resources": {"memory": {"limit": "1G"}})"),
         "linux.resources.memory.limit: expected an integer, found a string"},
        {"WrappedObjectExpected", Linux(R"("resources": {"pids": 5})"),
         "linux.resources.pids: expected an object, found a number"},
        {"WrappedInteger", Linux(R"("resources": {"pids": {"limit": true}})"),
         "linux.resources.pids.limit: expected an integer, found a boolean"},
        {"BooleanExpected", R"({"root": {"readonly": 1}})",
         "root.readonly: expected a boolean, found a number"},
        {"ArrayExpected", R"({"mounts": {}})", "mounts: expected an array, found an object"},
        {"NullInAList", Process(R"("env": ["A=1", null])"), "process.env[1]: expected a string, found null"},
        {"NotStringInAMap", R"({"annotations": {"org.example.x": 1}})",
         "annotations[\"org.example.x\"]: expected a string, found a number"},
        {"NamesAreEscaped", R"({"annotations": {"a\n\"b": 1}})",
         "annotations[\"a\\x0a\\\"b\"]: expected a string, found a number"},
        {"Fraction", Process(R"("oomScoreAdj": 1.5)"), "process.oomScoreAdj: expected an integer, found 1.5"},
        {"Exponent", Process(R"("oomScoreAdj": 1e3)"),
         "process.oomScoreAdj: expected an integer, found 1000"},
        {"NegativeUnsigned", Process(R"("user": {"uid": -1})"),
         "process.user.uid: expected an integer from 0 to 4294967295, found -1"},
        {"Above32Bits", Process(R"("user": {"gid": 4294967296})"),
         "process.user.gid: expected an integer from 0 to 4294967295, found 4294967296"},
        {"Above16Bits", Linux(R"("resources": {"blockIO": {"weight": 65536}})"),
         "linux.resources.blockIO.weight: expected an integer from 0 to 65535, found 65536"},
        {"AboveSigned64Bits", Process(R"("oomScoreAdj": 9223372036854775808)"),
         "process.oomScoreAdj: expected an integer from -9223372036854775808 to 9223372036854775807, found "
         "9223372036854775808"},
        {"Above64Bits",
         Process(R"("rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 18446744073709551616}])"),
         "process.rlimits[0].hard: expected an integer, found 1.8446744073709552e+19"},
        {"Overflow", Process(R"("oomScoreAdj": 1e999)"), "number overflow parsing '1e999'"},
        {"RequiredMember", Process(R"("rlimits": [{"type": "RLIMIT_CPU", "hard": 1}])"),
         "process.rlimits[0].soft: missing"},
        {"DuplicateKey", Process(R"("args": ["b"])"), "process.args: appears twice"},
        {"DuplicateUnknownKey", R"({"x": [0, {"y": [[], {"z": 1, "z": 2}]}]})", "x[1].y[1].z: appears twice"},
        {"NulInString", R"({"mounts": [{"destination": "/a\u0000b"}]})",
         "mounts[0].destination: contains a NUL byte"},
        {"NulInElement", Process(R"("env": ["A=1", "B=\u0000"])"), "process.env[1]: contains a NUL byte"},
        {"NulInName", R"({"annotations": {"a\u0000": ""}})",
         "annotations[\"a\\x00\"]: name contains a NUL byte"},
        {"Windows", R"({"windows": {}})", "windows: not supported on linux"},
        {"Solaris", R"({"solaris": {"milestone": "x"}})", "solaris: not supported on linux"},
        {"Zos", R"({"zos": {"namespaces": []}})", "zos: not supported on linux"},
        {"Vm", R"({"vm": {"kernel": {"path": "/k"}}})",
         "vm: not supported: hypervisor, kernel and image are those of the runtime's configuration"},
    }),
    [](const auto& info) { return info.param.name; });

TEST(ParseSpec, LimitsDepth) {
  const auto nested = [](size_t depth) {
    return R"({"x": )" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  EXPECT_THAT(ParseSpec(nested(kMaxJsonDepth)), IsOk());
  EXPECT_THAT(ParseSpec(nested(kMaxJsonDepth + 1)),
              IsError(Code::kInvalidArgument,
                      AllOf(StartsWith("x[0][0]"), HasSubstr("[0]: nested deeper than 64 levels"))));
  // Were the parser recursive, this would overflow the stack.
  EXPECT_THAT(ParseSpec(std::string(10u << 20, '[')), IsErrorCode(Code::kInvalidArgument));
}

TEST(ParseSpec, LimitsSize) {
  EXPECT_THAT(ParseSpec(std::string(kMaxConfigBytes + 1, ' ')),
              IsError(Code::kResourceExhausted, "33554433 bytes of JSON, the limit is 33554432"));
  std::string values = R"({"x": [0)";
  for (size_t i = 0; i < kMaxJsonValues; ++i) values += ",0";
  EXPECT_THAT(ParseSpec(values + "]}"), IsError(Code::kInvalidArgument, "more than 1048576 values"));
}

std::string Repeat(const std::string& text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += (i == 0 ? "" : ",") + text;
  return out;
}

TEST(ParseSpec, LimitsObjects) {
  const std::string mount = R"({"destination": "/a", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]})";
  EXPECT_THAT(ParseSpec(R"({"mounts": [)" + Repeat(mount, 100'000) + "]}"),
              IsError(Code::kInvalidArgument, "mounts: 100000 entries, the limit is 16384"));
  ASSERT_OK_AND_ASSIGN(const Spec spec, ParseSpec(R"({"mounts": [)" + Repeat(mount, kMaxObjects) + "]}"));
  EXPECT_EQ(spec.mounts.size(), kMaxObjects);
}

TEST(ParseSpec, TakesLargeEnvironmentsAndMaps) {
  const std::string variable = "\"A=" + std::string(100, 'x') + "\"";
  const std::string text = Process("\"env\": [" + Repeat(variable, 100'000) + "]");
  ASSERT_GT(text.size(), 10u << 20);
  ASSERT_OK_AND_ASSIGN(const Spec spec, ParseSpec(text));
  EXPECT_EQ(spec.process->env.size(), 100'000u);

  json annotations;
  for (size_t i = 0; i < kMaxObjects; ++i) annotations[std::to_string(i)] = "v";
  ASSERT_OK_AND_ASSIGN(const Spec annotated, ParseSpec(json{{"annotations", annotations}}.dump()));
  EXPECT_EQ(json::parse(ToJson(annotated))["annotations"], annotations);
}

TEST(ParseProcess, ReadsAndWritesTheObjectAlone) {
  const std::string text = json::parse(kFullSpecJson)["process"].dump();
  ASSERT_OK_AND_ASSIGN(const oci::Process process, ParseProcess(text));
  EXPECT_EQ(json::parse(ToJson(process)), json::parse(text));
  EXPECT_THAT(ParseProcess(R"({"args": "sh"})"),
              IsError(Code::kInvalidArgument, "args: expected an array, found a string"));
}

TEST(ParseResources, ReadsAndWritesTheObjectAlone) {
  const std::string text = json::parse(kFullSpecJson)["linux"]["resources"].dump();
  ASSERT_OK_AND_ASSIGN(const Resources resources, ParseResources(text));
  EXPECT_EQ(json::parse(ToJson(resources)), json::parse(text));
  EXPECT_THAT(ParseResources(R"({"cpu": {"quota": "max"}})"),
              IsError(Code::kInvalidArgument, "cpu.quota: expected an integer, found a string"));
}

// Every value of the full specification in turn becomes one of another kind: the error names its place.
void ReplaceEach(const json& document, json& value, const std::string& path) {
  const json original = value;
  const json other = original.is_string() ? json(1) : json("text");
  value = other;
  EXPECT_THAT(ParseSpec(document.dump()), IsError(Code::kInvalidArgument, StartsWith(path + ": expected ")));
  value = original;
  const auto child = [&](const std::string& name) {
    const bool plain = name.find_first_of("./") == std::string::npos;
    return plain ? path + "." + name : path + "[\"" + name + "\"]";
  };
  if (value.is_object()) {
    for (auto& [name, member] : value.items()) ReplaceEach(document, member, child(name));
  } else if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) ReplaceEach(document, value[i], path + fmt::format("[{}]", i));
  }
}

TEST(ParseSpec, NamesThePlaceOfEveryWrongKind) {
  json document = json::parse(kFullSpecJson);
  for (auto& [name, member] : document.items()) ReplaceEach(document, member, name);
}

// Calls `check` with each value of `value` that is no list or object, and with its place.
void ForEachLeaf(json& value, const std::string& path,
                 const std::function<void(json& leaf, const std::string& path)>& check) {
  if (value.is_object()) {
    for (auto& [name, member] : value.items()) {
      const bool plain = name.find_first_of("./") == std::string::npos;
      ForEachLeaf(member, path.empty() ? name : path + (plain ? "." + name : "[\"" + name + "\"]"), check);
    }
  } else if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) ForEachLeaf(value[i], path + fmt::format("[{}]", i), check);
  } else {
    check(value, path);
  }
}

TEST(ParseSpec, NamesThePlaceOfEveryNumberThatDoesNotFit) {
  json document = json::parse(kFullSpecJson);
  ForEachLeaf(document, "", [&](json& leaf, const std::string& path) {
    if (!leaf.is_number()) return;
    const json original = leaf;
    for (const json& wrong : {json(1e30), json(-1e30), json(0.5)}) {
      leaf = wrong;
      EXPECT_THAT(ParseSpec(document.dump()),
                  IsError(Code::kInvalidArgument, StartsWith(path + ": expected an integer")));
    }
    leaf = original;
  });
}

TEST(ParseSpec, NamesThePlaceOfEveryNul) {
  json document = json::parse(kFullSpecJson);
  ForEachLeaf(document, "", [&](json& leaf, const std::string& path) {
    if (!leaf.is_string()) return;
    const json original = leaf;
    leaf = leaf.get<std::string>() + '\0';
    EXPECT_THAT(ParseSpec(document.dump()), IsError(Code::kInvalidArgument, path + ": contains a NUL byte"));
    leaf = original;
  });
}

TEST(ParseSpec, SurvivesRandomDamage) {
  std::mt19937 random(20240229);  // the same damage in each run
  const std::string alphabet = "{}[]\",:0123456789.eE-+\\untrfals \x00\xc3\xff";
  size_t accepted = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text(kFullSpecJson);
    const size_t changes = 1 + random() % 3;
    for (size_t i = 0; i < changes; ++i) {
      const size_t position = random() % text.size();
      switch (random() % 3) {
        case 0:
          text[position] = alphabet[random() % alphabet.size()];
          break;
        case 1:
          text.erase(position, random() % 40);
          break;
        default:
          text.insert(position, text.substr(random() % text.size(), random() % 40));
          break;
      }
    }
    const Result<Spec> spec = ParseSpec(text);
    if (!spec) {
      EXPECT_FALSE(spec.error().message().empty());
      EXPECT_EQ(spec.error().message().find('\n'), std::string::npos) << spec.error().message();
      continue;
    }
    ++accepted;
    const std::string written = ToJson(*spec);
    ASSERT_OK_AND_ASSIGN(const Spec again, ParseSpec(written));
    EXPECT_EQ(ToJson(again), written);
  }
  EXPECT_GT(accepted, 10u);
}

TEST(ToJson, ReplacesWhatIsNotUtf8) {
  oci::Process process;
  process.args = {"a\xff"};
  EXPECT_THAT(ToJson(process), HasSubstr("[\"a\xef\xbf\xbd\"]"));
}

TEST(StateToJson, IsWhatRuncGivesItsHooks) {
  State state;
  state.oci_version = "1.2.0";
  state.id = "c1";
  state.status = "running";
  state.pid = 4711;
  state.bundle = "/bundles/c1";
  EXPECT_EQ(ToJson(state),
            R"({"ociVersion":"1.2.0","id":"c1","status":"running","pid":4711,"bundle":"/bundles/c1"})");
  state.status = "stopped";
  state.pid = 0;
  state.annotations = {{"org.example", "<a>"}};
  EXPECT_EQ(ToJson(state), R"({"ociVersion":"1.2.0","id":"c1","status":"stopped","bundle":"/bundles/c1",)"
                           R"("annotations":{"org.example":"<a>"}})");
}

TEST(HooksJson, IsReadBack) {
  Hooks hooks;
  hooks.poststop = {{.path = "/bin/a", .args = {"a", "b"}, .env = {"A=b"}, .timeout_seconds = 3}};
  Result<Hooks> read = ParseHooks(ToJson(hooks));
  ASSERT_OK(read);
  EXPECT_EQ(ToJson(*read), ToJson(hooks));
  EXPECT_EQ(ToJson(Hooks()), "{}");
}

}  // namespace
}  // namespace kata::oci
