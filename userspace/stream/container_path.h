// Which container a cgroup path is of: v1 and v2 layouts of docker, containerd, CRI-O, podman, lxc and Kubernetes. Pure, over hostile text.
#pragma once
#include <string>
#include <string_view>

namespace outlier {

struct ContainerPath {
  std::string id;       // 64 hex digits, or the name that lxc gives; "" = no container
  std::string pod_uid;  // of a Kubernetes pod, with dashes; else ""
};
ContainerPath ContainerOf(std::string_view cgroup_path);

bool IsHex(std::string_view text);  // lower case

}  // namespace outlier
