#include "userspace/workloads/identity.h"

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "userspace/base/text.h"
#include "userspace/stream/container_path.h"

namespace outlier {
namespace {

constexpr size_t kNameBytes = 256;

std::string_view BaseName(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace

Identity IdentityOf(const IdentityObservation& observation) {
  Identity identity;
  v1::Workload& workload = identity.workload;
  workload.set_executable(Printable(observation.executable));
  workload.set_script(Printable(observation.script));
  workload.set_user(Printable(observation.user, kNameBytes));

  const std::string& path = observation.cgroup_path;
  if (const ContainerPath container = ContainerOf(path); !container.id.empty()) {
    workload.set_kind(v1::Workload::CONTAINER);
    workload.set_container_id(Printable(container.id, kNameBytes));
    workload.set_pod(Printable(observation.pod.empty() ? container.pod_uid : observation.pod, kNameBytes));
    workload.set_namespace_(Printable(observation.pod_namespace, kNameBytes));
    if (!observation.container_name.empty()) {
      // It stays itself under a new id: Kubernetes and compose start a container again by making another one.
      const std::string in_pod = observation.pod.empty() ? "" : observation.pod + "/";
      workload.set_name(Printable(in_pod + observation.container_name, kNameBytes));
      identity.key = "container:" + (in_pod.empty() ? "" : observation.pod_namespace + "/" + in_pod) + observation.container_name;
      return identity;
    }
    const std::string short_id = IsHex(container.id) ? container.id.substr(0, 12) : container.id;
    workload.set_name(Printable(container.pod_uid.empty() ? short_id : container.pod_uid.substr(0, 8) + "/" + short_id, kNameBytes));
    identity.key = "container:" + container.id;
    return identity;
  }
  std::string unit;
  for (const absl::string_view component : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (absl::EndsWith(component, ".service") && !absl::StartsWith(component, "user@")) unit = std::string(component);
  }
  if (!unit.empty()) {
    workload.set_kind(v1::Workload::SYSTEMD_UNIT);
    workload.set_unit(Printable(unit, kNameBytes));
    workload.set_name(workload.unit());
    // A user's unit is another one for another user; the part of the path above the unit tells them apart.
    identity.key = "unit:" + path.substr(0, path.find(unit) + unit.size());
    return identity;
  }
  workload.set_kind(v1::Workload::EXECUTABLE);
  const std::string& program = observation.script.empty() ? observation.executable : observation.script;
  std::string_view name = BaseName(program);
  if (name.empty()) name = observation.comm;  // an executable that cannot be read
  workload.set_name(Printable(name, kNameBytes));
  identity.key = "executable:" + (observation.executable.empty() ? "comm:" + observation.comm : observation.executable);
  if (!observation.script.empty()) identity.key += "|" + observation.script;
  return identity;
}

}  // namespace outlier
