#include "agent/guest_program.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/file.h"
#include "base/process.h"
#include "base/scope_exit.h"
#include "base/take_field.h"
#include "base/unique_fd.h"
#include "base/utf8.h"

namespace kata::agent {
namespace {

constexpr size_t kMaxOutputBytes = 4u << 20;
constexpr size_t kMaxErrorBytes = 1024;
constexpr size_t kMaxPlainErrorBytes = 3 * kMaxErrorBytes;  // of which none is text

// The parent's ends of a program's streams, and what went through them.
struct Streams {
  UniqueFd input;
  UniqueFd output;
  UniqueFd error;
  std::string_view to_write;
  std::string output_text;
  std::string error_text;
};

// Writes what the pipe takes; closes it at the end of the input or when nobody reads any more.
void Feed(Streams& streams) {
  const ssize_t count = write(streams.input.get(), streams.to_write.data(), streams.to_write.size());
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count > 0) streams.to_write.remove_prefix(static_cast<size_t>(count));
  if (count < 0 || streams.to_write.empty()) streams.input.Reset();
}

// Appends what there is, up to `limit` in all; the rest is read and dropped. Closes at the end.
void Take(UniqueFd& fd, std::string& text, size_t limit) {
  char buffer[4096];
  const ssize_t count = read(fd.get(), buffer, sizeof buffer);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) return fd.Reset();
  text.append(buffer, std::min(static_cast<size_t>(count), limit - std::min(limit, text.size())));
}

// Until the program has closed both outputs.
Status Exchange(Streams& streams, Deadline deadline) {
  while (streams.output.valid() || streams.error.valid()) {
    pollfd entries[] = {{streams.input.get(), POLLOUT, 0},
                        {streams.output.get(), POLLIN, 0},
                        {streams.error.get(), POLLIN, 0}};
    const int count = poll(entries, std::size(entries), deadline.RemainingPollMs());
    if (count < 0 && errno != EINTR) return SysError("poll");
    if (count == 0 && deadline.Passed()) return Error(Code::kDeadlineExceeded, "did not end in time");
    if (count <= 0) continue;
    if (entries[0].revents != 0) Feed(streams);
    if (entries[1].revents != 0) Take(streams.output, streams.output_text, kMaxOutputBytes);
    if (entries[2].revents != 0) Take(streams.error, streams.error_text, kMaxErrorBytes);
  }
  return {};
}

}  // namespace

Result<std::string> FindGuestProgram(std::string_view name) {
  for (std::string_view rest = kGuestProgramPath; !rest.empty();) {
    const std::string_view directory = TakeField(rest, ':');
    std::string path = fmt::format("{}/{}", directory, name);
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return MakeError(Code::kUnimplemented, "the guest has no program '{}'", name);
}

Result<std::string> RunGuestProgram(const GuestProgram& program, Deadline deadline) {
  Command command;
  command.program = program.path;
  command.args = program.args;
  command.environment = program.environment;
  const bool has_path =
      std::any_of(program.environment.begin(), program.environment.end(),
                  [](const std::string& variable) { return variable.starts_with("PATH="); });
  if (!has_path) command.environment->push_back(fmt::format("PATH={}", kGuestProgramPath));
  PipeEnds input = TRY(MakePipe());
  PipeEnds output = TRY(MakePipe());
  PipeEnds error = TRY(MakePipe());
  // Each end of a pipe is an open file of its own, so the program's ends stay blocking.
  for (const int fd : {input.write.get(), output.read.get(), error.read.get()}) TRY(SetNonBlocking(fd, true));
  command.stdin_fd = input.read.get();
  command.stdout_fd = output.write.get();
  command.stderr_fd = error.write.get();
  command.new_session = true;
  ChildProcess child = TRY(Spawn(command));
  // With what it has started, while its number cannot be another's yet.
  const ScopeExit kill_all([&] {
    if (child.valid()) (void)kill(-child.pid(), SIGKILL);
  });
  input.read.Reset();
  output.write.Reset();
  error.write.Reset();

  Streams streams{
      std::move(input.write), std::move(output.read), std::move(error.read), program.input, {}, {}};
  if (program.input.empty()) streams.input.Reset();
  TRY_CTX(Exchange(streams, deadline), "'{}'", program.path);
  const ExitStatus status = TRY_CTX(child.Wait(deadline), "'{}'", program.path);
  if (status.ShellCode() != 0) {
    return MakeError(Code::kInternal, "'{}' failed with {}: {}", program.path, status.Describe(),
                     ToPlainLine(Trim(streams.error_text), kMaxPlainErrorBytes));
  }
  return std::move(streams.output_text);
}

}  // namespace kata::agent
