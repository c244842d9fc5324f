#include "sandbox/boot_slot.h"

#include <sys/eventfd.h>

#include <optional>
#include <thread>

#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::sandbox {
namespace {

using kata::test::IsErrorCode;
using std::chrono::milliseconds;

class BootSlotTest : public kata::test::LeakCheckedTest {
 protected:
  Result<BootSlot> Take(milliseconds time) {
    return BootSlot::Take(directory_.path() + "/slots", 2, Deadline::After(time), cancel_.get());
  }
  TempDir directory_ = std::move(*TempDir::Create());
  UniqueFd cancel_{eventfd(0, EFD_CLOEXEC)};
};

TEST_F(BootSlotTest, ThereAreNoMoreThanTheCount) {
  std::optional<BootSlot> first = *Take(milliseconds(0));
  ASSERT_OK_AND_ASSIGN(const BootSlot second, Take(milliseconds(0)));
  EXPECT_THAT(Take(milliseconds(50)), IsErrorCode(Code::kDeadlineExceeded));
  first.reset();
  EXPECT_OK(Take(milliseconds(0)));
}

TEST_F(BootSlotTest, AWaiterGetsTheOneThatIsGivenBack) {
  std::optional<BootSlot> first = *Take(milliseconds(0));
  ASSERT_OK_AND_ASSIGN(const BootSlot second, Take(milliseconds(0)));
  std::thread giver([&] {
    std::this_thread::sleep_for(milliseconds(100));
    first.reset();
  });
  EXPECT_OK(Take(std::chrono::seconds(60)));
  giver.join();
}

TEST_F(BootSlotTest, TheWaitCanBeCancelled) {
  ASSERT_OK_AND_ASSIGN(const BootSlot first, Take(milliseconds(0)));
  ASSERT_OK_AND_ASSIGN(const BootSlot second, Take(milliseconds(0)));
  eventfd_write(cancel_.get(), 1);
  EXPECT_THAT(Take(std::chrono::seconds(60)), IsErrorCode(Code::kCancelled));
}

}  // namespace
}  // namespace kata::sandbox
