// IdentityCgroup: what is known of the cgroup that a process is in: the names that its container's runtime or Kubernetes gave it, and the memory
// that it may use at most.
//
// Names are read where runtimes keep them, without asking any: the OCI bundle of containerd (Kubernetes' annotations, nerdctl), docker's
// config.v2.json, the storage of CRI-O and podman, and the kubelet's links in /var/log/containers. What is there is told by root, but chosen
// by whoever starts a container: read with a bound, never believed to be text. A container of a runtime that is not known here, or of a user's own
// podman, has no names, and its id must do.
//
// Not thread-safe.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "userspace/stream/tick_input.h"

namespace outlier {

// As its runtime or Kubernetes calls it; "" = nobody said.
struct ContainerNames {
  std::string container, pod, pod_namespace;
};

class IdentityCgroup {
 public:
  // `root` stands before every path.
  explicit IdentityCgroup(std::string root = "") : root_(std::move(root)) {}

  // Fills container_name, pod, pod_namespace and memory_limit_bytes of what was answered in one tick.
  void Describe(std::vector<IdentityObservation>* seen);

 private:
  struct Answer {
    ContainerNames names;
    int asked = 0;  // times
  };
  const ContainerNames& NamesOf(const std::string& id);
  ContainerNames LookUp(const std::string& id) const;
  uint64_t MemoryLimitOf(std::string path) const;

  const std::string root_;
  std::map<std::string, Answer> answers_;  // by container id
};

}  // namespace outlier
