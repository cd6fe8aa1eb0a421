#include "userspace/workloads/workloads.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kForgetAfter = 24 * 3600 * kSecond;   // a workload without a process: a daily job comes back in time
constexpr uint64_t kTakeOverAfter = 10 * kSecond;        // then a surviving process is the main one, nothing restarted
constexpr uint32_t kUnseenTicks = 2;                     // a sample can miss a process whose end event is on its way
constexpr double kNowHalfLife = 2.0, kBeforeHalfLife = 60.0;  // seconds, of a process' own CPU
constexpr size_t kBusiest = 8;
constexpr double kLeastGain = 0.05;                       // cores; less cannot explain that another one waits

v1::Workload HostWorkload(const char* name) {
  v1::Workload workload;
  workload.set_name(name);
  workload.set_kind(v1::Workload::HOST);
  return workload;
}

// Of the loss counters, those that mean a finding may be incomplete: an event that found no room, a tick seen in part. A
// look-up that came too late or a put-off one loses nothing that was to be judged.
bool IsLostEvent(std::string_view name) {
  return name.starts_with("ring_full") || name == "ticks_partly_failed" || name == "exec_over_rate";
}

double Decay(double seconds, double half_life) { return 1.0 - std::exp2(-seconds / half_life); }

}  // namespace

Workloads::Workloads(uint64_t warm_up_ns) : warm_up_ns_(warm_up_ns) { ReserveSlots(); }

void Workloads::ReserveSlots() {
  slots_.resize(kFirstOwnedSlot);
  const char* names[] = {"unattributed", "kernel", "host"};
  for (Slot slot = 0; slot < kFirstOwnedSlot; ++slot) {
    slots_[slot].used = true;
    slots_[slot].born = slots_[slot].renamed = true;
    slots_[slot].workload = HostWorkload(names[slot]);
    slots_[slot].key = fmt::format("host:{}", names[slot]);
  }
}

void Workloads::Observe(const TickInput& input, std::vector<AccountAssignment>* assignments, WorkloadTick* tick) {
  now_ns_ = input.boot_time_ns;
  WorkloadTick out;
  out.totals = std::move(tick->totals);
  out.totals.clear();
  out.tick = input.tick;
  out.boot_time_ns = input.boot_time_ns;
  out.wall_time_ns = input.wall_time_ns;
  if (input.epoch != epoch_ || input.boot_id != boot_id_) BeginEpoch(input, assignments);
  out.interval_seconds = input.interval_ns * 1e-9;
  out.probes_missing = probes_missing_;
  out.commands = input.commands;
  out.host = input.host;
  out.host_before = has_host_ ? host_ : input.host;
  for (const LossSample& loss : input.losses) out.events_lost += IsLostEvent(loss.name) ? loss.count : 0;
  out.totals.resize(slots_.size());

  // Starts and ends in the order of time, so that a death comes before the restart that follows it.
  struct Step { uint64_t time_ns; bool event; size_t index; };
  std::vector<Step> steps;
  for (size_t i = 0; i < input.identities.size(); ++i) steps.push_back({input.identities[i].key.start_time_ns, false, i});
  for (size_t i = 0; i < input.events.size(); ++i) {
    if (input.events[i].kind != LifecycleEvent::Kind::kExec) steps.push_back({input.events[i].time_ns, true, i});
  }
  std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.time_ns < b.time_ns; });
  for (const Step& step : steps) {
    if (!step.event) {
      Attach(input.identities[step.index], assignments, &out);
    } else if (const LifecycleEvent& event = input.events[step.index]; event.kind == LifecycleEvent::Kind::kOomVictim) {
      Victim& victim = victims_[event.key];
      victim.time_ns = event.time_ns;
      const char* limit = event.constraint == OomConstraint::kHost ? "the host ran out of memory"
                          : event.constraint == OomConstraint::kMemoryPlusSwapCgroup ? "memory and swap limit of its cgroup"
                                                                                     : "memory limit of its cgroup";
      victim.detail = event.oom_limit_bytes == 0 ? limit : fmt::format("{}, {}", limit, HumanValue(event.oom_limit_bytes, "By"));
    } else {
      End(event, true, &out);
    }
  }
  FollowProcesses(input, &out);
  SubtractAccounts(input, &out);
  SettleMainProcesses();
  RankBusiest(&out);
  std::stable_sort(out.restarts.begin(), out.restarts.end(), [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; });
  host_ = input.host;
  has_host_ = true;
  *tick = std::move(out);
}

