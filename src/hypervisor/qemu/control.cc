#include "hypervisor/qemu/control.h"

#include <algorithm>

#include "base/scope_exit.h"
#include "base/utf8.h"
#include "hypervisor/qemu/driver.h"

namespace kata::hypervisor::qemu {
namespace {

using nlohmann::json;

// For undoing the first steps of an attach whose own deadline may have passed.
constexpr std::chrono::seconds kUndoTime{5};

// `members` is the list of properties that QEMU gives for a bus: a device on it is one named "child[N]".
bool IsEmptyBus(const json& members) {
  if (!members.is_array()) return false;
  return std::none_of(members.begin(), members.end(), [](const json& member) {
    if (!member.is_object()) return false;
    const auto name = member.find("name");
    return name != member.end() && name->is_string() &&
           name->get_ref<const std::string&>().starts_with("child[");
  });
}

std::string PortName(uint32_t number) {
  return fmt::format("{}{}", kPortPrefix, number);
}

json SocketBackend(const std::string& id, const std::string& fd_name) {
  return {{"id", id},
          {"backend",
           {{"type", "socket"},
            {"data", {{"addr", {{"type", "fd"}, {"data", {{"str", fd_name}}}}}, {"server", false}}}}}};
}

std::string TextMember(const json& object, const char* name) {
  constexpr size_t kMaxBytes = 200;
  const auto member = object.find(name);
  if (member == object.end() || !member->is_string()) return {};
  return ToPlainLine(member->get_ref<const std::string&>(), kMaxBytes);
}

// "disk 'disk1.disk': write: No space left on device", of a BLOCK_IO_ERROR.
std::string DescribeDiskError(const json& data) {
  return fmt::format("disk '{}': {}: {}", TextMember(data, "node-name"), TextMember(data, "operation"),
                     TextMember(data, "reason"));
}

}  // namespace

Result<std::unique_ptr<VmControl>> QemuDriver::Connect(UniqueFd control, VmEvents events,
                                                       Deadline deadline) const {
  return QemuControl::Connect(std::move(control), std::move(events), deadline);
}

Result<std::unique_ptr<VmControl>> QemuControl::Connect(UniqueFd socket, VmEvents events, Deadline deadline) {
  std::unique_ptr<QemuControl> control(new QemuControl(std::move(events)));
  control->client_ = TRY(QmpClient::Connect(
      std::move(socket), [self = control.get()](const QmpEvent& event) { self->OnEvent(event); }, deadline));
  return std::unique_ptr<VmControl>(std::move(control));
}

void QemuControl::OnEvent(const QmpEvent& event) {
  if (event.name == "MEMORY_DEVICE_SIZE_CHANGE") {
    std::lock_guard lock(mutex_);
    ++memory_changes_;
    changed_.notify_all();
  } else if (event.name == QmpClient::kClosedEvent) {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  } else if (event.name == "DEVICE_DELETED") {
    OnDeviceDeleted(event);
  } else if (event.name == "STOP") {
    OnStop();
  } else if (event.name == "BLOCK_IO_ERROR") {
    if (events_.on_trouble) events_.on_trouble(DescribeDiskError(event.data));
  }
}

void QemuControl::OnDeviceDeleted(const QmpEvent& event) {
  // Without "device" the event speaks of a device that has no id, hence of none of ours.
  const auto id = event.data.find("device");
  if (id == event.data.end() || !id->is_string()) return;
  std::lock_guard lock(mutex_);
  if (*id != removing_) return;
  removed_ = true;
  changed_.notify_all();
}

// QEMU stops the machine by itself where it cannot go on, as after an internal error of KVM, and waits for
// somebody who looks at it.
void QemuControl::OnStop() {
  {
    std::lock_guard lock(mutex_);
    if (stop_wanted_) return;
  }
  if (events_.on_halted) events_.on_halted("qemu has stopped the virtual machine");
}

Status QemuControl::Pause(Deadline deadline) {
  {
    std::lock_guard lock(mutex_);
    stop_wanted_ = true;
  }
  TRY(client_->Execute({.name = "stop"}, deadline));
  return {};
}

Status QemuControl::Resume(Deadline deadline) {
  TRY(client_->Execute({.name = "cont"}, deadline));
  std::lock_guard lock(mutex_);
  stop_wanted_ = false;
  return {};
}

Status QemuControl::Quit(Deadline deadline) {
  if (Result<json> quit = client_->Execute({.name = "quit"}, deadline); !quit) {
    // QEMU may be gone before its answer is out: what was asked for has happened.
    if (quit.error().code() != Code::kUnavailable) return std::move(quit).error();
  }
  return client_->WaitClosed(deadline);
}

// Asks QEMU's object model. What query-pci tells of a port comes from its bus numbers, which the guest's
// firmware and kernel write: before they have, and whenever they write something else, a full port looks
// empty.
Result<uint32_t> QemuControl::FindFreePort(Deadline deadline) {
  for (uint32_t number = 0; number < kMaxHotplugPorts; ++number) {
    const std::string port = PortName(number);
    // A root port's bus has the port's own name.
    const Result<json> members = client_->Execute(
        {.name = "qom-list", .arguments = {{"path", fmt::format("/machine/peripheral/{}/{}", port, port)}}},
        deadline);
    if (!members && members.error().code() == Code::kNotFound) break;
    if (IsEmptyBus(TRY(members))) return number;
  }
  return Error(Code::kResourceExhausted, "no free pci port");
}

Status QemuControl::AddBackend(const DeviceSpec& spec, const Device& device,
                               const std::vector<std::string>& fd_names, Deadline deadline) {
  std::vector<QmpCommand> commands;
  const std::vector<int> fds = DeviceFds(spec);
  for (size_t i = 0; i < fds.size(); ++i) {
    commands.push_back({.name = "getfd", .arguments = {{"fdname", fd_names[i]}}, .fd = fds[i]});
  }
  if (device.backend_kind == BackendKind::kSocket) {
    commands.push_back(
        {.name = "chardev-add", .arguments = SocketBackend(device.backend_id, fd_names.front())});
  } else if (device.backend_kind == BackendKind::kNetdev) {
    commands.push_back({.name = "netdev_add", .arguments = device.backend});
  } else if (device.backend_kind == BackendKind::kBlock) {
    commands.push_back({.name = "blockdev-add", .arguments = device.backend});
  }
  TRY(client_->ExecuteAll(std::move(commands), deadline));
  return {};
}

// Which of them the device had is not known here any more; the commands that do not fit are refused.
void QemuControl::RemoveBackend(const std::string& device_id, Deadline deadline) {
  (void)client_->Execute({.name = "chardev-remove", .arguments = {{"id", device_id + ".socket"}}}, deadline);
  (void)client_->Execute({.name = "blockdev-del", .arguments = {{"node-name", device_id + ".disk"}}},
                         deadline);
  (void)client_->Execute({.name = "netdev_del", .arguments = {{"id", device_id + ".tap"}}}, deadline);
}

Result<std::string> QemuControl::Attach(const DeviceSpec& spec, Deadline deadline) {
  const std::string& id = DeviceId(spec);
  TRY(ValidateDevice(spec));
  std::vector<std::string> fd_names;
  for (size_t i = 0; i < DeviceFds(spec).size(); ++i) fd_names.push_back(fmt::format("{}.fd{}", id, i));
  Device device = DescribeDevice(spec, fd_names);
  if (device.backend_kind == BackendKind::kFsdev) {
    return MakeError(Code::kUnimplemented, "attach device '{}': qemu cannot add a 9p share to a running vm",
                     id);
  }

  std::lock_guard plug_lock(plug_mutex_);
  std::string guest_path;
  if (device.on_pci) {
    const uint32_t port = TRY_CTX(FindFreePort(deadline), "attach device '{}'", id);
    device.frontend["bus"] = PortName(port);
    guest_path = fmt::format("{:02x}/00", kFirstPortSlot + port);
  }
  ScopeExit undo([&] { RemoveBackend(id, Deadline::After(kUndoTime)); });
  TRY_CTX(AddBackend(spec, device, fd_names, deadline), "attach device '{}'", id);
  TRY_CTX(client_->Execute({.name = "device_add", .arguments = device.frontend}, deadline),
          "attach device '{}'", id);
  undo.Release();
  return guest_path;
}

Status QemuControl::Remove(const std::string& device_id, Deadline deadline) {
  {
    std::lock_guard lock(mutex_);
    removing_ = device_id;
    removed_ = false;
  }
  TRY_CTX(client_->Execute({.name = "device_del", .arguments = {{"id", device_id}}}, deadline),
          "detach device '{}'", device_id);
  {
    std::unique_lock lock(mutex_);
    const bool ended = changed_.wait_until(lock, deadline.time(), [&] { return removed_ || closed_; });
    removing_.clear();
    if (ended && closed_) {
      return MakeError(Code::kUnavailable, "detach device '{}': the virtual machine ended", device_id);
    }
    if (!ended) {
      return MakeError(Code::kDeadlineExceeded,
                       "detach device '{}': wait for the guest to let go: deadline exceeded", device_id);
    }
  }
  return {};
}

Status QemuControl::Detach(const std::string& device_id, Deadline deadline) {
  std::lock_guard plug_lock(plug_mutex_);
  TRY(Remove(device_id, deadline));
  RemoveBackend(device_id, deadline);
  return {};
}

}  // namespace kata::hypervisor::qemu
