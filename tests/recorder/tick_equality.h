// Are two ticks the same in every field? Each type is taken apart by structured bindings, which stop compiling when a
// field is added: a new field must be recorded, and compared here.
#pragma once
#include <tuple>

#include "userspace/stream/tick_input.h"

namespace outlier {

inline auto Fields(const ProcessSample& s) {
  const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, t, u] = s;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, t, u);
}
inline auto Fields(const AccountSample& s) {
  const auto& [a, b, c, d, e, f, g, h, i, j, k, l] = s;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k, l);
}
inline auto Fields(const AccountSyscalls& s) {
  const auto& [a, changed, b, c, d] = s;  // `changed` is what the recording shows to have changed
  (void)changed;
  return std::tie(a, b, c, d);
}
inline auto Fields(const LifecycleEvent& s) {
  const auto& [a, b, c, d, e, f, g, h, i, j, k, l] = s;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k, l);
}
inline auto Fields(const IdentityObservation& s) {
  const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = s;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
}
inline auto Fields(const HostSample& s) {
  const auto& [a, b, c, d, e, f, g, h] = s;
  return std::tie(a, b, c, d, e, f, g, h);
}
inline auto Fields(const LossSample& s) {
  const auto& [a, b] = s;
  return std::tie(a, b);
}
inline auto Fields(const Command& s) {
  const auto& [a, b, c, d, e] = s;
  return std::tie(a, b, c, d, e);
}

template <class T>
bool SameRows(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (Fields(a[i]) != Fields(b[i])) return false;
  }
  return true;
}

// "" or the name of the first field that differs.
inline const char* FirstDifference(const TickInput& x, const TickInput& y) {
  const auto& [tick, boot_time, interval, wall, epoch, boot_id, missing, processes, accounts, syscalls, events, identities, host, losses,
               commands] = x;
  if (std::tie(tick, boot_time, interval, wall, epoch) != std::tie(y.tick, y.boot_time_ns, y.interval_ns, y.wall_time_ns, y.epoch)) {
    return "times";
  }
  if (boot_id != y.boot_id) return "boot_id";
  if (missing != y.probes_missing) return "probes_missing";
  if (!SameRows(processes, y.processes)) return "processes";
  if (!SameRows(accounts, y.accounts)) return "accounts";
  if (!SameRows(syscalls, y.syscalls)) return "syscalls";
  if (!SameRows(events, y.events)) return "events";
  if (!SameRows(identities, y.identities)) return "identities";
  if (Fields(host) != Fields(y.host)) return "host";
  if (!SameRows(losses, y.losses)) return "losses";
  if (!SameRows(commands, y.commands)) return "commands";
  return "";
}

}  // namespace outlier
