// Result<T> and Error: failures as values, carried with their first cause and the context each layer adds.
#pragma once

#include <fmt/format.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace kata {

// The numbers are those of gRPC and ttrpc (google.rpc.Code), so that a code crosses the wire unchanged.
enum class Code : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
};

// An error: what kind, the errno of the system call behind it (0 if none), and one line of text that reads
// from the outermost action to the first cause: "create container 'c1': mount '/a' on '/b': Permission
// denied".
class [[nodiscard]] Error {
 public:
  Error(Code code, std::string message, int sys_errno = 0)
      : code_(code), sys_errno_(sys_errno), message_(std::move(message)) {}

  Code code() const { return code_; }
  int sys_errno() const { return sys_errno_; }
  const std::string& message() const { return message_; }

  // Puts "context: " in front of the message; the cause stays.
  Error Wrap(std::string_view context) && {
    message_ = fmt::format("{}: {}", context, message_);
    return std::move(*this);
  }
  // The same error under another code, for a layer that knows better what it means to its caller.
  Error WithCode(Code code) && {
    code_ = code;
    return std::move(*this);
  }

 private:
  Code code_;
  int sys_errno_;
  std::string message_;
};

// The name that users and logs see, e.g. "not found".
std::string_view CodeName(Code code);
// The code that fits an errno (ENOENT: kNotFound, EEXIST: kAlreadyExists, ...); kInternal where none does.
Code CodeFromErrno(int sys_errno);

// "<context>: <strerror(sys_errno)>" with the code that fits the errno.
Error ErrnoError(int sys_errno, std::string_view context);

template <typename... Args>
Error MakeError(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return Error(code, fmt::format(format, std::forward<Args>(args)...));
}
// From the current value of errno, which must not have been touched since the failing call.
template <typename... Args>
Error SysError(fmt::format_string<Args...> format, Args&&... args) {
  const int saved = errno;
  return ErrnoError(saved, fmt::format(format, std::forward<Args>(args)...));
}

template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  Result(Error error)  // NOLINT(google-explicit-constructor)
      : tl::expected<T, Error>(tl::unexpected<Error>(std::move(error))) {
  }  // implicit, so that a function returns its errors as they are
};

// The value of Result<> operations that only succeed or fail.
using Status = Result<void>;

namespace detail {
template <typename T>
T TakeValue(Result<T>& result) {
  return std::move(*result);
}
inline void TakeValue(Result<void>&) {}
}  // namespace detail

// Evaluates to the value of `expr`, or returns its error from the enclosing function.
#define TRY(expr)                                            \
  __extension__({                                            \
    auto try_result_ = (expr);                               \
    if (!try_result_) return std::move(try_result_).error(); \
    ::kata::detail::TakeValue(try_result_);                  \
  })

// TRY that puts a formatted context in front of the error: TRY_CTX(Open(p), "read state of '{}'", id).
#define TRY_CTX(expr, ...)                                                                    \
  __extension__({                                                                             \
    auto try_result_ = (expr);                                                                \
    if (!try_result_) return std::move(try_result_).error().Wrap(::fmt::format(__VA_ARGS__)); \
    ::kata::detail::TakeValue(try_result_);                                                   \
  })

}  // namespace kata
