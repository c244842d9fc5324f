// Server addresses and serial ports by name.
#include "agent/server_address.h"

#include "agent/serial_port.h"
#include "base/file.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"

namespace kata::agent {
namespace {

using test::IsErrorCode;

TEST(ParseServerAddress, KnowsFourForms) {
  ASSERT_OK_AND_ASSIGN(const ServerAddress vsock, ParseServerAddress("vsock://-1:1024"));
  EXPECT_EQ(vsock.kind, ServerAddress::Kind::kVsock);
  EXPECT_EQ(vsock.port, 1024u);
  ASSERT_OK_AND_ASSIGN(const ServerAddress host, ParseServerAddress("vsock://2:4000"));
  EXPECT_EQ(host.kind, ServerAddress::Kind::kHostVsock);
  EXPECT_EQ(host.port, 4000u);
  ASSERT_OK_AND_ASSIGN(const ServerAddress unix_path, ParseServerAddress("unix:///run/a.sock"));
  EXPECT_EQ(unix_path.kind, ServerAddress::Kind::kUnix);
  EXPECT_EQ(unix_path.name, "/run/a.sock");
  ASSERT_OK_AND_ASSIGN(const ServerAddress serial, ParseServerAddress("serial://agent.channel.0"));
  EXPECT_EQ(serial.kind, ServerAddress::Kind::kSerial);
  EXPECT_EQ(serial.name, "agent.channel.0");
}

TEST(ParseServerAddress, RefusesOthers) {
  for (const char* text : {"", "vsock://", "vsock://1024", "vsock://-1:", "vsock://2:", "vsock://-1:0",
                           "vsock://3:12x", "unix://relative", "serial://", "tcp://1.2.3.4:5"}) {
    EXPECT_THAT(ParseServerAddress(text), IsErrorCode(Code::kInvalidArgument)) << text;
  }
}

TEST(FindSerialPort, FindsThePortByItsName) {
  ASSERT_OK_AND_ASSIGN(const TempDir directory, TempDir::Create());
  ASSERT_OK(MakeDirectories(directory.path() + "/vport1p0"));  // a port without a name
  ASSERT_OK(MakeDirectories(directory.path() + "/vport1p2"));
  ASSERT_OK(WriteFileAtomic(directory.path() + "/vport1p2/name", "agent.channel.0\n"));
  ASSERT_OK_AND_ASSIGN(const std::string path, FindSerialPort("agent.channel.0", directory.path(), "/dev"));
  EXPECT_EQ(path, "/dev/vport1p2");
  EXPECT_THAT(FindSerialPort("agent.channel", directory.path()), IsErrorCode(Code::kNotFound));
  EXPECT_THAT(FindSerialPort("x", "/nonexistent"), IsErrorCode(Code::kNotFound));
}

}  // namespace
}  // namespace kata::agent
