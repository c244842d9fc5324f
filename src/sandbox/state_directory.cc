// The state directory: creation, listing, state.json, sockets.
#include "sandbox/state_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <thread>

#include "base/file.h"
#include "base/process.h"
#include "linux/mounts.h"
#include "linux/unix_socket.h"
#include "oci/json.h"
#include "protocol/ids.h"

namespace kata::sandbox {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxIdLength = 255;  // NAME_MAX: the id is a directory's name
// The most annotations that there can be, each byte of which JSON writes as six.
constexpr size_t kMaxStateBytes = 8u << 20;
constexpr std::chrono::seconds kConnectTimeout{10};

Status CheckId(const std::string& id) {
  if (id.size() > kMaxIdLength) {
    return MakeError(Code::kInvalidArgument, "container id '{}...' is longer than {} bytes", id.substr(0, 32),
                     kMaxIdLength);
  }
  return protocol::CheckContainerId(id);
}

Json ToJson(const ProcessId& process) {
  return {{"pid", process.pid}, {"startTime", process.start_time}};
}

// Reads members of an object; remembers the first that is missing or of another type.
class MemberReader {
 public:
  explicit MemberReader(const Json& object) : object_(object) {}

  std::string String(const char* key) {
    const Json* value = Find(key, &Json::is_string);
    return value ? value->get<std::string>() : std::string();
  }
  int Int(const char* key) {
    const Json* value = Find(key, &Json::is_number_integer);
    return value ? value->get<int>() : 0;
  }
  ProcessId Process(const char* key) {
    const Json* value = Find(key, &Json::is_object);
    if (!value) return {};
    ProcessId process;
    MemberReader reader(*value);
    process.pid = reader.Int("pid");
    if (const Json* time = reader.Find("startTime", &Json::is_number_unsigned)) {
      process.start_time = time->get<unsigned long long>();
    }
    if (wrong_.empty()) wrong_ = reader.wrong();
    return process;
  }
  std::map<std::string, std::string> StringMap(const char* key) {
    std::map<std::string, std::string> map;
    const Json* value = Find(key, &Json::is_object);
    if (!value) return map;
    for (const auto& [name, entry] : value->items()) {
      if (entry.is_string()) map[name] = entry.get<std::string>();
    }
    return map;
  }
  const std::string& wrong() const { return wrong_; }

 private:
  const Json* Find(const char* key, bool (Json::*is_type)() const noexcept) {
    const auto it = object_.find(key);
    if (it != object_.end() && (*it.*is_type)()) return &*it;
    if (wrong_.empty()) wrong_ = key;
    return nullptr;
  }
  const Json& object_;
  std::string wrong_;
};

}  // namespace

bool IsAlive(const ProcessId& process) {
  if (process.pid <= 0) return false;
  const Result<char> state = ProcessState(process.pid);
  if (!state || *state == 'Z' || *state == 'X') return false;
  const Result<unsigned long long> start_time = ProcessStartTime(process.pid);
  return start_time && *start_time == process.start_time;
}

StateDirectory::StateDirectory(std::string root, std::string id)
    : root_(std::move(root)), id_(std::move(id)), path_(root_ + "/" + id_) {}

Result<StateDirectory> StateDirectory::Create(const std::string& root, const std::string& id) {
  TRY(CheckId(id));
  TRY_CTX(MakeDirectories(root, 0700), "create state root '{}'", root);
  StateDirectory directory(root, id);
  // mkdir(2) decides between two that create the same id at the same time.
  if (mkdir(directory.path_.c_str(), 0700) < 0) {
    if (errno == EEXIST) return Error(Code::kAlreadyExists, "container with given ID already exists");
    return SysError("create state directory '{}'", directory.path_);
  }
  TRY(directory.Pin());
  return directory;
}

Result<StateDirectory> StateDirectory::Open(const std::string& root, const std::string& id) {
  TRY(CheckId(id));
  StateDirectory directory(root, id);
  TRY(directory.Pin());
  return directory;
}

