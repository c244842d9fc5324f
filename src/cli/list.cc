// kata-runtime list
#include <algorithm>
#include <string>
#include <vector>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/container_json.h"
#include "cli/stdout.h"

namespace kata::cli {
namespace {

std::vector<ContainerView> ReadViews(const GlobalOptions& globals, const std::vector<std::string>& ids) {
  std::vector<ContainerView> views;
  for (const std::string& id : ids) {
    Result<Container> container = Container::Open(globals, id);
    Result<ContainerView> view =
        container ? ViewContainer(*container) : Result<ContainerView>(container.error());
    if (view) {
      views.push_back(std::move(*view));
    } else {
      // Deleted meanwhile, or its server does not answer: the others are shown all the same.
      log::Warning("cannot read the state of a container",
                   {{"container", id}, {"error", view.error().message()}});
    }
  }
  return views;
}

// Columns as wide as their longest cell, at least 12, three spaces apart: what runc's users parse.
std::string FormatTable(const std::vector<std::vector<std::string>>& lines) {
  constexpr size_t kMinWidth = 12;
  constexpr size_t kGap = 3;
  std::vector<size_t> widths(lines[0].size(), kMinWidth);
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size() + kGap);
  }
  std::string text;
  for (const auto& line : lines) {
    for (size_t i = 0; i + 1 < line.size(); ++i) text += fmt::format("{:<{}}", line[i], widths[i]);
    text += line.back() + "\n";
  }
  return text;
}

std::string FormatTable(const std::vector<ContainerView>& views) {
  std::vector<std::vector<std::string>> lines = {{"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"}};
  for (const ContainerView& view : views) {
    lines.push_back({view.state.id, fmt::format("{}", view.pid), view.status, view.state.bundle,
                     view.state.created, view.state.owner});
  }
  return FormatTable(lines);
}

// No containers are null, as runc prints them.
std::string FormatJson(const std::vector<ContainerView>& views) {
  nlohmann::ordered_json list;
  for (const ContainerView& view : views) list.push_back(ToJson(view));
  return DumpJson(list, -1) + "\n";
}

}  // namespace

Result<int> Execute(const GlobalOptions& globals, const ListOptions& options) {
  if (options.format != "table" && options.format != "json") {
    return MakeError(Code::kInvalidArgument, "list: --format: '{}' is not one of table, json",
                     options.format);
  }
  const std::vector<std::string> ids = TRY(sandbox::StateDirectory::List(globals.root));
  if (options.quiet) {
    std::string text;
    for (const std::string& id : ids) text += id + "\n";
    TRY(WriteStdout(text));
    return 0;
  }
  const std::vector<ContainerView> views = ReadViews(globals, ids);
  TRY(WriteStdout(options.format == "json" ? FormatJson(views) : FormatTable(views)));
  return 0;
}

}  // namespace kata::cli
