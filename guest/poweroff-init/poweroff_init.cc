// An /init that does nothing but power the machine off. Booted in place of the agent
// it shows what the hypervisor and the kernel alone cost: the floor that the start of
// a container is measured against.

#include <sys/reboot.h>

int main() {
  // Returns only on failure; PID 1 ending makes the kernel panic, which ends the
  // machine as well.
  return reboot(RB_POWER_OFF);
}