// Probes were attached anew: their counters begin at 0, and what happened in between was not seen.
void Workloads::BeginEpoch(const TickInput& input, std::vector<AccountAssignment>* assignments) {
  epoch_ = input.epoch;
  probes_missing_ = input.probes_missing;
  has_host_ = false;
  residual_.Clear();
  victims_.clear();
  for (SlotState& slot : slots_) slot.account = {};
  if (input.boot_id != boot_id_) {  // another boot: no process of the old one lives
    boot_id_ = input.boot_id;
    processes_.Clear();
    for (SlotState& slot : slots_) {
      slot.has_main = false;
      slot.restarts.GiveUpWaiting();
    }
  }
  for (size_t i = 0; i < processes_.size(); ++i) {
    const ProcessState& process = processes_.state(i);
    if (process.looked_up && !process.ended) assignments->push_back({processes_.key(i), process.slot});
  }
}

Slot Workloads::FindOrMake(const Identity& identity) {
  Slot free = 0, oldest = 0;
  for (Slot slot = kFirstOwnedSlot; slot < slots_.size(); ++slot) {
    const SlotState& state = slots_[slot];
    if (state.used && state.key == identity.key) return slot;
    const bool dead = state.used && state.processes == 0;
    if (!state.used || (dead && state.last_alive_ns + kForgetAfter < now_ns_)) {
      if (free == 0) free = slot;
    } else if (dead && (oldest == 0 || state.last_alive_ns < slots_[oldest].last_alive_ns)) {
      oldest = slot;
    }
  }
  if (free == 0 && slots_.size() < kMaxAccounts) {
    free = static_cast<Slot>(slots_.size());
    slots_.emplace_back();
  }
  if (free == 0) free = oldest;
  if (free == 0) {
    accounts_full_ += 1;
    return kUnattributedSlot;
  }
  SlotState fresh;
  fresh.used = fresh.born = fresh.renamed = true;
  fresh.key = identity.key;
  fresh.workload = identity.workload;
  fresh.account.last = slots_[free].account.last;  // the kernel's account goes on counting where it was
  fresh.account.last_syscalls = slots_[free].account.last_syscalls;
  fresh.last_alive_ns = now_ns_;
  slots_[free] = std::move(fresh);
  return free;
}

Slot Workloads::SlotOfParent(int32_t parent_pid) const {
  const size_t parent = processes_.Latest(parent_pid);
  return parent == processes_.kNone ? kUnattributedSlot : processes_.state(parent).slot;
}

