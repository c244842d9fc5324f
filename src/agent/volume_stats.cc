#include "agent/volume_stats.h"

#include <sys/statvfs.h>

namespace kata::agent {
namespace {

void AddUsage(grpc::VolumeStatsResponse& response, grpc::VolumeUsage::Unit unit, uint64_t total,
              uint64_t free, uint64_t available) {
  grpc::VolumeUsage& usage = *response.add_usage();
  usage.set_unit(unit);
  usage.set_total(total);
  usage.set_used(total - free);
  usage.set_available(available);
}

}  // namespace

Result<grpc::VolumeStatsResponse> ReadVolumeStats(const std::string& path) {
  if (!path.starts_with('/'))
    return MakeError(Code::kInvalidArgument, "volume '{}' is not an absolute path", path);
  struct statvfs info{};
  if (statvfs(path.c_str(), &info) != 0) return SysError("statistics of volume '{}'", path);
  grpc::VolumeStatsResponse response;
  AddUsage(response, grpc::VolumeUsage::BYTES, info.f_blocks * info.f_frsize, info.f_bfree * info.f_frsize,
           info.f_bavail * info.f_frsize);
  AddUsage(response, grpc::VolumeUsage::INODES, info.f_files, info.f_ffree, info.f_favail);
  response.mutable_volume_condition()->set_abnormal(false);
  return response;
}

}  // namespace kata::agent
