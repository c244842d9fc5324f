// The agent as a program.
#pragma once

namespace kata::agent {

// main() of kata-agent: `kata-agent [-v|--version] [-c|--config FILE] [init]`. As PID 1 of a guest it boots
// the guest and never returns; elsewhere, also where another init of a guest has started it, it serves until
// SIGTERM or SIGINT. `init` is the jail. Returns the
// exit code.
int AgentMain(int argc, char** argv);

}  // namespace kata::agent