void Workloads::Attach(const IdentityObservation& observation, std::vector<AccountAssignment>* assignments, WorkloadTick* out) {
  const Identity identity = IdentityOf(observation);
  const bool placed = identity.workload.kind() != v1::Workload::EXECUTABLE;
  Slot slot = kUnattributedSlot;
  for (Slot s = kFirstOwnedSlot; s < slots_.size() && observation.exec && !placed; ++s) {
    if (slots_[s].used && slots_[s].key == identity.key) slot = s;
  }
  // A program that is not known yet may be a short child; the look-up after a few seconds decides.
  if (observation.exec && !placed && slot == kUnattributedSlot) return;
  if (slot == kUnattributedSlot) slot = FindOrMake(identity);
  if (slot == kUnattributedSlot) return;
  out->totals.resize(slots_.size());

  const size_t at = processes_.LowerBound(observation.key);
  const bool fresh = at == processes_.size() || processes_.key(at) != observation.key;
  if (fresh) processes_.Insert(at, observation.key, {});
  ProcessState& process = processes_.state(at);
  if (process.ended) return;
  if (!observation.cgroup_path.empty()) slots_[slot].memory_limit_bytes = observation.memory_limit_bytes;
  const bool moved = fresh || !process.looked_up || process.slot != slot;
  if (!moved && !observation.exec) return;
  if (!fresh && process.looked_up && process.slot != slot && slots_[process.slot].has_main &&
      slots_[process.slot].main == observation.key) {
    slots_[process.slot].has_main = false;  // it executed something else: not a death
  }
  process.slot = slot;
  process.looked_up = true;
  process.parent_pid = observation.parent_pid;
  process.name = Printable(observation.executable.empty() ? observation.comm : observation.executable);
  assignments->push_back({observation.key, slot});

  SlotState& state = slots_[slot];
  state.last_alive_ns = now_ns_;
  const bool child = SlotOfParent(observation.parent_pid) == slot;
  const bool after_death = !state.restarts.waiting() || observation.key.start_time_ns >= state.restarts.death_time_ns();
  if (!state.has_main && !child && after_death) {
    state.has_main = true;
    state.main = observation.key;
    if (const std::string executable = Printable(observation.executable); !executable.empty() && executable != state.workload.executable()) {
      state.workload.set_executable(executable);
      state.renamed = true;
    }
    if (state.workload.container_id() != identity.workload.container_id()) {  // made anew under its name
      state.workload.set_container_id(identity.workload.container_id());
      state.renamed = true;
    }
    const ExecutableStamp stamp{observation.executable_inode, observation.executable_size, observation.executable_mtime_ns};
    if (auto fact = state.restarts.OnMainStart(observation.key, placed ? 0 : observation.parent_pid, observation.key.start_time_ns, stamp, warm_up_ns_)) {
      out->totals[slot].restarts += 1;
      TellRestart(slot, *fact, out);
    }
  }
}

void Workloads::TellRestart(Slot slot, RestartFact fact, WorkloadTick* out) {
  fact.slot = slot;
  out->restarts.push_back(std::move(fact));
}

void Workloads::End(const LifecycleEvent& event, bool status_known, WorkloadTick* out) {
  const size_t at = processes_.LowerBound(event.key);
  if (at == processes_.size() || processes_.key(at) != event.key) {
    // Born and gone between two ticks: it belongs to the account that the kernel charged.
    ProcessState process;
    process.slot = event.account < slots_.size() && slots_[event.account].used ? event.account : SlotOfParent(event.parent_pid);
    process.parent_pid = event.parent_pid;
    processes_.Insert(at, event.key, std::move(process));
  }
  ProcessState& process = processes_.state(at);
  if (process.ended) return;
  process.ended = true;
  const auto victim = victims_.find(event.key);
  const bool oom = victim != victims_.end();
  const std::string detail = oom ? victim->second.detail : "";
  if (oom) victims_.erase(victim);
  SlotState& state = slots_[process.slot];
  if (oom) out->totals[process.slot].oom_kills += 1;
  if (state.has_main && state.main == event.key) {
    state.has_main = false;
    const bool placed = state.workload.kind() != v1::Workload::EXECUTABLE;
    if (auto fact = state.restarts.OnMainEnd(event.key, placed ? 0 : process.parent_pid, event.time_ns, event.wait_status, status_known, oom, warm_up_ns_)) {
      fact->detail = detail;
      TellRestart(process.slot, *fact, out);
    }
  } else if (oom && process.slot >= kFirstOwnedSlot) {
    RestartFact fact = state.restarts.OnChildOutOfMemory(event.key, event.time_ns);
    fact.detail = detail;
    TellRestart(process.slot, fact, out);
  }
}

