#include "cli/container_json.h"

namespace kata::cli {

Result<ContainerView> ViewContainer(Container& container) {
  ContainerView view{TRY(container.CurrentStatus()), 0, container.state()};
  view.state.id = container.id();
  if (view.status != "stopped") view.pid = view.state.shim.pid;
  return view;
}

nlohmann::ordered_json ToJson(const ContainerView& view) {
  nlohmann::ordered_json json = {
      {"ociVersion", view.state.oci_version},
      {"id", view.state.id},
      {"pid", view.pid},
      {"status", view.status},
      {"bundle", view.state.bundle},
      {"rootfs", view.state.rootfs},
      {"created", view.state.created},
  };
  if (!view.state.annotations.empty()) json["annotations"] = view.state.annotations;
  json["owner"] = view.state.owner;
  // Beyond runc's members, as the specification allows.
  const std::string reason = view.status == "stopped" ? StopReason(view.state) : "";
  if (!reason.empty()) json["error"] = reason;
  return json;
}

std::string DumpJson(const nlohmann::ordered_json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace kata::cli
