/* All programs as one object, since they share maps. A program is named PROBE_something: by that prefix the loader
 * knows which probe it belongs to, and loads and attaches each probe by itself.
 */
#include "bpf/tasks.bpf.c"

#include "bpf/lifecycle.bpf.c"
#include "bpf/syscall_latency.bpf.c"

char LICENSE[] SEC("license") = "GPL";