void Workloads::FollowProcesses(const TickInput& input, WorkloadTick* out) {
  for (SlotState& slot : slots_) {
    slot.processes = 0;
    slot.memory_bytes = 0;
  }
  living_ = 0;
  const double seconds = out->interval_seconds;
  const double now_weight = Decay(seconds, kNowHalfLife), before_weight = Decay(seconds, kBeforeHalfLife);
  size_t at = 0;
  std::vector<ProcessKey> vanished;
  some_main_missing_ = some_gained_ = false;
  const auto notice = [&](const ProcessState& process) {
    some_main_missing_ |= process.looked_up && process.slot >= kFirstOwnedSlot && !slots_[process.slot].has_main;
    some_gained_ |= process.cpu_now - process.cpu_before >= kLeastGain;
  };
  const auto unseen = [&](size_t i) {
    notice(processes_.state(i));
    if (++processes_.state(i).unseen_ticks > kUnseenTicks) vanished.push_back(processes_.key(i));
  };
  for (const ProcessSample& sample : input.processes) {
    for (; at < processes_.size() && processes_.key(at) < sample.key; ++at) unseen(at);
    if (at == processes_.size() || processes_.key(at) != sample.key) {
      ProcessState process;
      process.slot = sample.kernel_thread ? kKernelSlot : SlotOfParent(sample.parent_pid);
      process.looked_up = sample.kernel_thread;
      process.name = Printable(sample.comm);
      // What it did before it was first seen is its past only if it is old: a newborn's first CPU is a gain.
      process.cpu_ns = sample.key.start_time_ns + 2 * input.interval_ns >= input.boot_time_ns ? 0 : sample.cpu_ns;
      processes_.Insert(at, sample.key, std::move(process));
    }
    ProcessState& process = processes_.state(at++);
    process.unseen_ticks = 0;
    if (process.ended) continue;  // a zombie that its parent has not fetched
    process.parent_pid = sample.parent_pid;
    if (seconds > 0) {
      const double cores = Increase(sample.cpu_ns, process.cpu_ns) * 1e-9 / seconds;
      process.cpu_now += now_weight * (cores - process.cpu_now);
      process.cpu_before += before_weight * (cores - process.cpu_before);
    }
    process.cpu_ns = sample.cpu_ns;
    notice(process);
    living_ += sample.kernel_thread ? 0 : 1;
    SlotState& slot = slots_[process.slot];
    slot.processes += 1;
    slot.last_alive_ns = now_ns_;
    WorkloadTotals& totals = out->totals[process.slot];
    totals.threads += sample.threads;
    totals.memory_bytes += sample.rss_anonymous_bytes + sample.rss_file_bytes + sample.rss_shared_bytes;
    totals.anonymous_bytes += sample.rss_anonymous_bytes;
    totals.swap_bytes += sample.swap_bytes;
    if (sample.in_flight_ns > totals.in_flight_ns) totals.in_flight_ns = sample.in_flight_ns;
  }
  for (; at < processes_.size(); ++at) unseen(at);
  some_main_missing_ |= !vanished.empty();
  for (const ProcessKey& key : vanished) {
    if (const ProcessState& process = processes_.state(processes_.Find(key)); !process.ended) {  // never told: lost, or before the probes were there
      LifecycleEvent event;
      event.kind = LifecycleEvent::Kind::kEnd;
      event.key = key;
      event.account = process.slot;
      event.time_ns = now_ns_;
      End(event, false, out);
    }
    processes_.Erase(processes_.Find(key));
  }
  for (Slot slot = 0; slot < slots_.size(); ++slot) {
    WorkloadTotals& totals = out->totals[slot];
    totals.processes = slots_[slot].processes;
    slots_[slot].memory_bytes = totals.memory_bytes;
    totals.memory_limit_bytes = slots_[slot].memory_limit_bytes;
    totals.observed = totals.processes > 0 || totals.restarts > 0 || totals.oom_kills > 0;
    totals.born = slots_[slot].born;
    totals.sibling = totals.born ? SiblingOf(slot) : 0;
    if (slots_[slot].renamed) out->named.push_back({slot, {slots_[slot].key, slots_[slot].workload}});
    slots_[slot].renamed = false;
    totals.has_rates = out->interval_seconds > 0;
    if (slots_[slot].has_main) {
      totals.uptime_seconds = (now_ns_ - std::min(now_ns_, slots_[slot].main.start_time_ns)) * 1e-9;
    }
  }
  for (SlotState& state : slots_) state.born = false;  // last: workloads born in one tick have no past for one another
}

