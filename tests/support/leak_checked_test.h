// LeakCheckedTest: a fixture that fails a test which leaves something behind in the system.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace kata::test {

// What a process holds of the system, each item as a line for a person.
struct SystemState {
  // Topic ("file descriptor", "process", "thread", "mount", "network namespace", "network interface"):
  // items.
  std::map<std::string, std::set<std::string>> items;

  static SystemState Capture();
  // What is here and was not in `before`, one item a line; empty when nothing was added.
  std::string AddedSince(const SystemState& before) const;
};

// Compares from construction to destruction, hence after the members of derived fixtures are gone. Waits a
// moment for what is just ending, e.g. a joined thread that the kernel has not yet removed from /proc.
class LeakCheckedTest : public testing::Test {
 protected:
  LeakCheckedTest();
  ~LeakCheckedTest() override;

 private:
  SystemState before_;
};

}  // namespace kata::test
