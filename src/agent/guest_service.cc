// grpc.AgentService: the guest as a machine: details, clock, CPUs, memory, swap, volumes, metrics.
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/container_setup.h"
#include "agent/cpu_memory.h"
#include "agent/device/devices.h"
#include "agent/guest_system.h"
#include "agent/metrics.h"
#include "agent/services.h"
#include "agent/storage/registry.h"
#include "agent/swap.h"
#include "agent/volume_stats.h"
#include "base/log.h"
#include "base/version.h"
#include "jail/jail.h"
#include "protocol/constants.h"

namespace kata::agent {
namespace {

using ttrpc::CallContext;
using ttrpc::Responder;
using namespace std::chrono_literals;

Result<grpc::GuestDetailsResponse> GuestDetails(const grpc::GuestDetailsRequest& request,
                                                const Settings& settings) {
  grpc::GuestDetailsResponse response;
  if (request.mem_block_size()) response.set_mem_block_size_bytes(TRY(MemoryBlockSize()));
  if (request.mem_hotplug_probe()) response.set_support_mem_hotplug_probe(MemoryProbeSupported());
  grpc::AgentDetails& agent = *response.mutable_agent_details();
  agent.set_version(std::string(Version()));
  agent.set_init_daemon(settings.is_init);
  for (const std::string_view type : DeviceHandlerNames()) agent.add_device_handlers(std::string(type));
  for (const std::string_view driver : StorageDriverNames()) agent.add_storage_handlers(std::string(driver));
  agent.set_supports_seccomp(jail::SeccompSupported());
  return response;
}

// The clock, the CPUs and the swap space of a machine that is not a guest are not the agent's to change.
Status CheckOwnsGuest(const Settings& settings) {
  if (settings.in_guest) return {};
  return Error(Code::kFailedPrecondition, "the agent does not run in a guest of its own");
}

Status TakeNewMemory(const Settings& settings) {
  TRY_CTX(OnlineMemory(), "bring memory online");
  RefreshLimits(settings);
  return {};
}

Status Online(const grpc::OnlineCPUMemRequest& request, const Settings& settings) {
  TRY(CheckOwnsGuest(settings));
  if (request.nb_cpus() > 0) {
    TRY_CTX(OnlineCpus(request.nb_cpus(), Deadline::After(settings.hotplug_timeout)), "bring CPUs online");
  }
  if (!request.cpu_only()) return TakeNewMemory(settings);
  return {};
}

// The host learns that memory is plugged in before the guest's kernel has taken all of it into use, and no
// event tells of the rest: parts of a block of virtio-mem come without one.
constexpr std::chrono::milliseconds kLateMemoryLooks[] = {100ms, 1000ms, 5000ms};

// Loop thread. Looks for more memory after each of the times above.
void TakeLateMemory(Context context, size_t look = 0) {
  if (look == std::size(kLateMemoryLooks)) return;
  const auto timer = std::make_shared<asio::steady_timer>(context.loop.context(), kLateMemoryLooks[look]);
  timer->async_wait([timer, context, look](const asio::error_code& error) {
    if (error) return;
    context.jobs.Run([context, look]() -> Completion {
      if (const Status status = TakeNewMemory(context.settings); !status) {
        log::Warning("memory that was plugged in is not in use", {{"error", status.error().message()}});
      }
      return [context, look] { TakeLateMemory(context, look + 1); };
    });
  });
}

void RegisterSystem(ttrpc::Server& server, Context context) {
  const std::string service(protocol::kAgentService);
  server.Handle<grpc::GuestDetailsRequest, grpc::GuestDetailsResponse>(
      service, "GetGuestDetails",
      [context](const CallContext&, const grpc::GuestDetailsRequest& request,
                Responder<grpc::GuestDetailsResponse> responder) {
        responder.Respond(GuestDetails(request, context.settings));
      });
  server.Handle<grpc::SetGuestDateTimeRequest, Empty>(
      service, "SetGuestDateTime",
      [context](const CallContext&, const grpc::SetGuestDateTimeRequest& request,
                Responder<Empty> responder) {
        Status status = CheckOwnsGuest(context.settings);
        if (status) status = SetClock(request.sec(), request.usec());
        Answer(std::move(responder))(std::move(status));
      });
  server.Handle<grpc::ReseedRandomDevRequest, Empty>(
      service, "ReseedRandomDev",
      [context](const CallContext&, const grpc::ReseedRandomDevRequest& request, Responder<Empty> responder) {
        Status status = CheckOwnsGuest(context.settings);
        if (status) status = ReseedRandom(request.data());
        Answer(std::move(responder))(std::move(status));
      });
}

void RegisterHotplug(ttrpc::Server& server, Context context) {
  const RunJob run = RunAtOnce(context.jobs);
  const Settings& settings = context.settings;
  server.Handle<grpc::OnlineCPUMemRequest, Empty>(
      std::string(protocol::kAgentService), "OnlineCPUMem",
      [context](const CallContext&, const grpc::OnlineCPUMemRequest& request, Responder<Empty> responder) {
        context.jobs.Run([context, request, responder = std::move(responder)]() mutable -> Completion {
          Status status = Online(request, context.settings);
          const bool late_memory = status && !request.cpu_only();
          Answer(std::move(responder))(std::move(status));
          if (!late_memory) return {};
          return [context] { TakeLateMemory(context); };
        });
      });
  HandleAsJob<grpc::MemHotplugByProbeRequest, Empty>(
      server, run, "MemHotplugByProbe", [&settings](const grpc::MemHotplugByProbeRequest& request) -> Status {
        TRY(CheckOwnsGuest(settings));
        return ProbeMemory({request.memhotplugprobeaddr().begin(), request.memhotplugprobeaddr().end()});
      });
  HandleAsJob<grpc::AddSwapRequest, Empty>(
      server, run, "AddSwap", [&settings](const grpc::AddSwapRequest& request) -> Status {
        TRY(CheckOwnsGuest(settings));
        return AddSwapByPciPath({request.pcipath().begin(), request.pcipath().end()},
                                settings.hotplug_timeout);
      });
  HandleAsJob<grpc::AddSwapPathRequest, Empty>(
      server, run, "AddSwapPath", [&settings](const grpc::AddSwapPathRequest& request) -> Status {
        TRY(CheckOwnsGuest(settings));
        return AddSwapByNode(request.path(), settings.hotplug_timeout);
      });
}

void RegisterFigures(ttrpc::Server& server, Context context) {
  const RunJob run = RunAtOnce(context.jobs);
  HandleAsJob<grpc::VolumeStatsRequest, grpc::VolumeStatsResponse>(
      server, run, "GetVolumeStats",
      [](const grpc::VolumeStatsRequest& request) { return ReadVolumeStats(request.volume_guest_path()); });
  server.Handle<grpc::GetMetricsRequest, grpc::Metrics>(
      std::string(protocol::kAgentService), "GetMetrics",
      [run, scrapes = uint64_t{0}](const CallContext&, const grpc::GetMetricsRequest&,
                                   Responder<grpc::Metrics> responder) mutable {
        run([count = ++scrapes, responder = std::move(responder)]() mutable -> Completion {
          grpc::Metrics metrics;
          metrics.set_metrics(ReadMetrics(count));
          responder.Respond(metrics);
          return {};
        });
      });
}

// Methods that this agent answers with a refusal, and why.
void RegisterRefused(ttrpc::Server& server) {
  constexpr std::pair<const char*, const char*> kRefused[] = {
      {"ResizeVolume", "volumes are not resized in the guest"},
      // To accept a policy and not to follow it would be worse.
      {"SetPolicy", "this agent has no policy engine"},
      {"MemAgentMemcgSet", "this agent has no memory agent"},
      {"MemAgentCompactSet", "this agent has no memory agent"},
  };
  for (const auto& [method, reason] : kRefused) {
    server.HandleRaw(std::string(protocol::kAgentService), method,
                     [reason](const CallContext&, const std::string&, ttrpc::RawResponder responder) {
                       responder.Respond(Error(Code::kUnimplemented, reason));
                     });
  }
}

}  // namespace

void RegisterGuestService(ttrpc::Server& server, Context context) {
  RegisterSystem(server, context);
  RegisterHotplug(server, context);
  RegisterFigures(server, context);
  RegisterRefused(server);
}

}  // namespace kata::agent
