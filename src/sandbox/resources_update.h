// What an update of resource limits means for a container that has some already.
#pragma once

#include "oci/spec.h"

namespace kata::sandbox {

struct ResourcesUpdate {
  // To be set now: what changes, and what cannot be understood without the rest of it (memory and swap, quota
  // and period).
  oci::Resources changes;
  // What holds then.
  oci::Resources result;
  // What takes `changes` of limits of memory back: those that held, -1 where there was none.
  oci::MemoryResources memory_before;
};

// A member that is absent in `update`, or zero where zero means "not set", stays as it is in `current`. Rules
// for devices are not changed, as with runc.
ResourcesUpdate PlanUpdate(const oci::Resources& current, const oci::Resources& update);

}  // namespace kata::sandbox
