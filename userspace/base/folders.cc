#include "userspace/base/folders.h"

#include <unistd.h>

#include <cstdlib>

#include <fmt/format.h>

namespace outlier {
namespace {

std::string XdgFolder(const char* variable, const char* fallback) {
  if (const char* value = std::getenv(variable); value != nullptr && *value == '/') return value;
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "" : home) + fallback;
}

}  // namespace

Folders FoldersOfUser() {
  if (geteuid() == 0) return {"/etc/outlierd", "/var/lib/outlierd", "/run/outlierd"};
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  return {XdgFolder("XDG_CONFIG_HOME", "/.config") + "/outlierd", XdgFolder("XDG_STATE_HOME", "/.local/state") + "/outlierd",
          runtime != nullptr && *runtime == '/' ? std::string(runtime) + "/outlierd" : fmt::format("/tmp/outlierd-{}", geteuid())};
}

std::string LocalFeedAddress() {
  const std::string system = "/run/outlierd/outlierd.sock", own = FoldersOfUser().run + "/outlierd.sock";
  const auto usable = [](const std::string& path) { return access(path.c_str(), R_OK | W_OK) == 0; };
  return "unix://" + (!usable(system) && usable(own) ? own : system);
}

}  // namespace outlier
