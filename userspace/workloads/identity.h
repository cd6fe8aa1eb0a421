// Identity: from what was observed of a process to the workload that owns it. Pure.
//
// Order (first match wins): container by cgroup path (v1 and v2 layouts of docker, containerd, CRI-O, podman, lxc and
// Kubernetes), systemd unit (service; scopes and slices hold unrelated processes and are none), else executable + script.
#pragma once
#include <string>
#include <string_view>

#include "outlier/v1/feed.pb.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

struct Identity {
  std::string key;         // "container:<namespace>/<pod>/<name>", "container:<name>" or, unnamed, "container:<id>"; "unit:<path of unit>", "executable:<path>|<script>": equal = same workload
  v1::Workload workload;   // printable
};

Identity IdentityOf(const IdentityObservation& observation);

}  // namespace outlier
