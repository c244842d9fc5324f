// VmSpec: what a virtual machine shall be, in plain data that every hypervisor driver understands.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace kata::hypervisor {

enum class Acceleration { kAuto, kKvm, kTcg };

// A directory tree served by a vhost-user back end (virtiofsd) on a socket.
struct VirtioFsDevice {
  std::string id;      // unique in the VM
  std::string tag;     // mount tag the guest sees
  int socket_fd = -1;  // connected to the back end; borrowed until the VMM is started
  uint32_t queue_size = 1024;
  uint64_t cache_size_mib = 0;  // DAX window, 0: none
};

// A directory tree served by the VMM itself.
struct Virtio9pDevice {
  std::string id;
  std::string tag;
  std::string path;  // on the host
};

struct BlockDevice {
  std::string id;
  std::string path;
  bool read_only = false;
  bool is_device = false;  // a device node; else a regular file
};

// A serial channel that appears in the guest as /dev/virtio-ports/<name>.
struct SerialPortDevice {
  std::string id;
  std::string name;
  int socket_fd = -1;  // our connected end's peer, inherited by the VMM; borrowed until it is started
};

struct VsockDevice {
  std::string id;
  uint32_t guest_cid = 3;
  int vhost_fd = -1;  // /dev/vhost-vsock with the CID claimed; borrowed until the VMM is started
};

// A network card whose packets the VMM exchanges with a tap or macvtap device.
struct NetworkDevice {
  std::string id;
  std::string mac;  // "02:42:ac:11:00:02"
  std::vector<int>
      tap_fds;  // one for each pair of queues, with vnet headers; borrowed until the VMM has them
  std::vector<int> vhost_fds;  // /dev/vhost-net, as many, or none: the VMM moves the packets itself; borrowed
};

// A new alternative breaks every driver at compile time, not at run time.
using DeviceSpec =
    std::variant<VirtioFsDevice, Virtio9pDevice, BlockDevice, SerialPortDevice, VsockDevice, NetworkDevice>;

// What is plugged is a multiple of it: Linux's virtio-mem driver takes at least a page block, 4 MiB on older
// kernels.
inline constexpr uint64_t kMemoryUnitMib = 4;

struct VmSpec {
  std::string id;  // of the sandbox; appears in the VMM's process title
  std::string vmm_path;
  std::string machine_type = "q35";
  std::string machine_accelerators;
  std::string cpu_features;
  Acceleration acceleration = Acceleration::kAuto;
  uint32_t vcpus = 1;
  uint32_t max_vcpus = 1;  // what can be plugged into the running VM included
  uint64_t memory_mib = 256;
  uint64_t max_memory_mib = 256;  // likewise; a multiple of kMemoryUnitMib more
  bool shared_memory = false;     // guest memory must be mappable by vhost-user back ends
  bool prealloc_memory = false;
  bool hugepages = false;
  bool free_page_reporting = false;
  std::string kernel;
  std::string initrd;               // or:
  std::string image;                // disk whose first partition is the root, when there is no initrd
  std::string image_type = "ext4";  // the file system there
  std::string firmware;
  std::string seccomp_sandbox;
  std::string entropy_source = "/dev/urandom";
  // Whole guest command line but for what the driver must add for its own devices (console, hotplug).
  std::vector<std::string> kernel_parameters;
  std::vector<DeviceSpec> devices;
  uint32_t hotplug_ports = 0;  // PCIe ports kept free for devices that are attached to the running VM
};

}  // namespace kata::hypervisor
