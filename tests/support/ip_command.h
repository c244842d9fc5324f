// ip(8), with which tests of networks make what they look at.
#pragma once

#include <string>
#include <vector>

namespace kata::test {

// Runs "ip ARGS...", and fails the test when it fails. In the network namespace `namespace_fd` (borrowed);
// -1: in that of the calling thread.
void Ip(const std::vector<std::string>& args, int namespace_fd = -1);

}  // namespace kata::test
