// Warnings of what a specification asks for and a container will not have, though it runs.
#pragma once

#include "oci/spec.h"

namespace kata::cli {

// Names that are no capability's: such a right is left out, as runc leaves it out, for newer engines know
// more names than older kernels.
void WarnOfUnknownCapabilities(const oci::Process& process);

// Those of the process, and sections that mean nothing for a virtual machine.
void WarnOfWhatIsLeftOut(const oci::Spec& spec);

}  // namespace kata::cli