void Workloads::SubtractAccounts(const TickInput& input, WorkloadTick* out) {
  uint64_t charged_ns = 0;
  for (const AccountSample& sample : input.accounts) {
    if (sample.account >= slots_.size()) continue;
    WorkloadTotals& totals = out->totals[sample.account];
    Charge(sample, &slots_[sample.account].account, &totals);
    charged_ns += totals.delta.cpu_ns;
  }
  for (const AccountSyscalls& sample : input.syscalls) {
    if (sample.account < slots_.size()) Charge(sample, &slots_[sample.account].account, &out->totals[sample.account]);
  }
  if (input.host.cpu_is_exact && has_host_) {
    const uint64_t nobodys_ns = residual_.Settle(Increase(input.host.cpu_ns, host_.cpu_ns), charged_ns);
    out->totals[kUnattributedSlot].delta.cpu_ns += nobodys_ns;
    slots_[kUnattributedSlot].account.since_attach.cpu_ns += nobodys_ns;
  }
  for (Slot slot = 0; slot < slots_.size(); ++slot) {
    slots_[slot].cpu_utilization = out->interval_seconds > 0 ? out->totals[slot].delta.cpu_ns * 1e-9 / out->interval_seconds : 0;
  }
  out->totals[kUnattributedSlot].observed = out->totals[kKernelSlot].observed = out->totals[kHostSlot].observed = true;
}

// A workload whose main process went, and whose others go on: the oldest of them is the main one after a while.
void Workloads::SettleMainProcesses() {
  if (!some_main_missing_) return;
  for (size_t i = 0; i < processes_.size(); ++i) {
    const ProcessState& process = processes_.state(i);
    SlotState& slot = slots_[process.slot];
    if (process.ended || !process.looked_up || slot.has_main || process.slot < kFirstOwnedSlot) continue;
    if (slot.restarts.waiting() && slot.restarts.death_time_ns() + kTakeOverAfter > now_ns_) continue;
    ProcessKey oldest = processes_.key(i);
    for (size_t k = 0; k < processes_.size(); ++k) {
      const ProcessState& other = processes_.state(k);
      if (other.slot == process.slot && !other.ended && other.looked_up && processes_.key(k).start_time_ns < oldest.start_time_ns) {
        oldest = processes_.key(k);
      }
    }
    slot.restarts.GiveUpWaiting();
    slot.has_main = true;
    slot.main = oldest;
  }
}

void Workloads::RankBusiest(WorkloadTick* out) const {
  if (!some_gained_) return;
  for (size_t i = 0; i < processes_.size(); ++i) {
    const ProcessState& process = processes_.state(i);
    if (process.ended || process.slot == kKernelSlot || process.cpu_now - process.cpu_before < kLeastGain) continue;
    out->busiest.push_back({processes_.key(i), process.slot, process.cpu_now, process.cpu_before, process.name});
  }
  const auto gain = [](const ProcessRate& rate) { return rate.cpu_now - rate.cpu_before; };
  std::stable_sort(out->busiest.begin(), out->busiest.end(), [&](const auto& a, const auto& b) { return gain(a) > gain(b); });
  if (out->busiest.size() > kBusiest) out->busiest.resize(kBusiest);
}

void Workloads::Describe(Slot slot, v1::WorkloadState* state) const {
  const SlotState& s = slots_[slot];
  *state->mutable_workload() = s.workload;
  state->set_processes(s.processes);
  state->set_cpu_utilization(s.cpu_utilization);
  state->set_memory_bytes(s.memory_bytes);
  state->set_restarts(s.restarts.restarts());
  state->set_cpu_seconds(s.account.since_attach.cpu_ns * 1e-9);
  state->set_processes_started(s.account.since_attach.processes_started);
  state->set_processes_ended(s.account.since_attach.processes_ended);
  if (s.has_main) {
    state->set_main_pid(s.main.pid);
    state->set_uptime_seconds((now_ns_ - std::min(now_ns_, s.main.start_time_ns)) * 1e-9);
  }
}

}  // namespace outlier
