#include "userspace/probes/identity_process.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "userspace/probes/identity_arguments.h"
#include "userspace/probes/proc_text.h"

namespace outlier {
namespace {

constexpr size_t kMaxArguments = 4096;  // bytes: enough for any interpreter's options, bounded against hostile lengths
constexpr int64_t kSecond = 1'000'000'000;

int64_t ModifiedNs(const struct stat& status) { return status.st_mtim.tv_sec * kSecond + status.st_mtim.tv_nsec; }

std::string ReadLink(int folder, const char* name) {
  char target[4096];
  const ssize_t n = readlinkat(folder, name, target, sizeof target);
  return n > 0 ? std::string(target, static_cast<size_t>(n)) : "";
}

std::vector<std::string> Arguments(std::string_view text) {
  std::vector<std::string> arguments;
  while (!text.empty()) {
    const size_t end = text.find('\0');
    arguments.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return arguments;
}

bool IsSameProcess(const ProcStat& stat, const ProcessKey& key) {
  const uint64_t tick_ns = kSecond / static_cast<uint64_t>(std::max(1L, sysconf(_SC_CLK_TCK)));
  const uint64_t ticks = key.start_time_ns / tick_ns;
  return stat.start_ticks <= ticks + 1 && ticks <= stat.start_ticks + 1;
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

}  // namespace

void UserNames::ReadAgainIfChanged() {
  struct stat status;
  if (stat(path_.c_str(), &status) != 0 || ModifiedNs(status) == read_mtime_ns_) return;
  const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen(path_.c_str(), "re"), fclose);
  if (!file) return;
  read_mtime_ns_ = ModifiedNs(status);
  names_.clear();
  struct passwd entry, *found = nullptr;
  char line[4096];
  for (int i = 0; i < 100'000 && fgetpwent_r(file.get(), &entry, line, sizeof line, &found) == 0; ++i) {
    names_.emplace(entry.pw_uid, entry.pw_name);
  }
}

std::string UserNames::Of(uint32_t user_id) {
  ReadAgainIfChanged();
  const auto found = names_.find(user_id);
  return found != names_.end() ? found->second : fmt::format("{}", user_id);
}

std::optional<IdentityObservation> LookUpProcess(const ProcessKey& key, int proc_fd, UserNames* users) {
  // One open folder: should the pid be given away meanwhile, every read below fails instead of telling of another.
  const Descriptor folder{openat(proc_fd, fmt::format("{}", key.pid).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.fd < 0) return std::nullopt;
  char buffer[8192];
  const auto stat_text = ReadAt(folder.fd, "stat", buffer, sizeof buffer);
  const std::optional<ProcStat> process = stat_text ? ParseProcStat(*stat_text) : std::nullopt;
  if (!process || !IsSameProcess(*process, key)) return std::nullopt;
  if ((process->state == 'Z' || process->state == 'X') && process->threads <= 1) return std::nullopt;

  IdentityObservation seen;
  seen.key = key;
  seen.parent_pid = process->parent_pid;
  seen.comm = process->comm;
  if (const auto text = ReadAt(folder.fd, "status", buffer, sizeof buffer)) seen.user_id = ParseProcStatus(*text).user_id;
  seen.user = users->Of(seen.user_id);
  if (const auto text = ReadAt(folder.fd, "cgroup", buffer, sizeof buffer)) seen.cgroup_path = ChooseCgroup(*text).path;

  std::vector<std::string> arguments;
  if (const auto text = ReadAt(folder.fd, "cmdline", buffer, kMaxArguments)) arguments = Arguments(*text);
  seen.executable = ReadLink(folder.fd, "exe");
  if (seen.executable.empty() && !arguments.empty() && !arguments[0].empty() && arguments[0][0] == '/' &&
      arguments[0].find(' ') == std::string::npos) {  // with a blank in it, it is a title that the process gave itself
    seen.executable = arguments[0];
  }
  static constexpr std::string_view kDeleted = " (deleted)";
  if (seen.executable.ends_with(kDeleted)) seen.executable.resize(seen.executable.size() - kDeleted.size());
  struct stat status;
  if (fstatat(folder.fd, "exe", &status, 0) == 0) {
    seen.executable_inode = status.st_ino;
    seen.executable_size = static_cast<uint64_t>(status.st_size);
    seen.executable_mtime_ns = ModifiedNs(status);
  }
  if (IsInterpreter(seen.executable)) seen.script = ScriptOf(seen.executable, arguments, ReadLink(folder.fd, "cwd"));
  return seen;
}

}  // namespace outlier
