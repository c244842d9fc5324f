// The command lines of both kinds of virtiofsd.
#include <fmt/format.h>

#include <map>
#include <optional>

#include "base/take_field.h"
#include "storage/virtiofsd.h"

namespace kata::storage {
namespace {

Error InvalidOption(std::string_view option, std::string_view reason) {
  return MakeError(Code::kInvalidArgument, "'{}': {}", option, reason);
}

Status ValidateCache(const std::string& cache) {
  for (const char* known : {"never", "metadata", "auto", "always"}) {
    if (cache == known) return {};
  }
  return InvalidOption(cache, "must be never, metadata, auto or always").Wrap("virtio_fs_cache");
}

// QEMU's daemon cannot cache metadata alone; auto caches no more data than an open file needs.
std::string QemuCache(const std::string& cache) {
  if (cache == "never") return "none";
  return cache == "metadata" ? "auto" : cache;
}

// One "--name[=value]" of the Rust daemon; its values may also stand in an argument of their own.
struct RustOption {
  std::string name;
  std::optional<std::string> value;
};

// What becomes of a Rust option in QEMU's daemon.
enum class Translation {
  kSame,     // "--thread-pool-size=1"
  kDashO,    // "-o announce_submounts", "-o modcaps=..."
  kDropped,  // about something that QEMU's daemon does not have, or always does
};

const std::map<std::string, Translation, std::less<>>& Translations() {
  static const std::map<std::string, Translation, std::less<>> kTable = {
      {"thread-pool-size", Translation::kSame},
      {"rlimit-nofile", Translation::kSame},
      {"syslog", Translation::kSame},
      {"announce-submounts", Translation::kDashO},
      {"xattr", Translation::kDashO},
      {"xattrmap", Translation::kDashO},
      {"posix-acl", Translation::kDashO},
      {"security-label", Translation::kDashO},
      {"sandbox", Translation::kDashO},
      {"modcaps", Translation::kDashO},
      {"writeback", Translation::kDashO},
      {"allow-direct-io", Translation::kDashO},
      {"no-readdirplus", Translation::kDashO},
      {"killpriv-v2", Translation::kDashO},
      {"no-killpriv-v2", Translation::kDashO},
      {"log-level", Translation::kDashO},
      {"inode-file-handles", Translation::kDropped},
      {"seccomp", Translation::kDropped},
      {"preserve-noatime", Translation::kDropped},
  };
  return kTable;
}

bool TakesValue(std::string_view name) {
  for (const char* with_value :
       {"thread-pool-size", "rlimit-nofile", "xattrmap", "sandbox", "modcaps", "log-level",
        "inode-file-handles", "seccomp", "uid-map", "gid-map", "translate-uid", "translate-gid"}) {
    if (name == with_value) return true;
  }
  return false;
}

// Options that decide what is served to whom are not for the configuration to change.
Status RefuseReserved(std::string_view name) {
  for (const char* reserved :
       {"fd", "socket-path", "shared-dir", "cache", "vhost-user-socket", "print-capabilities", "daemonize"}) {
    if (name == reserved) return InvalidOption(fmt::format("--{}", name), "is set by the runtime");
  }
  return {};
}

// `list`: what follows "-o", options between commas.
Status AppendDashO(std::string_view list, std::vector<std::string>& out) {
  // By which QEMU's reader makes any character of another.
  if (list.contains('\\')) return InvalidOption(list, "has a backslash");
  while (!list.empty()) {
    const std::string_view option = TakeField(list, ',');
    for (const char* reserved : {"source=", "vhost_user_socket=", "cache="}) {
      if (option.starts_with(reserved)) return InvalidOption(option, "is set by the runtime");
    }
    out.emplace_back("-o");
    out.emplace_back(option);
  }
  return {};
}

// The value that follows option `name` at args[i]; moves `i` to it.
Result<std::string> NextArgument(const std::vector<std::string>& args, size_t& i) {
  if (i + 1 == args.size()) return InvalidOption(args[i], "needs a value");
  return args[++i];
}

std::string WithUnderscores(std::string name) {
  for (char& c : name) {
    if (c == '-') c = '_';
  }
  return name;
}

Status TranslateForQemu(const RustOption& option, std::vector<std::string>& out) {
  const auto translation = Translations().find(option.name);
  if (translation == Translations().end()) {
    return InvalidOption("--" + option.name, "qemu's virtiofsd has no such option");
  }
  const std::string value = option.value ? "=" + *option.value : "";
  switch (translation->second) {
    case Translation::kSame:
      out.push_back("--" + option.name + value);
      break;
    case Translation::kDashO:
      return AppendDashO(WithUnderscores(option.name) + value, out);
    case Translation::kDropped:
      break;
  }
  return {};
}

Status AppendExtraArguments(VirtiofsdKind kind, const std::vector<std::string>& args,
                            std::vector<std::string>& out) {
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "-o") {
      TRY(AppendDashO(TRY(NextArgument(args, i)), out));
      continue;
    }
    if (args[i] == "-d") {
      out.push_back(args[i]);
      continue;
    }
    if (!args[i].starts_with("--")) return InvalidOption(args[i], "is not an option");
    const size_t equals = args[i].find('=');
    RustOption option{args[i].substr(2, equals == std::string::npos ? equals : equals - 2), std::nullopt};
    TRY(RefuseReserved(option.name));
    if (kind == VirtiofsdKind::kRust) {
      out.push_back(args[i]);
      if (equals == std::string::npos && TakesValue(option.name)) out.push_back(TRY(NextArgument(args, i)));
      continue;
    }
    if (equals != std::string::npos) {
      option.value = args[i].substr(equals + 1);
    } else if (TakesValue(option.name)) {
      option.value = TRY(NextArgument(args, i));
    }
    TRY(TranslateForQemu(option, out));
  }
  return {};
}

