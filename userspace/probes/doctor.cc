#include "userspace/probes/doctor.h"

#include "userspace/loader/kernel_features.h"
#include "userspace/probes/bpf_probe_set.h"
#include "userspace/probes/proc_probe_set.h"

namespace outlier {
namespace {

void Fail(v1::ProbeState* state, const ProbeSpec& spec, const std::string& reason) {
  state->set_state(v1::ProbeState::FAILED);
  state->set_reason(reason);
  state->set_blind_to(spec.lost_without);
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
  if (status.ok()) {
    for (const auto& probe : (*probes)->probes()) probe->Exercise();
    status = (*probes)->Collect(&second);
  }

  std::vector<v1::ProbeState> states = (*probes)->states();
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i].state() != v1::ProbeState::ON) continue;
    const std::string missed = status.ok() ? (*probes)->probes()[i]->Missed(first, second) : std::string(status.message());
    if (!missed.empty()) Fail(&states[i], ProbeSpecs()[i], status.ok() ? "attached, but " + missed : missed);
  }
  return states;
}

}  // namespace outlier
