// Probe: the user half of one line of probes.def. userspace/probes/NAME.cc defines
//
//   namespace outlier::probes::NAME { std::unique_ptr<Probe> Make(); }
//
// and bpf/NAME.bpf.c, whose programs are named NAME_something, is the kernel half. Not thread-safe.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "userspace/loader/kernel_programs.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

// What every tick begins with.
struct ProbeTick {
  KernelPrograms& kernel;
  std::span<const outlier_process> scan;  // every living process, by key
};

class Probe {
 public:
  virtual ~Probe() = default;
  // Adds what the programs gathered since the last call. Once a tick, in the order of probes.def, while the kernel half runs.
  virtual void Collect(const ProbeTick& tick, TickInput* input) = 0;
  // A living process was given to a workload.
  virtual void Learn(const ProcessKey& key, uint64_t cgroup_id, KernelPrograms* kernel) { (void)key, (void)cgroup_id, (void)kernel; }
  // Makes something happen that this probe must notice, well under a second of it: for the doctor and the tests.
  virtual void Exercise() = 0;
  // What of the exercise is missing in `after`, collected later than `before`, as the end of a sentence; "" = nothing.
  virtual std::string Missed(const TickInput& before, const TickInput& after) const = 0;
};

}  // namespace outlier
