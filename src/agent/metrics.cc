#include "agent/metrics.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <iterator>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/take_field.h"
#include "linux/mountinfo.h"

namespace kata::agent {
namespace {

// Lines of text in Prometheus' exposition format. Values are text: most come from the kernel as decimal
// numbers, and arithmetic of floating-point numbers would cost a PID 1 tens of kilobytes.
class MetricsText {
 public:
  // All samples up to the next Family belong to it. `type`: gauge or counter.
  void Family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_ += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  }
  void Value(std::string_view value) { text_ += fmt::format("{} {}\n", name_, value); }
  void Item(std::string_view item, std::string_view value) {
    Labelled(fmt::format("item=\"{}\"", item), value);
  }
  // With a second label, whose value comes from the system and may hold anything.
  void Item(std::string_view label, std::string_view of, std::string_view item, std::string_view value) {
    Labelled(fmt::format("{}=\"{}\",item=\"{}\"", label, Escape(of), item), value);
  }
  void Value(uint64_t value) { Value(fmt::format("{}", value)); }
  std::string Take() { return std::move(text_); }

 private:
  void Labelled(const std::string& labels, std::string_view value) {
    text_ += fmt::format("{}{{{}}} {}\n", name_, labels, value);
  }
  static std::string Escape(std::string_view value) {
    std::string escaped;
    for (const char c : value) {
      if (c == '\\' || c == '"') escaped += '\\';
      escaped += c == '\n' ? ' ' : c;
    }
    return escaped;
  }

