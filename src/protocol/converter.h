// The conversions of which oci_convert.h is made: each struct in both directions, and lists of them.
#pragma once

#include <google/protobuf/map.h>
#include <google/protobuf/repeated_field.h>

#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/result.h"
#include "oci/spec.h"
#include "proto/oci.pb.h"

namespace kata::protocol {

// One overload set, and a class so that the templates see all of it. Those that return a Status can meet a
// value that does not fit into the field.
class Converter {
 public:
  // process_converter.cc
  static void Convert(const oci::User& from, grpc::User* to);
  static void Convert(const grpc::User& from, oci::User* to);
  static void Convert(const oci::Capabilities& from, grpc::LinuxCapabilities* to);
  static void Convert(const grpc::LinuxCapabilities& from, oci::Capabilities* to);
  static void Convert(const oci::Rlimit& from, grpc::POSIXRlimit* to);
  static void Convert(const grpc::POSIXRlimit& from, oci::Rlimit* to);
  static void Convert(const oci::Scheduler& from, grpc::Scheduler* to);
  static void Convert(const grpc::Scheduler& from, oci::Scheduler* to);
  static void Convert(const oci::IoPriority& from, grpc::LinuxIOPriority* to);
  static void Convert(const grpc::LinuxIOPriority& from, oci::IoPriority* to);
  static void Convert(const oci::ExecCpuAffinity& from, grpc::CPUAffinity* to);
  static void Convert(const grpc::CPUAffinity& from, oci::ExecCpuAffinity* to);
  static void Convert(const oci::Process& from, grpc::Process* to);
  static void Convert(const grpc::Process& from, oci::Process* to);

  // resources_converter.cc
  static void Convert(const oci::DeviceRule& from, grpc::LinuxDeviceCgroup* to);
  static void Convert(const grpc::LinuxDeviceCgroup& from, oci::DeviceRule* to);
  static void Convert(const oci::MemoryResources& from, grpc::LinuxMemory* to);
  static void Convert(const grpc::LinuxMemory& from, oci::MemoryResources* to);
  static void Convert(const oci::CpuResources& from, grpc::LinuxCPU* to);
  static void Convert(const grpc::LinuxCPU& from, oci::CpuResources* to);
  static void Convert(const oci::WeightDevice& from, grpc::LinuxWeightDevice* to);
  static Status Convert(const grpc::LinuxWeightDevice& from, oci::WeightDevice* to);
  static void Convert(const oci::ThrottleDevice& from, grpc::LinuxThrottleDevice* to);
  static void Convert(const grpc::LinuxThrottleDevice& from, oci::ThrottleDevice* to);
  static void Convert(const oci::BlockIoResources& from, grpc::LinuxBlockIO* to);
  static Status Convert(const grpc::LinuxBlockIO& from, oci::BlockIoResources* to);
  static void Convert(const oci::HugepageLimit& from, grpc::LinuxHugepageLimit* to);
  static void Convert(const grpc::LinuxHugepageLimit& from, oci::HugepageLimit* to);
  static void Convert(const oci::InterfacePriority& from, grpc::LinuxInterfacePriority* to);
  static void Convert(const grpc::LinuxInterfacePriority& from, oci::InterfacePriority* to);
  static void Convert(const oci::NetworkResources& from, grpc::LinuxNetwork* to);
  static void Convert(const grpc::LinuxNetwork& from, oci::NetworkResources* to);
  static void Convert(const oci::RdmaLimit& from, grpc::LinuxRdma* to);
  static void Convert(const grpc::LinuxRdma& from, oci::RdmaLimit* to);
  static void Convert(const oci::Resources& from, grpc::LinuxResources* to);
  static Status Convert(const grpc::LinuxResources& from, oci::Resources* to);

