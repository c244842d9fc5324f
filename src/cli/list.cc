// kata-runtime list
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/container.h"
#include "cli/stdout.h"

namespace kata::cli {
namespace {

struct Row {
  std::string status;
  pid_t pid;
  sandbox::ContainerState state;
};

std::vector<Row> ReadRows(const GlobalOptions& globals, const std::vector<std::string>& ids) {
  std::vector<Row> rows;
  for (const std::string& id : ids) {
    Result<Container> container = Container::Open(globals, id);
    Result<std::string> status =
        container ? container->CurrentStatus() : Result<std::string>(container.error());
    if (!status) {
      // Deleted meanwhile, or its server does not answer: the others are shown all the same.
      log::Warning("cannot read the state of a container",
                   {{"container", id}, {"error", status.error().message()}});
      continue;
    }
    Row row{std::move(*status), 0, container->state()};
    row.state.id = id;
    if (row.status != "stopped") row.pid = row.state.shim.pid;
    rows.push_back(std::move(row));
  }
  return rows;
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

std::string FormatTable(const std::vector<Row>& rows) {
  std::vector<std::vector<std::string>> lines = {{"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"}};
  for (const Row& row : rows) {
    lines.push_back({row.state.id, fmt::format("{}", row.pid), row.status, row.state.bundle,
                     row.state.created, row.state.owner});
  }
  return FormatTable(lines);
}

std::string FormatJson(const std::vector<Row>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Row& row : rows) {
    nlohmann::ordered_json entry = {
        {"ociVersion", row.state.oci_version},
        {"id", row.state.id},
        {"pid", row.pid},
        {"status", row.status},
        {"bundle", row.state.bundle},
        {"rootfs", row.state.rootfs},
        {"created", row.state.created},
        {"owner", row.state.owner},
    };
    if (!row.state.annotations.empty()) entry["annotations"] = row.state.annotations;
    list.push_back(std::move(entry));
  }
  // A path may hold bytes that are not UTF-8.
  return list.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
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
  const std::vector<Row> rows = ReadRows(globals, ids);
  TRY(WriteStdout(options.format == "json" ? FormatJson(rows) : FormatTable(rows)));
  return 0;
}

}  // namespace kata::cli
