#include "userspace/probes/open_probes.h"

#include <fmt/format.h>

#include "userspace/loader/kernel_features.h"
#include "userspace/probes/bpf_probe_set.h"
#include "userspace/probes/proc_probe_set.h"

namespace outlier {

absl::StatusOr<std::unique_ptr<ProbeSet>> OpenProbes(const config::v1::Config& config, std::vector<std::string>* messages) {
  const config::v1::Probes& probes = config.probes();
  const bool wanted = probes.tasks() != "off" && probes.lifecycle() != "off";
  std::string reason = "probes.tasks and probes.lifecycle are needed for eBPF, and one is off by configuration";
  if (wanted) {
    const KernelFeatures features = ProbeKernel();
    if (features.missing.empty()) {
      auto bpf = BpfProbeSet::Open(probes, messages);
      if (bpf.ok()) return std::unique_ptr<ProbeSet>(std::move(*bpf));
      reason = std::string(bpf.status().message());
    } else {
      reason.clear();
      for (const std::string& missing : features.missing) {
        messages->push_back(missing);
        reason += (reason.empty() ? "" : "; ") + missing;
      }
    }
    if (features.missing.empty()) messages->push_back("no eBPF: " + reason);
  } else {
    messages->push_back("no eBPF: " + reason);
  }
  // What was demanded and cannot be had is an error; what was merely wished for is not.
  for (const ProbeSpec& spec : ProbeSpecs()) {
    if (ProbeSetting(probes, spec.name) != "on") continue;
    return absl::FailedPreconditionError(fmt::format("probes.{} is \"on\" but cannot be loaded: {}", spec.name, reason));
  }
  return OpenProcProbes(config, messages);
}

}  // namespace outlier
