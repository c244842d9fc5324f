// Names and numbers that host and guest must agree on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kata::protocol {

// --- services (ttrpc) ---

inline constexpr std::string_view kAgentService = "grpc.AgentService";
inline constexpr std::string_view kHealthService = "grpc.Health";
inline constexpr std::string_view kNameService = "kata.agent.v1.NameService";
inline constexpr std::string_view kNetworkService = "kata.agent.v1.NetworkService";
inline constexpr std::string_view kNotifyService = "kata.agent.v1.NotifyService";
inline constexpr std::string_view kTaskService = "containerd.task.v2.Task";
inline constexpr std::string_view kMonitorService = "kata.sandbox.v1.Monitor";

// type_url of google.protobuf.Any values that hold JSON of the OCI specification (Exec.spec,
// Update.resources).
inline constexpr std::string_view kProcessTypeUrl =
    "types.containerd.io/opencontainers/runtime-spec/1/Process";
inline constexpr std::string_view kResourcesTypeUrl =
    "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

// --- channels ---

// vsock ports on which the guest listens when an agent option asks for it.
inline constexpr uint32_t kLogPort = 1025;           // JSON lines
inline constexpr uint32_t kDebugConsolePort = 1026;  // a shell on a pty for each connection

// virtio-serial port of the agent's channel where the host has no vsock.
inline constexpr std::string_view kAgentSerialPort = "agent.channel.0";

// Bytes of data that one ReadStdout, ReadStderr or WriteStdin call carries.
inline constexpr uint32_t kStreamChunkBytes = 32u << 10;

// --- options of the agent that the host writes on the kernel command line ---

inline constexpr std::string_view kOptionServerAddress = "agent.server_addr";
inline constexpr std::string_view kOptionLog = "agent.log";
inline constexpr std::string_view kOptionDebugConsole = "agent.debug_console";
inline constexpr std::string_view kOptionDebugConsolePort = "agent.debug_console_vport";

// --- directories in the guest ---

// CreateSandbox makes it anew, so nothing may be placed there earlier. A host may also mount a container's
// layers on directories with its id here.
inline constexpr std::string_view kGuestRunDirectory = "/run/kata-containers";
// Where the shared file system is mounted; a container's root is <cid>/rootfs in it.
inline constexpr std::string_view kGuestSharedDirectory = "/run/kata-containers/shared/containers";
// What belongs to the sandbox as a whole, and its parts.
inline constexpr std::string_view kGuestSandboxDirectory = "/run/kata-containers/sandbox";
// Below it a directory for each container, where no id is the name of anything else.
inline constexpr std::string_view kGuestBundlesDirectory = "/run/kata-containers/sandbox/bundles";
inline constexpr std::string_view kGuestShmDirectory = "/run/kata-containers/sandbox/shm";
inline constexpr std::string_view kGuestResolvConf = "/run/kata-containers/sandbox/resolv.conf";
// Below it a directory for each container that tells when it is ready, with a socket of this name.
inline constexpr std::string_view kGuestNotifyDirectory = "/run/kata-containers/sandbox/notify";
inline constexpr std::string_view kNotifySocketName = "notify.sock";

// --- storages ---

// Tag of the file system that the host shares with the guest, and the Storage.source that names it.
inline constexpr std::string_view kSharedTag = "kataShared";

// Storage.driver.
inline constexpr std::string_view kStorageVirtioFs = "virtio-fs";
inline constexpr std::string_view kStorage9p = "9p";
inline constexpr std::string_view kStorageBlock = "blk";
inline constexpr std::string_view kStorageMmioBlock = "mmioblk";
inline constexpr std::string_view kStorageScsi = "scsi";
inline constexpr std::string_view kStorageNvdimm = "nvdimm";
inline constexpr std::string_view kStorageOverlay = "overlayfs";
inline constexpr std::string_view kStorageEphemeral = "ephemeral";
inline constexpr std::string_view kStorageLocal = "local";
inline constexpr std::string_view kStorageBind = "bind";
inline constexpr std::string_view kStorageWatchableBind = "watchable-bind";

// Storage.fstype of the shared file systems, as mount(2) wants it.
inline constexpr std::string_view kFsTypeVirtioFs = "virtiofs";
inline constexpr std::string_view kFsType9p = "9p";

// --- devices ---

// Device.type.
inline constexpr std::string_view kDeviceBlock = "blk";
inline constexpr std::string_view kDeviceMmioBlock = "mmioblk";
inline constexpr std::string_view kDeviceScsi = "scsi";
inline constexpr std::string_view kDeviceNvdimm = "nvdimm";
inline constexpr std::string_view kDeviceVfioPciGuestKernel = "vfio-pci-gk";  // driven by the guest's kernel

// --- others ---

// GetDiagnosticDataRequest.log_type.
inline constexpr std::string_view kTerminationLog = "termination_log";

}  // namespace kata::protocol