bool Has(const std::vector<std::string>& args, std::string_view name) {
  const std::string with_value = fmt::format("{}=", name);
  for (const std::string& arg : args) {
    if (arg == name || arg.starts_with(with_value)) return true;
  }
  return false;
}

// A backslash takes the next character as it is (fuse_opt_parse).
std::string QemuOptionValue(std::string_view text) {
  std::string value;
  for (const char c : text) {
    if (c == ',' || c == '\\') value += '\\';
    value += c;
  }
  return value;
}

}  // namespace

Status CheckExtraArguments(VirtiofsdKind kind, const std::vector<std::string>& args) {
  std::vector<std::string> translated;
  return AppendExtraArguments(kind, args, translated);
}

Result<VirtiofsdKind> ParseVirtiofsdVersion(std::string_view output) {
  // "virtiofsd version 7.2.22 (Debian ...)\nCopyright (c) ... Fabrice Bellard and the QEMU Project
  // developers" against "virtiofsd 1.13.0" (before 1.0: "virtiofsd backend 0.7.2").
  if (output.find("QEMU") != std::string_view::npos) return VirtiofsdKind::kQemu;
  if (output.starts_with("virtiofsd ")) return VirtiofsdKind::kRust;
  return MakeError(Code::kUnimplemented, "unknown kind of virtiofsd: version '{}'",
                   output.substr(0, output.find('\n')));
}

Result<std::vector<std::string>> VirtiofsdArguments(VirtiofsdKind kind, const VirtiofsdOptions& options,
                                                    int listen_fd) {
  TRY(ValidateCache(options.cache));
  std::vector<std::string> extra;
  TRY_CTX(AppendExtraArguments(kind, options.extra_args, extra), "virtio_fs_extra_args");
  std::vector<std::string> args = {fmt::format("--fd={}", listen_fd)};
  const auto add_option = [&](std::string option) {
    args.emplace_back("-o");
    args.push_back(std::move(option));
  };
  // What is mounted below the shared directory has inode numbers of its own, which collide with each other in
  // the guest unless each mount is a file system there too. File capabilities are extended attributes
  // (security.capability).
  if (kind == VirtiofsdKind::kQemu) {
    args.emplace_back("-f");
    add_option("source=" + QemuOptionValue(options.shared_directory));
    add_option("cache=" + QemuCache(options.cache));
    if (!Has(extra, "announce_submounts")) add_option("announce_submounts");
    if (!Has(extra, "xattr")) add_option("xattr");
    if (!Has(extra, "sandbox")) add_option("sandbox=namespace");
    if (!Has(extra, "log_level")) add_option(options.debug ? "log_level=debug" : "log_level=warn");
  } else {
    args.push_back("--shared-dir=" + options.shared_directory);
    args.push_back("--cache=" + options.cache);
    if (!Has(extra, "--announce-submounts")) args.emplace_back("--announce-submounts");
    if (!Has(extra, "--xattr")) args.emplace_back("--xattr");
    if (!Has(extra, "--sandbox")) args.emplace_back("--sandbox=namespace");
    if (!Has(extra, "--log-level"))
      args.emplace_back(options.debug ? "--log-level=debug" : "--log-level=warn");
  }
  args.insert(args.end(), extra.begin(), extra.end());
  return args;
}

}  // namespace kata::storage
