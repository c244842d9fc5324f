// Finding devices that the host plugs in, by the address that it knows, in sysfs.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/deadline.h"
#include "base/result.h"

namespace kata::agent {

// Calls `look` at once and then after each device event of the kernel, until it returns true or an error;
// false when the deadline has passed. Blocks; for workers.
Result<bool> AwaitDevice(const std::function<Result<bool>()>& look, Deadline deadline);

struct BlockDevice {
  std::string node;  // "/dev/vda"
  unsigned major = 0;
  unsigned minor = 0;
};

// Waits for devices until the deadline given to each call, then says kDeadlineExceeded. Malformed addresses
// are kInvalidArgument. Immutable; any thread that may block.
class DeviceFinder {
 public:
  // "/sys" and "/dev" but for tests.
  explicit DeviceFinder(std::string sys_root = "/sys", std::string dev_root = "/dev")
      : sys_root_(std::move(sys_root)), dev_root_(std::move(dev_root)) {}

  // The virtio disk of a PCI device; `path` as in PciPath.
  Result<BlockDevice> BlockByPciPath(const std::string& path, Deadline deadline) const;
  // "<id>:<lun>" on any host adapter, all of which are told to look for it.
  Result<BlockDevice> BlockByScsiAddress(const std::string& address, Deadline deadline) const;
  // "/dev/vda", "/dev/pmem0": devices whose names the host can tell.
  Result<BlockDevice> BlockByNode(const std::string& node, Deadline deadline) const;
  // Any PCI device; returns its address in the guest, "0000:01:03.0".
  Result<std::string> PciDevice(const std::string& path, Deadline deadline) const;

 private:
  // The block device in `directory`, one that holds directories named like block devices; empty node: none.
  Result<BlockDevice> BlockIn(const std::string& directory) const;
  // By the name that the device has in sysfs; one that cannot be opened yet is not there yet.
  Result<BlockDevice> BlockNamed(const std::string& name) const;
  void ScanScsi(const std::string& id, const std::string& lun) const;

  std::string sys_root_;
  std::string dev_root_;
};

}  // namespace kata::agent