  // linux_converter.cc
  static void Convert(const oci::Namespace& from, grpc::LinuxNamespace* to);
  static void Convert(const grpc::LinuxNamespace& from, oci::Namespace* to);
  static void Convert(const oci::Device& from, grpc::LinuxDevice* to);
  static void Convert(const grpc::LinuxDevice& from, oci::Device* to);
  static void Convert(const oci::SeccompArg& from, grpc::LinuxSeccompArg* to);
  static Status Convert(const grpc::LinuxSeccompArg& from, oci::SeccompArg* to);
  static void Convert(const oci::SeccompSyscall& from, grpc::LinuxSyscall* to);
  static Status Convert(const grpc::LinuxSyscall& from, oci::SeccompSyscall* to);
  static void Convert(const oci::Seccomp& from, grpc::LinuxSeccomp* to);
  static Status Convert(const grpc::LinuxSeccomp& from, oci::Seccomp* to);
  static void Convert(const oci::IntelRdt& from, grpc::LinuxIntelRdt* to);
  static void Convert(const grpc::LinuxIntelRdt& from, oci::IntelRdt* to);
  static void Convert(const oci::Personality& from, grpc::LinuxPersonality* to);
  static void Convert(const grpc::LinuxPersonality& from, oci::Personality* to);
  static void Convert(const oci::TimeOffset& from, grpc::LinuxTimeOffset* to);
  static void Convert(const grpc::LinuxTimeOffset& from, oci::TimeOffset* to);
  static void Convert(const oci::IdMapping& from, grpc::LinuxIDMapping* to);
  static void Convert(const grpc::LinuxIDMapping& from, oci::IdMapping* to);
  static void Convert(const oci::Linux& from, grpc::Linux* to);
  static Status Convert(const grpc::Linux& from, oci::Linux* to);

  // oci_convert.cc
  static void Convert(const oci::Mount& from, grpc::Mount* to);
  static void Convert(const grpc::Mount& from, oci::Mount* to);
  static void Convert(const oci::Hook& from, grpc::Hook* to);
  static void Convert(const grpc::Hook& from, oci::Hook* to);
  static void Convert(const oci::Hooks& from, grpc::Hooks* to);
  static void Convert(const grpc::Hooks& from, oci::Hooks* to);

  template <typename T>
  using RepeatedMessages = google::protobuf::RepeatedPtrField<T>;
  using RepeatedStrings = google::protobuf::RepeatedPtrField<std::string>;
  using ProtoStringMap = google::protobuf::Map<std::string, std::string>;

  static void Convert(const std::vector<std::string>& from, RepeatedStrings* to) {
    to->Assign(from.begin(), from.end());
  }
  static void Convert(const RepeatedStrings& from, std::vector<std::string>* to) {
    to->assign(from.begin(), from.end());
  }

  static void Convert(const oci::StringMap& from, ProtoStringMap* to) {
    for (const auto& [name, value] : from) (*to)[name] = value;
  }
  static void Convert(const ProtoStringMap& from, oci::StringMap* to) {
    for (const auto& [name, value] : from) (*to)[name] = value;
  }

  template <typename From, typename To>
  static void ConvertList(const std::vector<From>& from, RepeatedMessages<To>* to) {
    for (const From& value : from) Convert(value, to->Add());
  }
  // void or Status, as the conversion of one element.
  template <typename From, typename To>
  static auto ConvertList(const RepeatedMessages<From>& from, std::vector<To>* to) {
    using Outcome = decltype(Convert(std::declval<const From&>(), std::declval<To*>()));
    to->reserve(static_cast<size_t>(from.size()));
    if constexpr (std::is_void_v<Outcome>) {
      for (const From& value : from) Convert(value, &to->emplace_back());
    } else {
      for (int i = 0; i < from.size(); ++i) {
        if (Outcome outcome = Convert(from[i], &to->emplace_back()); !outcome) {
          return Outcome(std::move(outcome).error().Wrap(fmt::format("[{}]", i)));
        }
      }
      return Outcome();
    }
  }

 private:
  // `value` as a T; kInvalidArgument naming the member when it does not fit.
  template <typename T, typename Wide>
  static Result<T> Narrow(Wide value, std::string_view member) {
    if (std::in_range<T>(value)) return static_cast<T>(value);
    return MakeError(Code::kInvalidArgument, "{}: expected an integer up to {}, found {}", member,
                     std::numeric_limits<T>::max(), value);
  }
};

}  // namespace kata::protocol
