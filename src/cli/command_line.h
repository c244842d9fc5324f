// The command line as values.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "cli/commands.h"

namespace kata::cli {

// Text for stdout, and success: --help, --version, --show-default-config-paths.
struct ShowText {
  std::string text;
};

using CommandOptions =
    std::variant<ShowText, CreateOptions, RunOptions, ExecOptions, StartOptions, KillOptions, DeleteOptions,
                 StateOptions, PauseOptions, ResumeOptions, PsOptions, ListOptions, UpdateOptions,
                 EventsOptions, SpecOptions, FeaturesOptions, UnavailableOptions>;

struct CommandLine {
  GlobalOptions globals;
  CommandOptions command;
};

// `args`: without the program's name. Relative paths are taken from the working directory. kInvalidArgument
// names the flag, value or command that is wrong; `globals` are then filled as far as they were understood,
// so that the error can go to the log that the caller reads.
Result<CommandLine> ParseCommandLine(const std::vector<std::string>& args, GlobalOptions& globals);

// The three lines of --version.
std::string VersionText();

}  // namespace kata::cli
