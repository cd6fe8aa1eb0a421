// What this kernel and these rights allow: asked, never guessed from a version number.
#pragma once
#include <string>
#include <vector>

namespace outlier {

struct KernelFeatures {
  bool is_root = false;        // effective uid 0, or CAP_BPF and CAP_PERFMON
  bool sees_host_processes = false;  // /proc is that of the first PID namespace
  bool has_btf = false;        // /sys/kernel/btf/vmlinux
  bool may_load_bpf = false;   // the kernel accepted a two-instruction program
  enum class OomVictim { kNone, kPid, kTask } oom_victim = OomVictim::kNone;  // what tp_btf/mark_victim hands over
  bool lists_tasks = false;    // BPF programs may iterate over the list of tasks

  // One sentence for each thing that keeps eBPF from being used; empty = nothing.
  std::vector<std::string> missing;
};

KernelFeatures ProbeKernel();

}  // namespace outlier
