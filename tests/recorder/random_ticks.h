// Ticks as a host would bring them, only wilder: processes come and go, counters grow, jump and start anew.
#pragma once
#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "userspace/stream/tick_input.h"

namespace outlier {

class RandomTicks {
 public:
  explicit RandomTicks(uint64_t seed) : random_(seed) {}

  TickInput Next() {
    TickInput in;
    in.tick = ++tick_;
    in.boot_time_ns = tick_ * 1'000'000'000 + Below(1000);
    in.interval_ns = Wild();
    in.wall_time_ns = static_cast<int64_t>(1'700'000'000'000'000'000 + tick_ * 1'000'000'000);
    if (Once(10)) in.wall_time_ns = -in.wall_time_ns;
    if (Once(8)) ++epoch_;
    in.epoch = epoch_;
    if (Once(12)) boot_id_ = Text();
    in.boot_id = boot_id_;
    if (Once(4)) in.probes_missing = {Text(), "", Text()};
    ChangeProcesses();
    in.processes = processes_;
    ChangeAccounts();
    in.accounts = accounts_;
    for (const AccountSample& a : accounts_) {
      if (Once(2)) in.syscalls.push_back(Syscalls(a.account));
    }
    // Out of order, repeated, without an account: nothing that is observed may be changed by recording it.
    if (Once(6)) in.syscalls.push_back(Syscalls(Below(10)));
    if (Once(15)) std::reverse(in.processes.begin(), in.processes.end());
    if (Once(15) && !in.accounts.empty()) in.accounts.push_back(in.accounts.front());
    for (uint64_t n = Below(4); n > 0; --n) in.events.push_back(Event());
    for (uint64_t n = Below(4); n > 0; --n) in.identities.push_back(Identity());
    if (Once(5)) in.commands.push_back({static_cast<Command::Kind>(Below(static_cast<int>(Command::Kind::kLast) + 1)), Text(), Text(), Text(), Text()});
    if (Once(9)) in.commands.push_back({});
    in.host = Host();
    if (Once(5)) loss_names_ = {Text(), Text()};
    if (Once(20)) loss_names_.clear();
    for (const std::string& name : loss_names_) in.losses.push_back({name, Wild()});
    return in;
  }

 private:
  uint64_t Below(uint64_t n) { return random_() % n; }
  bool Once(uint64_t in) { return Below(in) == 0; }
  uint64_t Wild() {
    switch (Below(5)) {
      case 0:
        return 0;
      case 1:
        return ~uint64_t{0} - Below(3);
      case 2:
        return random_();
      default:
        return Below(1 << 20);
    }
  }
  std::string Text() {
    std::string text(Below(20), 'x');
    for (char& c : text) c = static_cast<char>(Once(3) ? random_() : 'a' + Below(26));
    return text;
  }
  void Step(uint64_t* counter) {
    if (Once(30)) {
      *counter = Wild();
    } else if (Once(2)) {
      *counter += Below(1'000'000);
    }
  }
  void ChangeProcesses() {
    std::erase_if(processes_, [&](const ProcessSample&) { return Once(8); });
    for (uint64_t n = Below(6); n > 0; --n) {
      ProcessSample p;
      p.key = {static_cast<int32_t>(Below(64)) - 4, Wild()};
      p.comm = Text();
      p.in_flight_class = static_cast<uint32_t>(Wild());
      processes_.push_back(p);
    }
    std::sort(processes_.begin(), processes_.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    processes_.erase(std::unique(processes_.begin(), processes_.end(), [](const auto& a, const auto& b) { return a.key == b.key; }),
                     processes_.end());
    for (ProcessSample& p : processes_) {
      for (uint64_t* counter : {&p.cgroup_id, &p.cpu_ns, &p.run_delay_ns, &p.voluntary_switches, &p.involuntary_switches, &p.major_faults,
                                &p.read_bytes, &p.write_bytes, &p.rss_file_bytes, &p.rss_anonymous_bytes, &p.rss_shared_bytes, &p.swap_bytes,
                                &p.in_flight_ns}) {
        Step(counter);
      }
      if (Once(10)) p.parent_pid = static_cast<int32_t>(Wild());
      if (Once(10)) p.user_id = static_cast<uint32_t>(Wild());
      if (Once(10)) p.threads = static_cast<uint32_t>(Wild());
      if (Once(10)) p.kernel_thread = !p.kernel_thread;
      if (Once(10)) p.comm = Text();
    }
  }
  void ChangeAccounts() {
    if (Once(4)) accounts_.push_back({.account = static_cast<Account>(Once(9) ? Wild() : Below(12))});
    if (Once(10) && !accounts_.empty()) accounts_.erase(accounts_.begin());
    std::sort(accounts_.begin(), accounts_.end(), [](const auto& a, const auto& b) { return a.account < b.account; });
    accounts_.erase(std::unique(accounts_.begin(), accounts_.end(), [](const auto& a, const auto& b) { return a.account == b.account; }),
                    accounts_.end());
    for (AccountSample& a : accounts_) {
      for (uint64_t* counter : {&a.cpu_ns, &a.run_delay_ns, &a.voluntary_switches, &a.involuntary_switches, &a.major_faults, &a.read_bytes,
                                &a.write_bytes, &a.processes_started, &a.processes_ended, &a.exits_by_code, &a.exits_by_signal}) {
        Step(counter);
      }
    }
  }
  AccountSyscalls Syscalls(uint64_t account) {
    AccountSyscalls s;
    s.account = static_cast<Account>(account);
    for (int n = 0; n < 20; ++n) {
      s.duration_sum_ns[Below(kSyscallClasses)] = Wild();
      s.errors[Below(kSyscallClasses)] = static_cast<uint32_t>(Wild());
      s.buckets[Below(kSyscallClasses)][Below(kDurationBuckets)] = static_cast<uint32_t>(Wild());
    }
    return s;
  }
  LifecycleEvent Event() {
    LifecycleEvent e;
    e.kind = static_cast<LifecycleEvent::Kind>(Below(3));
    e.key = {static_cast<int32_t>(Wild()), Wild()};
    e.parent_pid = static_cast<int32_t>(Wild());
    e.account = static_cast<Account>(Wild());
    e.time_ns = Wild();
    e.wait_status = static_cast<int32_t>(Wild());
    e.cpu_ns = Wild();
    e.constraint = static_cast<OomConstraint>(Below(4));
    e.oom_limit_bytes = Wild();
    e.oom_killer_pid = static_cast<int32_t>(Wild());
    e.cgroup_id = Wild();
    e.comm = Text();
    return e;
  }
  IdentityObservation Identity() {
    IdentityObservation i;
    i.key = {static_cast<int32_t>(Wild()), Wild()};
    i.parent_pid = static_cast<int32_t>(Wild());
    i.user_id = static_cast<uint32_t>(Wild());
    i.exec = Once(2);
    i.cgroup_path = Text();
    i.executable = Text();
    if (Once(2)) i.script = Text();
    i.user = Text();
    i.executable_inode = Wild();
    i.executable_size = Wild();
    i.executable_mtime_ns = static_cast<int64_t>(Wild());
    i.comm = Text();
    if (Once(2)) i.container_name = Text();
    if (Once(2)) i.pod = Text();
    if (Once(2)) i.pod_namespace = Text();
    if (Once(2)) i.memory_limit_bytes = Wild();
    return i;
  }
  HostSample Host() {
    HostSample h;
    h.cpu_ns = Wild();
    h.cpu_is_exact = Once(2);
    h.cpus = static_cast<uint32_t>(Wild());
    h.memory_total_bytes = Wild();
    h.memory_available_bytes = Wild();
    h.forks = Wild();
    for (uint64_t& p : h.pressure_some_us) p = Wild();
    h.has_pressure = Once(2);
    return h;
  }

  std::mt19937_64 random_;
  uint64_t tick_ = 0, epoch_ = 0;
  std::string boot_id_;
  std::vector<ProcessSample> processes_;
  std::vector<AccountSample> accounts_;
  std::vector<std::string> loss_names_;
};

}  // namespace outlier
