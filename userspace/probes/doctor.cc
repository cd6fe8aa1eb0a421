#include "userspace/probes/doctor.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>

#include "userspace/loader/kernel_features.h"
#include "userspace/probes/bpf_probe_set.h"
#include "userspace/probes/proc_probe_set.h"

namespace outlier {
namespace {

constexpr int kExerciseStatus = 37;  // an exit code that nothing else here has

// A child that fails, and a few calls of ours.
pid_t Exercise() {
  const pid_t child = fork();
  if (child == 0) _exit(kExerciseStatus);
  if (child > 0) waitpid(child, nullptr, 0);
  for (int i = 0; i < 100; ++i) (void)getppid();
  return child;
}

void Fail(v1::ProbeState* state, const ProbeSpec& spec, const std::string& reason) {
  state->set_state(v1::ProbeState::FAILED);
  state->set_reason(reason);
  state->set_blind_to(spec.lost_without);
}

uint64_t Calls(const TickInput& input) {
  uint64_t calls = 0;
  for (const AccountSyscalls& account : input.syscalls) {
    for (const auto& buckets : account.buckets) calls = std::accumulate(buckets.begin(), buckets.end(), calls);
  }
  return calls;
}

std::vector<v1::ProbeState> ProcStates(const std::string& reason) {
  std::vector<std::string> messages;
  std::vector<v1::ProbeState> states;
  if (const auto proc = OpenProcProbes({}, &messages); proc.ok()) states = (*proc)->states();
  for (v1::ProbeState& state : states) state.set_reason(reason + "; " + state.reason());
  return states;
}

}  // namespace

std::vector<v1::ProbeState> DoctorProbes() {
  const KernelFeatures features = ProbeKernel();
  if (!features.missing.empty()) {
    std::string reason;
    for (const std::string& missing : features.missing) reason += (reason.empty() ? "" : "; ") + missing;
    return ProcStates(reason);
  }
  std::vector<std::string> messages;
  auto probes = BpfProbeSet::Open({}, &messages);
  if (!probes.ok()) return ProcStates(std::string(probes.status().message()));
  TickInput first, second;
  absl::Status status = (*probes)->Collect(&first);
  const pid_t child = Exercise();
  if (status.ok()) status = (*probes)->Collect(&second);

  std::vector<v1::ProbeState> states = (*probes)->states();
  const auto spec = ProbeSpecs().begin();
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i].state() != v1::ProbeState::ON) continue;
    if (!status.ok()) {
      Fail(&states[i], spec[i], std::string(status.message()));
    } else if (states[i].name() == "tasks") {
      const bool self = std::any_of(second.processes.begin(), second.processes.end(),
                                    [](const ProcessSample& process) { return process.key.pid == getpid() && process.cpu_ns > 0; });
      if (!self) Fail(&states[i], spec[i], "attached, but its scan does not show this very process");
    } else if (states[i].name() == "lifecycle") {
      const bool seen = std::any_of(second.events.begin(), second.events.end(), [&](const LifecycleEvent& event) {
        return event.kind == LifecycleEvent::Kind::kEnd && event.key.pid == child && event.wait_status == kExerciseStatus << 8;
      });
      if (!seen) Fail(&states[i], spec[i], "attached, but it did not tell the end of a child made for the purpose");
    } else if (states[i].name() == "syscall_latency") {
      if (Calls(second) <= Calls(first)) Fail(&states[i], spec[i], "attached, but it counted none of the calls just made");
    }
  }
  return states;
}

}  // namespace outlier
