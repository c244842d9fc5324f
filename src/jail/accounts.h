// Users and groups by name: passwd(5) and group(5) of a container, which may have anything in them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/spec.h"

namespace kata::jail {

// A user as somebody writes it; each word is a name or a number, an empty one leaves the user as it is.
struct UserNames {
  std::string user;
  std::string group;
  std::vector<std::string> additional_groups;

  bool empty() const { return user.empty() && group.empty() && additional_groups.empty(); }
};

// `user` with what `names` say, by the texts of the two files. A user that is listed brings its group along
// where none is named. A number need not be listed. kNotFound for a name that is not.
Result<oci::User> ApplyNames(const UserNames& names, oci::User user, std::string_view passwd,
                             std::string_view group);

// The same by the files of the calling process's root. A file that is missing, no regular file, or not inside
// of the root counts as empty.
Result<oci::User> ResolveUser(const UserNames& names, const oci::User& user);

// The home directory of `uid` in the text of a passwd(5) file; empty if there is none.
std::string HomeDirectory(std::string_view passwd, uint32_t uid);

// The text of /etc/passwd of the calling process's root, under the same conditions.
std::string ReadPasswd();

}  // namespace kata::jail
