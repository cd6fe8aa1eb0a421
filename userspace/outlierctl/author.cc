#include "userspace/outlierctl/author.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

#include "userspace/base/text.h"

namespace outlier::ctl {

std::string Author() {
  if (const char* user = std::getenv("SUDO_USER"); user != nullptr && *user != '\0') return Printable(user, 64);
  const passwd* entry = getpwuid(getuid());
  return entry != nullptr ? Printable(entry->pw_name, 64) : std::to_string(getuid());
}

}  // namespace outlier::ctl
