// QMP, QEMU's machine protocol (qmp-spec): JSON objects, one a line, over a connected socket.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include "base/deadline.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace kata::hypervisor::qemu {

// A guest that has taken over QEMU may write what it likes: a line is bounded in length and nesting.
inline constexpr size_t kMaxQmpLine = 1u << 20;
inline constexpr int kMaxQmpNesting = 64;

struct QmpGreeting {
  std::string version;  // "7.2.22"
};
struct QmpEvent {
  std::string name;
  nlohmann::json data;  // an object, perhaps empty
};
struct QmpError {
  std::string error_class;  // "GenericError", "DeviceNotFound" ...
  std::string description;
};
struct QmpReply {
  std::optional<uint64_t> id;  // absent where QEMU could not read the command
  std::variant<nlohmann::json, QmpError> outcome;
};
using QmpMessage = std::variant<QmpGreeting, QmpEvent, QmpReply>;

// Reads one line, without its line end. kDataLoss where it is no QMP message.
Result<QmpMessage> ParseQmpLine(std::string_view line);

struct QmpCommand {
  std::string name;
  nlohmann::json arguments;  // an object or null
  int fd = -1;               // travels with the command, for getfd (borrowed)
};

// One connection. Thread safe; a thread of its own reads. Destruction closes the connection.
class QmpClient {
 public:
  // The last one, when the connection has ended; QEMU's own names are written in capitals.
  static constexpr char kClosedEvent[] = "closed";
  // Runs on the reading thread: must not block and not call back into the client.
  using EventCallback = std::function<void(const QmpEvent& event)>;

  // Waits for the greeting and negotiates capabilities. kUnavailable when the other side closes before.
  static Result<std::unique_ptr<QmpClient>> Connect(UniqueFd socket, EventCallback on_event,
                                                    Deadline deadline);
  ~QmpClient();
  QmpClient(const QmpClient&) = delete;
  QmpClient& operator=(const QmpClient&) = delete;

  const std::string& version() const { return version_; }

  // Sends the command and returns what QEMU returned. A refusal reads "execute 'device_add': GenericError:
  // Bus 'x' not found"; its code follows QEMU's error class.
  Result<nlohmann::json> Execute(QmpCommand command, Deadline deadline);
  // Sends all at once and waits for all. The first refusal is returned; the commands behind it have run or
  // failed regardless, as QEMU knows no transactions here.
  Result<std::vector<nlohmann::json>> ExecuteAll(std::vector<QmpCommand> commands, Deadline deadline);

  // Waits until the other side has closed the connection.
  Status WaitClosed(Deadline deadline);

 private:
  QmpClient(UniqueFd socket, EventCallback on_event);
  void ReadLoop();
  // Handles the complete lines in `input`, removes them.
  Status HandleInput(std::string& input);
  void HandleMessage(QmpMessage message);
  void Fail(Error error);
  Status Send(uint64_t id, const QmpCommand& command, Deadline deadline);
  Result<nlohmann::json> WaitReply(uint64_t id, const std::string& name, Deadline deadline);

  const UniqueFd socket_;
  const EventCallback on_event_;
  std::string version_;

  std::mutex write_mutex_;  // one command's bytes stay together
  std::mutex mutex_;        // guards what follows
  std::condition_variable changed_;
  uint64_t next_id_ = 1;
  std::optional<QmpGreeting> greeting_;
  // An entry for each command that somebody waits for, filled by the reading thread.
  std::map<uint64_t, std::optional<QmpReply>> replies_;
  std::optional<Error> failure_;  // the connection has ended

  std::thread reader_;
};

}  // namespace kata::hypervisor::qemu
