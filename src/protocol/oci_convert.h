// The OCI specification to and from its form on the wire (proto/oci.proto).
#pragma once

#include "base/result.h"
#include "oci/spec.h"
#include "proto/oci.pb.h"

namespace kata::protocol {

// Nothing is lost between peers of this implementation: FromProto(ToProto(x)) equals x, but for two spellings
// that mean the same: a device rule's -1 comes back as absent, and so do hooks without any entry.
grpc::Spec ToProto(const oci::Spec& spec);
grpc::Process ToProto(const oci::Process& process);
grpc::LinuxResources ToProto(const oci::Resources& resources);

// Trusts nothing: NUL bytes in strings, too many entries and values out of range are kInvalidArgument naming
// the member. Whether the values make sense is for oci::Validate.
Result<oci::Spec> FromProto(const grpc::Spec& spec);
Result<oci::Process> FromProto(const grpc::Process& process);
Result<oci::Resources> FromProto(const grpc::LinuxResources& resources);

}  // namespace kata::protocol
