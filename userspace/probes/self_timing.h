// SelfTiming: what the kernel programs cost, sampled. Timing costs about 45 ns for every BPF program run of the host, so
// it is on for 20 ms a second only.
//
// The scan is left out: it runs inside the agent's own system calls, and is part of the agent's own CPU time.
#pragma once
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "userspace/loader/kernel_programs.h"

namespace outlier {

// Thread-safe. `kernel` must outlive it. The sampling thread starts at the first Start(): with the rights of that moment.
class SelfTiming {
 public:
  explicit SelfTiming(const KernelPrograms& kernel) : kernel_(kernel) {}
  ~SelfTiming();
  SelfTiming(const SelfTiming&) = delete;
  SelfTiming& operator=(const SelfTiming&) = delete;

  void Start();

  struct Cost {
    double cpu_percent = 0;  // of one core, smoothed over about 10 windows
    double runs = 0;         // since start, estimated
    double ns_per_run = 0;
  };
  Cost Total() const;
  Cost OfProbe(const std::string& probe) const;
  // False where timing was refused (CAP_SYS_ADMIN is needed): costs stay what they were.
  bool works() const;

 private:
  struct Sampled {
    uint64_t runs = 0;
    uint64_t run_ns = 0;
    double share = 0;  // of one core
  };
  void Sample(std::stop_token stop);

  const KernelPrograms& kernel_;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::map<std::string, Sampled> programs_;
  uint64_t windows_ns_ = 0;
  uint64_t begun_ns_ = 0;
  bool refused_ = false;
  std::jthread thread_;  // last: stopped before the rest goes away
};

}  // namespace outlier
