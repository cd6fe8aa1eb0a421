#include "userspace/incidents/suspects.h"

#include <algorithm>

#include <fmt/format.h>

namespace outlier {
namespace {

constexpr int kSuspects = 3;

const v1::Contribution* Find(const v1::Incident& incident, std::string_view signal) {
  for (const v1::Contribution& c : incident.contributions()) {
    if (c.signal() == signal && c.direction() == v1::Contribution::UP) return &c;
  }
  return nullptr;
}

}  // namespace

std::vector<v1::Suspect> SuspectsOf(const OpenIncident& open, const WorkloadTick& tick, std::span<const NamedWorkload> names) {
  const v1::Contribution* waited = Find(open.incident, "process.cpu.run_delay");
  const v1::Contribution* burnt = Find(open.incident, "process.cpu.utilization");
  std::vector<v1::Suspect> suspects;
  const bool host = open.slot == kHostSlot;
  if (open.disturbed.signal().starts_with("host.clock.") || open.disturbed.signal().starts_with("host.tick.")) return suspects;  // no process does that
  if (waited == nullptr && burnt == nullptr && !host) return suspects;
  // Its own CPU rose: what it waits for, it causes itself. The host has no processes of its own.
  const bool own = burnt != nullptr && !host;
  double whole = 0;
  for (const ProcessRate& rate : tick.busiest) {
    if ((rate.slot == open.slot) == own) whole += rate.cpu_now - rate.cpu_before;
  }
  for (const ProcessRate& rate : tick.busiest) {
    if ((rate.slot == open.slot) != own || static_cast<int>(suspects.size()) == kSuspects) continue;
    v1::Suspect suspect;
    *suspect.mutable_workload() = names[rate.slot].workload;
    suspect.mutable_process()->set_pid(rate.key.pid);
    suspect.mutable_process()->set_executable(rate.name);
    const double gain = rate.cpu_now - rate.cpu_before;
    suspect.set_share(gain / whole);
    suspect.add_evidence(fmt::format("uses {:.2f} cores, {:.2f} more than before", rate.cpu_now, gain));
    if (waited != nullptr && !own) {
      suspect.add_evidence(fmt::format("meanwhile {} waits {:.2f} s/s for a CPU, expected at most {:.2f}",
                                       open.incident.workload().name(), waited->observed(), waited->upper()));
    }
    suspects.push_back(std::move(suspect));
  }
  return suspects;
}

}  // namespace outlier
