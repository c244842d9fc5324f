#include "cli/stdout.h"

#include <unistd.h>

#include "base/file.h"

namespace kata::cli {

Status WriteStdout(std::string_view text) {
  TRY_CTX(WriteAll(STDOUT_FILENO, text), "write to standard output");
  return {};
}

}  // namespace kata::cli