  std::string_view name_;
  std::string text_;
};

uint64_t Number(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// A file of /proc as lines; empty if it cannot be read.
struct ProcFile {
  ProcFile(const std::string& root, std::string_view name)
      : text(ReadFile(fmt::format("{}/{}", root, name)).value_or(std::string())),
        lines(SplitWords(text, "\n")) {}
  ProcFile(const ProcFile&) = delete;
  std::string text;
  std::vector<std::string_view> lines;
};

// "Active(anon)" -> "active_anon", "MemTotal" -> "mem_total", "HugePages_Total" -> "huge_pages_total".
std::string SnakeCase(std::string_view name) {
  std::string result;
  for (const char c : name) {
    const bool separator = std::isalnum(static_cast<unsigned char>(c)) == 0;
    const bool upper = std::isupper(static_cast<unsigned char>(c)) != 0;
    const bool after_lower = !result.empty() && std::islower(static_cast<unsigned char>(result.back())) != 0;
    if ((separator || (upper && after_lower)) && !result.empty() && result.back() != '_') result += '_';
    if (!separator) result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (result.ends_with('_')) result.pop_back();
  return result;
}

// /proc/<pid>/stat without pid and name, which may hold blanks: index 0 is the state, field 3 of proc(5).
std::vector<std::string_view> StatFields(std::string_view text) {
  const size_t end_of_name = text.rfind(')');
  if (end_of_name == std::string_view::npos) return {};
  return SplitWords(text.substr(end_of_name + 1), " \n");
}

// Clock ticks after a time in seconds, in seconds.
std::string Seconds(uint64_t ticks, uint64_t after) {
  const auto per_second = static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
  return fmt::format("{}.{:03}", after + ticks / per_second, ticks % per_second * 1000 / per_second);
}

void AddAgentProcess(const std::string& proc_root, MetricsText& out) {
  const ProcFile stat(proc_root, "self/stat");
  const std::vector<std::string_view> fields = StatFields(stat.text);
  if (fields.size() < 22) return;
  const auto field = [&](size_t number) { return fields[number - 3]; };
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const std::string cpu_seconds = Seconds(Number(field(14)) + Number(field(15)), 0);
  const std::string resident_bytes = fmt::format("{}", Number(field(24)) * page);
  uint64_t boot_time = 0;
  const ProcFile system(proc_root, "stat");
  for (const std::string_view line : system.lines) {
    if (line.starts_with("btime ")) boot_time = Number(line.substr(6));
  }

  out.Family("kata_agent_threads", "gauge", "Threads of the agent.");
  out.Value(field(20));
  out.Family("kata_agent_total_time", "gauge", "CPU time of the agent in seconds.");
  out.Value(cpu_seconds);
  out.Family("kata_agent_total_vm", "gauge", "Virtual memory of the agent in bytes.");
  out.Value(field(23));
  out.Family("kata_agent_total_rss", "gauge", "Resident memory of the agent in bytes.");
  out.Value(resident_bytes);
  out.Family("kata_agent_proc_stat", "gauge", "Times of the agent in clock ticks.");
  out.Item("utime", field(14));
  out.Item("stime", field(15));
  out.Item("cutime", field(16));
  out.Item("cstime", field(17));
  out.Family("kata_agent_process_cpu_seconds_total", "counter", "CPU time of the agent in seconds.");
  out.Value(cpu_seconds);
  out.Family("kata_agent_process_resident_memory_bytes", "gauge", "Resident memory of the agent in bytes.");
  out.Value(resident_bytes);
  out.Family("kata_agent_process_virtual_memory_bytes", "gauge", "Virtual memory of the agent in bytes.");
  out.Value(field(23));
  out.Family("kata_agent_process_start_time_seconds", "gauge",
             "Start of the agent since the epoch in seconds.");
  out.Value(Seconds(Number(field(22)), boot_time));
}

void AddAgentLimits(const std::string& proc_root, MetricsText& out) {
  const Result<std::vector<std::string>> open = ListDirectory(proc_root + "/self/fd");
  out.Family("kata_agent_process_open_fds", "gauge", "Open file descriptors of the agent.");
  out.Value(open ? open->size() : 0);
  out.Family("kata_agent_process_max_fds", "gauge", "Limit of open file descriptors of the agent.");
  out.Value(static_cast<uint64_t>(sysconf(_SC_OPEN_MAX)));
}

// "Name:  123 kB" lines whose value is a number.
void AddStatus(const std::string& proc_root, MetricsText& out) {
  out.Family("kata_agent_proc_status", "gauge", "Memory in kB and context switches of the agent.");
  const ProcFile status(proc_root, "self/status");
  for (const std::string_view line : status.lines) {
    const std::vector<std::string_view> words = SplitWords(line, ": \t");
    const bool memory = words.size() == 3 && words[2] == "kB";
    if (!memory && !(words.size() == 2 && words[0].ends_with("ctxt_switches"))) continue;
    std::string item(words[0]);
    for (char& c : item) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    out.Item(item, words[1]);
  }
  out.Family("kata_agent_io_stat", "gauge", "Input and output of the agent.");
  const ProcFile io(proc_root, "self/io");
  for (const std::string_view line : io.lines) {
    const std::vector<std::string_view> words = SplitWords(line, ": ");
    if (words.size() != 2) continue;
    std::string item(words[0]);
    std::erase(item, '_');
    out.Item(item, words[1]);
  }
}

void AddLoad(const std::string& proc_root, MetricsText& out) {
  const ProcFile load(proc_root, "loadavg");
  const std::vector<std::string_view> words = SplitWords(load.text, " \n/");
  if (words.size() < 5) return;
  out.Family("kata_guest_load", "gauge", "Load of the guest.");
  out.Item("load1", words[0]);
  out.Item("load5", words[1]);
  out.Item("load15", words[2]);
  out.Family("kata_guest_tasks", "gauge", "Tasks of the guest.");
  out.Item("cur", words[3]);
  out.Item("max", words[4]);
}

void AddCpu(const std::string& proc_root, MetricsText& out) {
  constexpr std::string_view kItems[] = {"user", "nice",    "system", "idle",  "iowait",
                                         "irq",  "softirq", "steal",  "guest", "guest_nice"};
  out.Family("kata_guest_cpu_time", "gauge", "Times of the guest's CPUs in clock ticks.");
  const ProcFile stat(proc_root, "stat");
  for (const std::string_view line : stat.lines) {
    if (!line.starts_with("cpu")) continue;
    const std::vector<std::string_view> words = SplitWords(line, " \t");
    const std::string_view cpu = words[0] == "cpu" ? "total" : words[0].substr(3);
    for (size_t i = 0; i < std::size(kItems) && i + 1 < words.size(); ++i) {
      out.Item("cpu", cpu, kItems[i], words[i + 1]);
    }
  }
}

void AddMemory(const std::string& proc_root, MetricsText& out) {
  out.Family("kata_guest_meminfo", "gauge", "Memory of the guest in bytes; huge pages in pages.");
  const ProcFile memory(proc_root, "meminfo");
  for (const std::string_view line : memory.lines) {
    const std::vector<std::string_view> words = SplitWords(line, ": ");
    if (words.size() < 2) continue;
    out.Item(SnakeCase(words[0]), fmt::format("{}", Number(words[1]) * (words.size() > 2 ? 1024 : 1)));
  }
  out.Family("kata_guest_vm_stat", "gauge", "Virtual memory statistics of the guest.");
  const ProcFile vm(proc_root, "vmstat");
  for (const std::string_view line : vm.lines) {
    const std::vector<std::string_view> words = SplitWords(line, " \t");
    if (words.size() == 2) out.Item(words[0], words[1]);
  }
}

void AddNetwork(const std::string& proc_root, MetricsText& out) {
  constexpr std::string_view kItems[] = {"recv_bytes", "recv_packets", "recv_errs",       "recv_drop",
                                         "recv_fifo",  "recv_frame",   "recv_compressed", "recv_multicast",
                                         "sent_bytes", "sent_packets", "sent_errs",       "sent_drop",
                                         "sent_fifo",  "sent_colls",   "sent_carrier",    "sent_compressed"};
  out.Family("kata_guest_netdev_stat", "gauge", "Traffic of the guest's interfaces.");
  const ProcFile network(proc_root, "net/dev");
  for (const std::string_view line : network.lines) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;  // the two lines of the head
    const std::vector<std::string_view> name = SplitWords(line.substr(0, colon), " \t");
    const std::vector<std::string_view> values = SplitWords(line.substr(colon + 1), " \t");
    if (name.size() != 1) continue;
    for (size_t i = 0; i < std::size(kItems) && i < values.size(); ++i) {
      out.Item("interface", name[0], kItems[i], values[i]);
    }
  }
}

void AddDisks(const std::string& proc_root, MetricsText& out) {
  // The kernel's Documentation/admin-guide/iostats.rst.
  constexpr std::string_view kItems[] = {"reads",
                                         "merged",
                                         "sectors_read",
                                         "time_reading",
                                         "writes",
                                         "writes_merged",
                                         "sectors_written",
                                         "time_writing",
                                         "in_progress",
                                         "time_in_progress",
                                         "weighted_time_in_progress",
                                         "discards",
                                         "discards_merged",
                                         "sectors_discarded",
                                         "time_discarding",
                                         "flushes",
                                         "time_flushing"};
  out.Family("kata_guest_diskstat", "gauge", "Input and output of the guest's disks.");
  const ProcFile disks(proc_root, "diskstats");
  for (const std::string_view line : disks.lines) {
    const std::vector<std::string_view> words = SplitWords(line, " \t");
    for (size_t i = 0; i < std::size(kItems) && i + 3 < words.size(); ++i) {
      out.Item("disk", words[2], kItems[i], words[i + 3]);
    }
  }
}

// Only file systems of the guest itself: statvfs(3) on one of the host waits for the host.
void AddFilesystems(const std::string& proc_root, MetricsText& out) {
  struct Usage {
    std::string mount_point;
    struct statvfs info;
  };
  constexpr std::string_view kLocal[] = {"ext4", "xfs", "btrfs", "erofs", "tmpfs"};
  std::vector<Usage> all;
  const Result<std::vector<linux::MountInfo>> mounts = linux::ReadMountInfo(proc_root + "/self/mountinfo");
  if (!mounts) return;
  for (const linux::MountInfo& mount : *mounts) {
    Usage usage{mount.mount_point, {}};
    if (std::find(std::begin(kLocal), std::end(kLocal), mount.fs_type) == std::end(kLocal)) continue;
    if (statvfs(usage.mount_point.c_str(), &usage.info) == 0) all.push_back(std::move(usage));
  }
  out.Family("kata_guest_filesystem_bytes", "gauge", "Space of the guest's own file systems in bytes.");
  for (const auto& [mount_point, info] : all) {
    out.Item("mount_point", mount_point, "total", fmt::format("{}", info.f_blocks * info.f_frsize));
    out.Item("mount_point", mount_point, "available", fmt::format("{}", info.f_bavail * info.f_frsize));
  }
  out.Family("kata_guest_filesystem_inodes", "gauge", "Inodes of the guest's own file systems.");
  for (const auto& [mount_point, info] : all) {
    out.Item("mount_point", mount_point, "total", fmt::format("{}", info.f_files));
    out.Item("mount_point", mount_point, "available", fmt::format("{}", info.f_favail));
  }
}

}  // namespace

std::string ReadMetrics(uint64_t scrape_count, const std::string& proc_root) {
  MetricsText out;
  out.Family("kata_agent_scrape_count", "counter", "How often the metrics were asked for.");
  out.Value(scrape_count);
  AddAgentProcess(proc_root, out);
  AddAgentLimits(proc_root, out);
  AddStatus(proc_root, out);
  AddLoad(proc_root, out);
  AddCpu(proc_root, out);
  AddMemory(proc_root, out);
  AddNetwork(proc_root, out);
  AddDisks(proc_root, out);
  AddFilesystems(proc_root, out);
  return out.Take();
}

}  // namespace kata::agent
