#include "agent/guest_program.h"

#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::IsError;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class GuestProgramTest : public test::LeakCheckedTest {
 protected:
  Result<std::string> Shell(const std::string& command, const std::string& input = {},
                            Deadline deadline = Deadline::After(seconds(60))) {
    return RunGuestProgram({"/bin/sh", {"-c", command}, {}, input}, deadline);
  }
};

TEST_F(GuestProgramTest, FeedsAndCollects) {
  const std::string input(1u << 20, 'x');  // more than pipes hold
  ASSERT_OK_AND_ASSIGN(const std::string output, Shell("cat; echo to stderr >&2", input));
  EXPECT_EQ(output, input);
  EXPECT_EQ(Shell("echo done", input).value_or("error"), "done\n") << "a program need not read its input";
  EXPECT_EQ(Shell("cat").value_or("error"), "");
}

TEST_F(GuestProgramTest, TellsWhatTheProgramSaid) {
  EXPECT_THAT(
      Shell("printf 'first\\nsecond\\n' >&2; exit 3"),
      IsError(Code::kInternal, AllOf(HasSubstr("exit status 3: first second"), Not(HasSubstr("\n")))));
  EXPECT_THAT(Shell("head -c 100000 /dev/zero | tr '\\0' e >&2; exit 1"),
              IsError(Code::kInternal, testing::SizeIs(testing::Lt(1200u))));
  EXPECT_THAT(RunGuestProgram({"/nonexistent", {}, {}, {}}, Deadline::After(seconds(60))),
              test::IsErrorCode(Code::kNotFound));
}

TEST_F(GuestProgramTest, BoundsOutputAndTime) {
  ASSERT_OK_AND_ASSIGN(const std::string output, Shell("head -c 6000000 /dev/zero"));
  EXPECT_EQ(output.size(), 4u << 20);
  EXPECT_THAT(Shell("sleep 1000", {}, Deadline::After(milliseconds(200))),
              test::IsErrorCode(Code::kDeadlineExceeded));
  // Also when it has closed its streams.
  EXPECT_THAT(Shell("exec >&- 2>&-; sleep 1000", {}, Deadline::After(milliseconds(200))),
              test::IsErrorCode(Code::kDeadlineExceeded));
}

TEST_F(GuestProgramTest, FindsProgramsAtUsualPlaces) {
  EXPECT_OK(FindGuestProgram("sh"));
  EXPECT_THAT(FindGuestProgram("no-such-program"),
              IsError(Code::kUnimplemented, HasSubstr("the guest has no program 'no-such-program'")));
}

}  // namespace
}  // namespace kata::agent
