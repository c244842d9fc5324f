#include "hypervisor/qemu/qmp.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <set>
#include <utility>

#include "base/file.h"
#include "hypervisor/qemu/control.h"
#include "hypervisor/qemu/driver.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::hypervisor::qemu {
namespace {

using nlohmann::json;
using test::IsError;
using test::IsErrorCode;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kGreeting[] =
    R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}})";

Deadline Soon() {
  return Deadline::After(std::chrono::seconds(20));
}

TEST(ParseQmpLineTest, Greeting) {
  ASSERT_OK_AND_ASSIGN(const QmpMessage message, ParseQmpLine(kGreeting));
  EXPECT_EQ(std::get<QmpGreeting>(message).version, "7.2.22");
}

TEST(ParseQmpLineTest, Event) {
  ASSERT_OK_AND_ASSIGN(
      const QmpMessage message,
      ParseQmpLine(
          R"({"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true}})"));
  const auto& event = std::get<QmpEvent>(message);
  EXPECT_EQ(event.name, "SHUTDOWN");
  EXPECT_EQ(event.data, json({{"guest", true}}));
}

TEST(ParseQmpLineTest, ReturnAndError) {
  ASSERT_OK_AND_ASSIGN(const QmpMessage returned, ParseQmpLine(R"({"return": {"running": true}, "id": 7})"));
  EXPECT_EQ(std::get<QmpReply>(returned).id, 7u);
  EXPECT_EQ(std::get<json>(std::get<QmpReply>(returned).outcome), json({{"running", true}}));

  ASSERT_OK_AND_ASSIGN(const QmpMessage refused,
                       ParseQmpLine(R"({"error": {"class": "GenericError", "desc": "no bus"}})"));
  EXPECT_EQ(std::get<QmpReply>(refused).id, std::nullopt);
  EXPECT_EQ(std::get<QmpError>(std::get<QmpReply>(refused).outcome).description, "no bus");
}

TEST(ParseQmpLineTest, RefusesWhatIsNoMessage) {
  for (const std::string line :
       {"", "{", "[]", "1", "{}", R"({"event": 1})", R"({"event": "E", "data": 3})",
        R"({"id": -1, "return": {}})", R"({"id": "x", "return": {}})", R"({"error": 1})",
        R"({"error": {"class": "C"}})", R"({"return": {}} trailing)"}) {
    EXPECT_THAT(ParseQmpLine(line), IsErrorCode(Code::kDataLoss)) << line;
  }
}

