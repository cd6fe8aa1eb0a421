#include "userspace/loader/kernel_features.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "userspace/loader/bpf_log.h"

namespace outlier {
namespace {

bool HasCapability(cap_value_t capability) {
  cap_t caps = cap_get_proc();
  if (caps == nullptr) return false;
  cap_flag_value_t value = CAP_CLEAR;
  cap_get_flag(caps, capability, CAP_EFFECTIVE, &value);
  cap_free(caps);
  return value == CAP_SET;
}

// The tracepoint's arguments: typedef btf_trace_X -> pointer -> prototype (void *context, ...).
KernelFeatures::OomVictim OomVictimArgument(const btf* kernel) {
  const int id = btf__find_by_name_kind(kernel, "btf_trace_mark_victim", BTF_KIND_TYPEDEF);
  if (id < 0) return KernelFeatures::OomVictim::kNone;
  const btf_type* pointer = btf__type_by_id(kernel, btf__type_by_id(kernel, id)->type);
  if (pointer == nullptr || !btf_is_ptr(pointer)) return KernelFeatures::OomVictim::kNone;
  const btf_type* prototype = btf__type_by_id(kernel, pointer->type);
  if (prototype == nullptr || !btf_is_func_proto(prototype) || btf_vlen(prototype) < 2) {
    return KernelFeatures::OomVictim::kNone;
  }
  const btf_type* argument = btf__type_by_id(kernel, btf_params(prototype)[1].type);
  return argument != nullptr && btf_is_ptr(argument) ? KernelFeatures::OomVictim::kTask : KernelFeatures::OomVictim::kPid;
}

bool ListsTasks(const btf* kernel) {
  constexpr const char* kFunctions[] = {"bpf_iter_task_new", "bpf_iter_task_next", "bpf_iter_task_destroy",
                                        "bpf_rcu_read_lock", "bpf_rcu_read_unlock", "bpf_rdonly_cast"};
  return std::all_of(std::begin(kFunctions), std::end(kFunctions),
                     [&](const char* name) { return btf__find_by_name_kind(kernel, name, BTF_KIND_FUNC) > 0; });
}

// The kernel counts processes as its first PID namespace does. Another's /proc, as in a container, has other numbers, or none, for them. A
// host's /proc that was mounted into a container is as good as the host's.
bool ProcIsOfTheHost() {
  constexpr ino_t kFirstPidNamespace = 0xEFFFFFFC;  // PROC_PID_INIT_INO of linux/proc_ns.h
  struct stat space;
  if (stat("/proc/1/ns/pid", &space) != 0 && stat("/proc/self/ns/pid", &space) != 0) return true;  // then that is not what is wrong
  return space.st_ino == kFirstPidNamespace;
}

}  // namespace

KernelFeatures ProbeKernel() {
  BpfLog log;
  KernelFeatures features;
  features.is_root = geteuid() == 0 || (HasCapability(CAP_BPF) && HasCapability(CAP_PERFMON));
  if (!features.is_root) {
    features.missing.push_back(fmt::format(
        "not root: user {} has neither CAP_BPF nor CAP_PERFMON, which eBPF needs", static_cast<unsigned>(geteuid())));
  }
  features.sees_host_processes = ProcIsOfTheHost();
  if (!features.sees_host_processes) {
    features.missing.push_back(
        "in a PID namespace of its own: the processes of the kernel have other numbers in this /proc, so none could be named (start it with those of the "
        "host: hostPID, --pid=host)");
  }
  btf* kernel = btf__load_vmlinux_btf();
  if (kernel != nullptr) {
    features.has_btf = true;
    features.oom_victim = OomVictimArgument(kernel);
    features.lists_tasks = ListsTasks(kernel);
    btf__free(kernel);
  } else {
    features.missing.push_back("no BTF: /sys/kernel/btf/vmlinux cannot be read (a kernel with CONFIG_DEBUG_INFO_BTF has it)");
  }
  const bpf_insn return_zero[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
                                  {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  const int fd = bpf_prog_load(BPF_PROG_TYPE_TRACEPOINT, "outlier_leave", "GPL", return_zero, 2, nullptr);
  if (fd >= 0) {
    features.may_load_bpf = true;
    close(fd);
  } else if (features.is_root) {
    features.missing.push_back(
        fmt::format("no leave to load BPF: bpf(2) says {} (lockdown, seccomp, or a kernel without BPF)", strerror(errno)));
  }
  return features;
}

}  // namespace outlier
