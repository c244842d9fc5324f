// kata-agent: PID 1 of the guest.
#include "agent/agent.h"

int main(int argc, char** argv) {
  return kata::agent::AgentMain(argc, argv);
}