TEST(ParseQmpLineTest, BoundsNestingAndLength) {
  const auto nested = [](int depth) {
    return R"({"return": )" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_OK(ParseQmpLine(nested(kMaxQmpNesting - 1)));
  EXPECT_THAT(ParseQmpLine(nested(kMaxQmpNesting)), IsError(Code::kDataLoss, HasSubstr("nested too deeply")));
  EXPECT_OK(ParseQmpLine(R"({"return": ")" + std::string(200, '[') + R"("})"));
  EXPECT_THAT(ParseQmpLine(std::string(kMaxQmpLine + 1, ' ')),
              IsError(Code::kDataLoss, HasSubstr("too long")));
}

// The other end of a connection, played by a thread: greets, then gives each command to `on_command`, which
// writes what it likes.
class FakeQemu {
 public:
  using OnCommand = std::function<void(FakeQemu& self, const json& command)>;

  explicit FakeQemu(OnCommand on_command, const std::string& greeting = kGreeting)
      : on_command_(std::move(on_command)) {
    SocketPairEnds ends = std::move(*MakeSocketPair(SOCK_STREAM));
    client_end_ = std::move(ends.first);
    server_end_ = std::move(ends.second);
    Write(greeting + "\r\n");
    thread_ = std::thread([this] { Serve(); });
  }
  ~FakeQemu() {
    Close();
    thread_.join();
  }

  UniqueFd TakeClientEnd() { return std::move(client_end_); }
  // No more than the client reads is taken for granted: it may have hung up.
  void Write(const std::string& text) {
    for (size_t sent = 0; sent < text.size();) {
      const ssize_t count = send(server_end_.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += static_cast<size_t>(count);
    }
  }
  void Return(const json& command, const json& value) {
    Write(json{{"return", value}, {"id", command["id"]}}.dump() + "\r\n");
  }
  void Close() { shutdown(server_end_.get(), SHUT_RDWR); }
  // The descriptor that came with the last command, or -1.
  UniqueFd TakeFd() { return std::move(received_); }

 private:
  void Serve() {
    std::string input;
    char buffer[4096];
    for (;;) {
      iovec part{buffer, sizeof buffer};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const ssize_t count = recvmsg(server_end_.get(), &message, MSG_CMSG_CLOEXEC);
      if (count <= 0) return;
      if (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
        int fd;
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
        received_.Reset(fd);
      }
      input.append(buffer, static_cast<size_t>(count));
      for (size_t end; (end = input.find('\n')) != std::string::npos; input.erase(0, end + 1)) {
        const json command = json::parse(input.substr(0, end));
        if (command["execute"] == "qmp_capabilities") {
          Return(command, json::object());
        } else {
          on_command_(*this, command);
        }
      }
    }
  }

  const OnCommand on_command_;
  UniqueFd client_end_, server_end_, received_;
  std::thread thread_;
};

class QmpClientTest : public test::LeakCheckedTest {};

TEST_F(QmpClientTest, RepliesFindTheirCommandsInAnyOrder) {
  std::vector<json> held;
  FakeQemu qemu([&](FakeQemu& self, const json& command) {
    held.push_back(command);
    if (held.size() < 3) return;
    for (auto it = held.rbegin(); it != held.rend(); ++it) self.Return(*it, (*it)["execute"]);
  });
  ASSERT_OK_AND_ASSIGN(const auto client, QmpClient::Connect(qemu.TakeClientEnd(), nullptr, Soon()));
  EXPECT_EQ(client->version(), "7.2.22");
  ASSERT_OK_AND_ASSIGN(const auto values,
                       client->ExecuteAll({{.name = "a"}, {.name = "b"}, {.name = "c"}}, Soon()));
  EXPECT_THAT(values, ElementsAre("a", "b", "c"));
}

TEST_F(QmpClientTest, RefusalKeepsClassAndDescription) {
  FakeQemu qemu([](FakeQemu& self, const json& command) {
    self.Write(json{{"error", {{"class", "DeviceNotFound"}, {"desc", "Device 'd' not found"}}},
                    {"id", command["id"]}}
                   .dump() +
               "\n");
  });
  ASSERT_OK_AND_ASSIGN(const auto client, QmpClient::Connect(qemu.TakeClientEnd(), nullptr, Soon()));
  EXPECT_THAT(client->Execute({.name = "device_del", .arguments = {{"id", "d"}}}, Soon()),
              IsError(Code::kNotFound, "execute 'device_del': DeviceNotFound: Device 'd' not found"));
}

TEST_F(QmpClientTest, DeadlineEndsTheWaitAndALateReplyHarmsNobody) {
  FakeQemu qemu([late = json()](FakeQemu& self, const json& command) mutable {
    if (command["execute"] == "slow") {
      late = command;
      return;
    }
    self.Return(late, "late");
    self.Return(command, "in time");
  });
  ASSERT_OK_AND_ASSIGN(const auto client, QmpClient::Connect(qemu.TakeClientEnd(), nullptr, Soon()));
  EXPECT_THAT(client->Execute({.name = "slow"}, Deadline::After(std::chrono::milliseconds(50))),
              IsError(Code::kDeadlineExceeded, "execute 'slow': wait for qmp reply: deadline exceeded"));
  ASSERT_OK_AND_ASSIGN(const json value, client->Execute({.name = "fast"}, Soon()));
  EXPECT_EQ(value, "in time");
}

TEST_F(QmpClientTest, ClosedConnectionEndsAllWaits) {
  FakeQemu qemu([](FakeQemu& self, const json& /*command*/) { self.Close(); });
  ASSERT_OK_AND_ASSIGN(const auto client, QmpClient::Connect(qemu.TakeClientEnd(), nullptr, Soon()));
  EXPECT_THAT(client->Execute({.name = "x"}, Soon()),
              IsError(Code::kUnavailable, "execute 'x': qmp connection closed"));
  EXPECT_OK(client->WaitClosed(Soon()));
  EXPECT_THAT(client->Execute({.name = "y"}, Soon()), IsErrorCode(Code::kUnavailable));
}

TEST_F(QmpClientTest, ALineWithoutEndIsNotCollectedForEver) {
  FakeQemu qemu(
      [](FakeQemu& self, const json& /*command*/) { self.Write(std::string(2 * kMaxQmpLine, 'x')); });
  ASSERT_OK_AND_ASSIGN(const auto client, QmpClient::Connect(qemu.TakeClientEnd(), nullptr, Soon()));
  EXPECT_THAT(client->Execute({.name = "x"}, Soon()),
              IsError(Code::kDataLoss, "execute 'x': read qmp message: line too long"));
}

TEST_F(QmpClientTest, ConnectFailsWithoutGreeting) {
  FakeQemu silent([](FakeQemu&, const json&) {}, "");
  EXPECT_THAT(
      QmpClient::Connect(silent.TakeClientEnd(), nullptr, Deadline::After(std::chrono::milliseconds(50))),
      IsError(Code::kDeadlineExceeded, "wait for qmp greeting: deadline exceeded"));
  SocketPairEnds ends = std::move(*MakeSocketPair(SOCK_STREAM));
  ends.second.Reset();
  EXPECT_THAT(QmpClient::Connect(std::move(ends.first), nullptr, Soon()),
              IsError(Code::kUnavailable, "wait for qmp greeting: qmp connection closed"));
}

TEST_F(QmpClientTest, EventsReachTheCallback) {
  std::vector<std::string> seen;  // by the client's thread, until it has ended
  {
    FakeQemu qemu([](FakeQemu& self, const json& command) {
      self.Write("{\"event\": \"RESUME\"}\r\n");
      self.Return(command, json::object());
    });
    ASSERT_OK_AND_ASSIGN(
        const auto client,
        QmpClient::Connect(
            qemu.TakeClientEnd(), [&](const QmpEvent& event) { seen.push_back(event.name); }, Soon()));
    ASSERT_OK(client->Execute({.name = "cont"}, Soon()));
  }
  EXPECT_EQ(seen.front(), "RESUME");
}

TEST_F(QmpClientTest, AttachPassesTheDescriptorAndTakesAFreePort) {
  std::vector<json> commands;
  FakeQemu qemu([&](FakeQemu& self, const json& command) {
    commands.push_back(command);
    if (command["execute"] == "qom-list") {
      const bool full = command["arguments"]["path"] == "/machine/peripheral/port0/port0";
      self.Return(command,
                  json::array({{{"name", "realized"}}, {{"name", full ? "child[0]" : "acpi-pcihp-bsel"}}}));
    } else {
      self.Return(command, json::object());
    }
  });
  ASSERT_OK_AND_ASSIGN(const auto control, QemuDriver().Connect(qemu.TakeClientEnd(), {}, Soon()));
  ASSERT_OK_AND_ASSIGN(const PipeEnds pipe, MakePipe());
  ASSERT_OK(control->Attach(VirtioFsDevice{.id = "fs", .tag = "t", .socket_fd = pipe.write.get()}, Soon()));

  ASSERT_EQ(commands.size(), 5u);
  EXPECT_EQ(commands[2]["execute"], "getfd");
  EXPECT_EQ(commands[3]["arguments"]["backend"]["data"]["addr"]["data"]["str"],
            commands[2]["arguments"]["fdname"]);
  EXPECT_EQ(commands[4]["execute"], "device_add");
  EXPECT_EQ(commands[4]["arguments"]["bus"], "port1");
  EXPECT_EQ(commands[4]["arguments"]["driver"], "vhost-user-fs-pci");
  // What arrived is the very pipe.
  const UniqueFd received = qemu.TakeFd();
  ASSERT_OK(WriteAll(received.get(), "x"));
  EXPECT_OK(WaitFd(pipe.read.get(), POLLIN, Soon(), "byte"));
}

TEST_F(QmpClientTest, AttachesANetworkCard) {
  std::vector<json> commands;
  FakeQemu qemu([&](FakeQemu& self, const json& command) {
    commands.push_back(command);
    self.Return(command, command["execute"] == "qom-list" ? json::array() : json::object());
  });
  ASSERT_OK_AND_ASSIGN(const auto control, QemuDriver().Connect(qemu.TakeClientEnd(), {}, Soon()));
  ASSERT_OK_AND_ASSIGN(const PipeEnds pipe, MakePipe());
  const NetworkDevice card{
      .id = "net3", .mac = "02:00:00:00:00:01", .tap_fds = {pipe.write.get(), pipe.read.get()}};
  ASSERT_OK_AND_ASSIGN(const std::string guest_path, control->Attach(card, Soon()));
  EXPECT_EQ(guest_path, "0f/00") << "port0";

  ASSERT_EQ(commands.size(), 5u);
  EXPECT_EQ(commands[1]["arguments"]["fdname"], "net3.fd0");
  EXPECT_EQ(commands[2]["arguments"]["fdname"], "net3.fd1");
  EXPECT_EQ(commands[3]["execute"], "netdev_add");
  EXPECT_EQ(commands[3]["arguments"],
            (json{{"type", "tap"}, {"id", "net3.tap"}, {"fds", "net3.fd0:net3.fd1"}}));
  EXPECT_EQ(commands[4]["execute"], "device_add");
  EXPECT_EQ(commands[4]["arguments"]["driver"], "virtio-net-pci");
  EXPECT_EQ(commands[4]["arguments"]["netdev"], "net3.tap");
  EXPECT_EQ(commands[4]["arguments"]["mac"], "02:00:00:00:00:01");
  EXPECT_EQ(commands[4]["arguments"]["mq"], true);
}

TEST_F(QmpClientTest, AFailedAttachTakesItsBackEndAway) {
  std::vector<std::string> commands;
  FakeQemu qemu([&](FakeQemu& self, const json& command) {
    commands.push_back(command["execute"]);
    if (command["execute"] == "device_add") {
      self.Write(json{{"error", {{"class", "GenericError"}, {"desc", "no"}}}, {"id", command["id"]}}.dump() +
                 "\n");
    } else {
      self.Return(command, json::array());
    }
  });
  ASSERT_OK_AND_ASSIGN(const auto control, QemuDriver().Connect(qemu.TakeClientEnd(), {}, Soon()));
  EXPECT_THAT(control->Attach(BlockDevice{.id = "d", .path = "/dev/x"}, Soon()),
              IsError(Code::kInternal, "attach device 'd': execute 'device_add': GenericError: no"));
  EXPECT_THAT(commands, ElementsAre("qom-list", "blockdev-add", "device_add", "chardev-remove",
                                    "blockdev-del", "netdev_del"));
}

TEST_F(QmpClientTest, AnswersThatNameNoFreePort) {
  const json answers[] = {json(), 1, "x", json::object(),
                          json::array({1, {{"name", 5}}, {{"name", "child[7]"}}})};
  for (const json& answer : answers) {
    FakeQemu qemu([&](FakeQemu& self, const json& command) { self.Return(command, answer); });
    ASSERT_OK_AND_ASSIGN(const auto control, QemuDriver().Connect(qemu.TakeClientEnd(), {}, Soon()));
    EXPECT_THAT(control->Attach(BlockDevice{.id = "d", .path = "/dev/x"}, Soon()),
                IsError(Code::kResourceExhausted, "attach device 'd': no free pci port"))
        << answer;
  }
}

TEST_F(QmpClientTest, DetachWaitsForTheGuest) {
  FakeQemu qemu([](FakeQemu& self, const json& command) {
    self.Return(command, json::object());
    if (command["execute"] == "device_del" && command["arguments"]["id"] == "d") {
      self.Write(
          "{\"event\": \"DEVICE_DELETED\", \"data\": {\"path\": \"/p\"}}\n"
          "{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"d\", \"path\": \"/p\"}}\n");
    }
  });
  ASSERT_OK_AND_ASSIGN(const auto control, QemuDriver().Connect(qemu.TakeClientEnd(), {}, Soon()));
  EXPECT_OK(control->Detach("d", Soon()));
  EXPECT_THAT(
      control->Detach("kept", Deadline::After(std::chrono::milliseconds(50))),
      IsError(Code::kDeadlineExceeded, HasSubstr("detach device 'kept': wait for the guest to let go")));
}

TEST_F(QmpClientTest, TellsOfDiskErrorsAndOfAStopThatNobodyAskedFor) {
  // By the client's thread, until it has ended.
  std::vector<std::string> troubles;
  std::vector<std::string> halts;
  {
    FakeQemu qemu([](FakeQemu& self, const json& command) {
      if (command["execute"] == "stop" || command["execute"] == "device_del") {
        self.Write("{\"event\": \"STOP\"}\n");
      }
      if (command["execute"] == "cont") {
        self.Write(
            "{\"event\": \"RESUME\"}\n"
            "{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"device\": \"\", \"node-name\": \"d.disk\", "
            "\"operation\": \"write\", \"action\": \"report\", \"reason\": \"No space\\nleft\"}}\n"
            "{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"node-name\": 1}}\n");
      }
      self.Return(command, json::object());
      if (command["execute"] == "device_del") {
        self.Write("{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"d\"}}\n");
      }
    });
    VmEvents events{.on_trouble = [&](std::string line) { troubles.push_back(std::move(line)); },
                    .on_halted = [&](std::string reason) { halts.push_back(std::move(reason)); }};
    ASSERT_OK_AND_ASSIGN(const auto control,
                         QemuDriver().Connect(qemu.TakeClientEnd(), std::move(events), Soon()));
    ASSERT_OK(control->Pause(Soon()));
    ASSERT_OK(control->Resume(Soon()));
    EXPECT_THAT(halts, testing::IsEmpty());
    ASSERT_OK(control->Detach("d", Soon()));
  }
  EXPECT_THAT(troubles, ElementsAre("disk 'd.disk': write: No space left", "disk '': : "));
  EXPECT_THAT(halts, ElementsAre("qemu has stopped the virtual machine"));
}

// Processors of a machine that was started with one; `on_remove` says whether the guest lets go of one.
class FakeProcessors {
 public:
  explicit FakeProcessors(std::set<std::string> plugged, std::function<bool(const std::string&)> on_remove)
      : plugged_(std::move(plugged)), on_remove_(std::move(on_remove)) {}

  void operator()(FakeQemu& qemu, const json& command) {
    const std::string& name = command["execute"];
    if (name == "query-hotpluggable-cpus") {
      json list = json::array();
      for (int core = 3; core >= 0; --core) {
        json entry{{"type", "cpu"}, {"props", {{"socket-id", 0}, {"core-id", core}}}};
        const std::string id = fmt::format("vcpu{}", core);
        if (core == 0) entry["qom-path"] = "/machine/unattached/device[0]";
        if (plugged_.contains(id)) entry["qom-path"] = "/machine/peripheral/" + id;
        list.push_back(std::move(entry));
      }
      return qemu.Return(command, list);
    }
    const json id = command["arguments"]["id"];
    qemu.Return(command, json::object());
    if (name == "device_add") plugged_.insert(id.get<std::string>());
    if (name == "device_del" && on_remove_(id.get<std::string>())) {
      plugged_.erase(id.get<std::string>());
      qemu.Write(json{{"event", "DEVICE_DELETED"}, {"data", {{"device", id}}}}.dump() + "\n");
    }
  }

 private:
  std::set<std::string> plugged_;
  const std::function<bool(const std::string&)> on_remove_;
};

TEST_F(QmpClientTest, ProcessorsThatTheGuestKeepsAreCounted) {
  FakeQemu qemu(FakeProcessors({"vcpu1", "vcpu2", "vcpu3"}, [kept = false](const std::string& id) mutable {
    return id == "vcpu3" || std::exchange(kept, true);
  }));
  ASSERT_OK_AND_ASSIGN(const auto control, QemuDriver().Connect(qemu.TakeClientEnd(), {}, Soon()));
  // One leaves, the next takes its time.
  ASSERT_OK_AND_ASSIGN(uint32_t vcpus, control->SetVcpus(1, Deadline::After(std::chrono::milliseconds(100))));
  EXPECT_EQ(vcpus, 3u);
  ASSERT_OK_AND_ASSIGN(vcpus, control->SetVcpus(1, Soon()));
  EXPECT_EQ(vcpus, 1u);
  ASSERT_OK_AND_ASSIGN(vcpus, control->SetVcpus(4, Soon()));
  EXPECT_EQ(vcpus, 4u);
}

TEST_F(QmpClientTest, ProcessorsAreCountedAlsoAfterTheDeadline) {
  FakeQemu qemu(FakeProcessors({"vcpu1"}, [](const std::string&) { return true; }));
  ASSERT_OK_AND_ASSIGN(const auto control, QemuDriver().Connect(qemu.TakeClientEnd(), {}, Soon()));
  ASSERT_OK_AND_ASSIGN(const uint32_t vcpus,
                       control->SetVcpus(1, Deadline::After(std::chrono::milliseconds(0))));
  EXPECT_LE(vcpus, 2u);
}

}  // namespace
}  // namespace kata::hypervisor::qemu