Status StateDirectory::Pin() {
  Result<UniqueFd> fd = kata::Open(path_, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  if (!fd) {
    const int cause = fd.error().sys_errno();
    if (cause == ENOENT || cause == ENOTDIR || cause == ELOOP) {
      return Error(Code::kNotFound, "container does not exist");
    }
    return std::move(fd).error().Wrap("state directory");
  }
  fd_ = std::make_shared<const UniqueFd>(std::move(*fd));
  return {};
}

bool StateDirectory::IsCurrent() const {
  struct stat ours{};
  struct stat found{};
  return fstat(fd_->get(), &ours) == 0 && lstat(path_.c_str(), &found) == 0 && ours.st_dev == found.st_dev &&
         ours.st_ino == found.st_ino;
}

Result<UniqueFd> StateDirectory::Lock(Deadline deadline) const {
  UniqueFd lock = TRY_CTX(OpenAt(fd_->get(), ".", O_RDONLY | O_DIRECTORY), "lock '{}'", path_);
  while (flock(lock.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return SysError("lock '{}'", path_);
    if (deadline.Passed()) {
      return MakeError(Code::kDeadlineExceeded, "lock '{}': another process is removing it", path_);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return lock;
}

Result<std::string> StateDirectory::Read(const char* name, size_t limit) const {
  const UniqueFd file = TRY_CTX(OpenAt(fd_->get(), name, O_RDONLY), "read '{}/{}'", path_, name);
  return TRY_CTX(ReadFd(file.get(), limit), "read '{}/{}'", path_, name);
}

Result<std::vector<std::string>> StateDirectory::List(const std::string& root) {
  Result<std::vector<std::string>> names = ListDirectory(root);
  if (!names) {
    if (names.error().code() == Code::kNotFound) return std::vector<std::string>();
    return std::move(names).error().Wrap(fmt::format("list containers below '{}'", root));
  }
  std::vector<std::string> ids;
  for (std::string& name : *names) {
    if (Open(root, name)) ids.push_back(std::move(name));
  }
  return ids;
}

Result<ContainerState> StateDirectory::ReadState() const {
  const std::string file = path_ + "/state.json";
  const std::string text = TRY(Read("state.json", kMaxStateBytes));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return MakeError(Code::kDataLoss, "read '{}': it is not a JSON object", file);
  MemberReader reader(json);
  ContainerState state;
  state.oci_version = reader.String("ociVersion");
  state.id = reader.String("id");
  state.sandbox_id = reader.String("sandboxId");
  state.bundle = reader.String("bundle");
  state.rootfs = reader.String("rootfs");
  state.created = reader.String("created");
  state.owner = reader.String("owner");
  state.status = reader.String("status");
  state.error = reader.String("error");
  state.exit_code = reader.Int("exitCode");
  // Not in the state of a container that an earlier version has made.
  if (json.contains("creator")) state.creator = reader.Process("creator");
  state.shim = reader.Process("shim");
  state.server = reader.Process("server");
  state.vmm = reader.Process("vmm");
  state.annotations = reader.StringMap("annotations");
  state.cgroups = reader.StringMap("cgroups");
  state.systemd_unit = reader.String("systemdUnit");
  if (!reader.wrong().empty()) {
    return MakeError(Code::kDataLoss, "read '{}': member '{}' is missing or of the wrong type", file,
                     reader.wrong());
  }
  return state;
}

Status StateDirectory::WriteState(const ContainerState& state) const {
  const Json json = {
      {"ociVersion", state.oci_version},
      {"id", state.id},
      {"sandboxId", state.sandbox_id},
      {"bundle", state.bundle},
      {"rootfs", state.rootfs},
      {"created", state.created},
      {"owner", state.owner},
      {"status", state.status},
      {"error", state.error},
      {"exitCode", state.exit_code},
      {"creator", ToJson(state.creator)},
      {"shim", ToJson(state.shim)},
      {"server", ToJson(state.server)},
      {"vmm", ToJson(state.vmm)},
      {"annotations", state.annotations},
      {"cgroups", state.cgroups},
      {"systemdUnit", state.systemd_unit},
  };
  // Bytes that are not UTF-8 (a path may hold any) must not make the state unwritable.
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  TRY_CTX(WriteFileAtomicAt(fd_->get(), "state.json", text, 0600), "write state of container '{}'", id_);
  return {};
}

Status StateDirectory::WriteHooks(const oci::Hooks& hooks) const {
  TRY_CTX(WriteFileAtomicAt(fd_->get(), "hooks.json", oci::ToJson(hooks), 0600),
          "write hooks of container '{}'", id_);
  return {};
}

Result<oci::Hooks> StateDirectory::ReadHooks() const {
  const Result<std::string> text = Read("hooks.json", oci::kMaxConfigBytes);
  if (!text && text.error().code() == Code::kNotFound) return oci::Hooks();
  if (!text) return Error(text.error());
  return TRY_CTX(oci::ParseHooks(*text), "read '{}/hooks.json'", path_);
}

Result<UniqueFd> StateDirectory::Listen(const char* name, int type) const {
  const std::string socket = fmt::format("{}/{}", linux::FdPath(fd_->get()), name);
  return TRY_CTX(linux::ListenUnix(socket, type | SOCK_NONBLOCK, 0600), "state directory '{}'", path_);
}

Result<UniqueFd> StateDirectory::ListenTask() const {
  return Listen("task.sock", SOCK_STREAM);
}

Result<UniqueFd> StateDirectory::ListenAttach() const {
  return Listen("attach.sock", SOCK_SEQPACKET);
}

// "Nobody listens" and "no socket" both mean that the server is gone or was never there.
Result<UniqueFd> StateDirectory::Connect(const char* name, int type) const {
  const std::string path = fmt::format("{}/{}", path_, name);
  Result<UniqueFd> socket = linux::ConnectUnix(path, type, Deadline::After(kConnectTimeout));
  if (!socket && (socket.error().sys_errno() == ECONNREFUSED || socket.error().sys_errno() == ENOENT)) {
    return std::move(socket).error().WithCode(Code::kUnavailable);
  }
  // A directory that is current now was so before; else it may be a later container's server.
  if (socket && !IsCurrent()) {
    return MakeError(Code::kUnavailable, "connect to socket '{}': the container is gone", path);
  }
  return socket;
}

Result<UniqueFd> StateDirectory::ConnectTask() const {
  return Connect("task.sock", SOCK_STREAM);
}

Result<UniqueFd> StateDirectory::ConnectAttach() const {
  return Connect("attach.sock", SOCK_SEQPACKET);
}

Status StateDirectory::Remove() const {
  if (!IsCurrent()) return {};
  TRY_CTX(RemoveTree(path_), "remove state directory of container '{}'", id_);
  return {};
}

}  // namespace kata::sandbox
