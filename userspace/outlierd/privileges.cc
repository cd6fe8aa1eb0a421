#include "userspace/outlierd/privileges.h"

#include <sys/capability.h>
#include <sys/prctl.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>

namespace outlier {
namespace {

// libcap of 2022 knows both names; their numbers are the kernel's (5.8).
constexpr cap_value_t kKept[] = {
    CAP_SYS_PTRACE,       // /proc/PID/exe and io of other users
    CAP_DAC_READ_SEARCH,  // paths of executables in private folders
    CAP_BPF, CAP_PERFMON, // map and iterator access before 5.19
    CAP_SYS_ADMIN,        // BPF_ENABLE_STATS: how the overhead budget is measured
};

}  // namespace

absl::Status DropPrivileges() {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return absl::InternalError(fmt::format("cannot forbid new privileges: {}", strerror(errno)));
  }
  const std::unique_ptr<_cap_struct, int (*)(void*)> now(cap_get_proc(), cap_free);
  const std::unique_ptr<_cap_struct, int (*)(void*)> wanted(cap_init(), cap_free);
  if (now == nullptr || wanted == nullptr) return absl::InternalError(fmt::format("cannot read capabilities: {}", strerror(errno)));
  for (cap_value_t capability : kKept) {
    cap_flag_value_t have = CAP_CLEAR;
    if (cap_get_flag(now.get(), capability, CAP_PERMITTED, &have) != 0 || have != CAP_SET) continue;
    cap_set_flag(wanted.get(), CAP_PERMITTED, 1, &capability, CAP_SET);
    cap_set_flag(wanted.get(), CAP_EFFECTIVE, 1, &capability, CAP_SET);
  }
  if (cap_set_proc(wanted.get()) != 0) return absl::InternalError(fmt::format("cannot drop capabilities: {}", strerror(errno)));
  return absl::OkStatus();
}

}  // namespace outlier
