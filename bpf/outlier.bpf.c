/* All programs as one object, since they share maps. A program is named PROBE_something: by that prefix the loader
 * knows which probe it belongs to, and loads and attaches each probe by itself.
 */
#include "bpf/every_probe.h" /* generated: #include "bpf/NAME.bpf.c" for every line of probes.def, in its order */

/* Records are built on the stack: named here so that the object's BTF describes them (a test compares it with abi.h). */
const struct outlier_process *described_process __attribute__((unused));
const struct outlier_end_event *described_end __attribute__((unused));
const struct outlier_exec_event *described_exec __attribute__((unused));
const struct outlier_oom_event *described_oom __attribute__((unused));

char LICENSE[] SEC("license") = "GPL";
