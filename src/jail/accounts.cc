#include "jail/accounts.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <limits>
#include <optional>

#include "base/file.h"
#include "base/parse_number.h"
#include "base/take_field.h"
#include "linux/rooted_path.h"

namespace kata::jail {
namespace {

constexpr size_t kMaxFileBytes = 1u << 20;

// The highest number means "none" to the kernel.
std::optional<uint32_t> ParseId(std::string_view text) {
  const std::optional<uint32_t> id = ParseNumber<uint32_t>(text);
  return id == std::numeric_limits<uint32_t>::max() ? std::nullopt : id;
}

// name:password:uid:gid:real name:home:shell
struct Account {
  std::string_view name;
  uint32_t uid = 0;
  std::optional<uint32_t> gid;
  std::string_view home;
};

// The first for which `matches` says so.
template <typename Predicate>
std::optional<Account> FindAccount(std::string_view passwd, Predicate matches) {
  while (!passwd.empty()) {
    std::string_view line = TakeField(passwd, '\n');
    Account account;
    account.name = TakeField(line, ':');
    TakeField(line, ':');
    const std::optional<uint32_t> uid = ParseId(TakeField(line, ':'));
    account.gid = ParseId(TakeField(line, ':'));
    TakeField(line, ':');
    account.home = TakeField(line, ':');
    if (!uid) continue;
    account.uid = *uid;
    if (matches(account)) return account;
  }
  return std::nullopt;
}

// name:password:gid:members
Result<uint32_t> FindGroup(std::string_view group, const std::string& name) {
  while (!group.empty()) {
    std::string_view line = TakeField(group, '\n');
    const std::string_view entry = TakeField(line, ':');
    TakeField(line, ':');
    const std::optional<uint32_t> gid = ParseId(TakeField(line, ':'));
    if (entry == name && gid) return *gid;
  }
  if (const std::optional<uint32_t> gid = ParseId(name)) return *gid;
  return MakeError(Code::kNotFound, "group '{}' is not in /etc/group of the container", name);
}

// A device or pipe under that name must not be waited for.
std::string ReadRootedFile(const char* path) {
  const Result<UniqueFd> root = Open("/", O_PATH | O_DIRECTORY);
  if (!root) return {};
  const Result<UniqueFd> file = linux::OpenInRoot(root->get(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat info{};
  if (!file || fstat(file->get(), &info) < 0 || !S_ISREG(info.st_mode)) return {};
  return ReadFd(file->get(), kMaxFileBytes).value_or("");
}

}  // namespace

Result<oci::User> ApplyNames(const UserNames& names, oci::User user, std::string_view passwd,
                             std::string_view group) {
  if (!names.user.empty()) {
    const std::optional<uint32_t> number = ParseId(names.user);
    std::optional<Account> account =
        FindAccount(passwd, [&](const Account& entry) { return entry.name == names.user; });
    if (!account && number) {
      account = FindAccount(passwd, [&](const Account& entry) { return entry.uid == *number; });
    }
    if (!account && !number) {
      return MakeError(Code::kNotFound, "user '{}' is not in /etc/passwd of the container", names.user);
    }
    user.uid = account ? account->uid : *number;
    if (account && account->gid) user.gid = *account->gid;
  }
  if (!names.group.empty()) user.gid = TRY(FindGroup(group, names.group));
  for (const std::string& name : names.additional_groups) {
    user.additional_gids.push_back(TRY(FindGroup(group, name)));
  }
  return user;
}

Result<oci::User> ResolveUser(const UserNames& names, const oci::User& user) {
  if (names.empty()) return user;
  return ApplyNames(names, user, ReadPasswd(), ReadRootedFile("/etc/group"));
}

std::string HomeDirectory(std::string_view passwd, uint32_t uid) {
  const std::optional<Account> account =
      FindAccount(passwd, [&](const Account& entry) { return entry.uid == uid && !entry.home.empty(); });
  return account ? std::string(account->home) : std::string();
}

std::string ReadPasswd() {
  return ReadRootedFile("/etc/passwd");
}

}  // namespace kata::jail
