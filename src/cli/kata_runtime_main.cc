// kata-runtime: the OCI runtime that engines and people call.
#include <string>
#include <vector>

#include "cli/program.h"

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + std::max(argc, 1));
  return kata::cli::RunProgram(args);
}
