// Fixture: the agent as a program in namespaces of its own on this machine, without a VM, and a client of it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/process.h"
#include "proto/agent.pb.h"
#include "proto/health.pb.h"
#include "proto/wellknown.pb.h"
#include "protocol/constants.h"
#include "support/leak_checked_test.h"
#include "support/result_matchers.h"
#include "ttrpc/client.h"

namespace kata::agent {

// main() of the program that the fixture starts (the test program itself, called with "serve"): sets the
// namespaces up and runs the agent in them, as their first process.
int ServeInNamespaces();

class AgentTest : public test::LeakCheckedTest {
 protected:
  void SetUp() override;
  void TearDown() override;

  template <typename Response = Empty, typename Request>
  Result<Response> Call(const std::string& method, const Request& request,
                        ttrpc::Client::Timeout timeout = std::chrono::seconds(60)) {
    return client_->CallSync<Response>(std::string(protocol::kAgentService), method, request, timeout);
  }

  // A container that runs a shell command.
  grpc::CreateContainerRequest ShellRequest(const std::string& id, const std::string& command) const;
  // CreateContainer, then StartContainer.
  Status Create(const grpc::CreateContainerRequest& request);
  Status Run(const std::string& id, const std::string& command);
  Status Exec(const std::string& id, const std::string& exec_id, const std::string& command,
              bool terminal = false);
  Status Signal(const std::string& id, const std::string& exec_id, int signal);
  Result<int> Wait(const std::string& id, const std::string& exec_id);
  Result<std::string> Read(const std::string& method, const std::string& id, const std::string& exec_id,
                           uint32_t len = 32768);
  // Everything up to the end of the stream.
  Result<std::string> ReadAll(const std::string& method, const std::string& id, const std::string& exec_id);
  // Reads until `text` has come.
  Result<std::string> ReadUntil(const std::string& id, const std::string& exec_id, const std::string& text);
  Result<uint32_t> Write(const std::string& id, const std::string& exec_id, const std::string& data);
  Status CloseStdin(const std::string& id, const std::string& exec_id);
  Status Remove(const std::string& id);

  std::unique_ptr<TempDir> directory_;
  std::string rootfs_;
  ChildProcess server_;
  std::unique_ptr<EventLoopThread> loop_;
  std::unique_ptr<ttrpc::Client> client_;
};

// A request with the ids set.
template <typename Request>
Request For(const std::string& container_id, const std::string& exec_id) {
  Request request;
  request.set_container_id(container_id);
  request.set_exec_id(exec_id);
  return request;
}
template <typename Request>
Request For(const std::string& container_id) {
  Request request;
  request.set_container_id(container_id);
  return request;
}

}  // namespace kata::agent
