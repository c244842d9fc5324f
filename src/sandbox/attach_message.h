// The datagrams on attach.sock, as both ends read and write them (attach.h says what they are for).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "linux/unix_socket.h"
#include "sandbox/attach.h"

namespace kata::sandbox {

inline constexpr size_t kMaxAttachMessageBytes = 16u << 10;
inline constexpr size_t kMaxAttachDescriptors = 4;  // channel, stdin, stdout, stderr
inline constexpr std::string_view kCommitMessage = "commit";

// The data for a request; which descriptors go with it, in this order, is part of it.
std::string EncodeAttachRequest(const AttachRequest& request);
// kInvalidArgument when text and descriptors do not fit together.
Result<AttachRequest> DecodeAttachRequest(linux::UnixMessage message);

std::string EncodeAttachReply(const Status& status);
// The error that the server answered with, or kInternal for a reply that cannot be read.
Status DecodeAttachReply(std::string_view data);

}  // namespace kata::sandbox
