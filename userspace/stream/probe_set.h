// ProbeSet: where a TickInput's observations come from, the kernel side (userspace/probes/) behind one interface.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "outlier/config/v1/config.pb.h"
#include "outlier/v1/feed.pb.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

class ProbeSet {
 public:
  virtual ~ProbeSet() = default;
  // Fills processes, accounts, syscalls, events, host, losses, boot_time_ns. Called once a tick on one thread.
  virtual absl::Status Collect(TickInput* input) = 0;
  // Charges processes to accounts from now on; their future children inherit it.
  virtual void Assign(std::span<const AccountAssignment> assignments) = 0;
  virtual std::vector<v1::ProbeState> states() const = 0;
  virtual std::string mode() const = 0;              // "ebpf" or "proc"
  virtual uint64_t map_memory_bytes() const = 0;     // by real slab cost
  virtual double kernel_cpu_percent() const = 0;     // of one core, from sampled BPF statistics
};

}  // namespace outlier
