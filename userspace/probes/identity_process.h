// One process looked up in /proc: who it is, from what is there at this moment.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "userspace/stream/tick_input.h"

namespace outlier {

// Names of users from a passwd file. Not getpwuid(3): that loads name-service modules and may ask the network, which a
// privileged program must not. A user the file does not know is shown as a number.
class UserNames {
 public:
  explicit UserNames(std::string passwd_path = "/etc/passwd") : path_(std::move(passwd_path)) {}
  std::string Of(uint32_t user_id);

 private:
  void ReadAgainIfChanged();
  std::string path_;
  int64_t read_mtime_ns_ = -1;
  std::map<uint32_t, std::string> names_;
};

// Reads /proc/PID of `key.pid` and answers only if that is still the process that started at `key.start_time_ns`
// (compared in clock ticks, +-1) and has not ended. Of an executable that may not be read (another user's) the absolute
// argv[0] is believed instead. Never holds any argument. `exec` is left false.
std::optional<IdentityObservation> LookUpProcess(const ProcessKey& key, int proc_fd, UserNames* users);

}  // namespace outlier
