#include "userspace/workloads/identity.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_split.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kNameBytes = 256;

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool TakePrefix(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

bool TakeSuffix(std::string_view* text, std::string_view suffix) {
  if (!text->ends_with(suffix)) return false;
  text->remove_suffix(suffix.size());
  return true;
}

// The container id in one path component: 64 hex digits, bare or as "<runtime>-<id>.scope".
std::string_view ContainerId(std::string_view component) {
  TakeSuffix(&component, ".scope");
  for (std::string_view runtime : {"cri-containerd-", "docker-", "crio-", "libpod-", "containerd-"}) {
    if (TakePrefix(&component, runtime)) break;
  }
  return component.size() == 64 && IsHex(component) ? component : std::string_view();
}

// The pod's UID from "pod<uid>" or "kubepods-burstable-pod<uid with underscores>.slice".
std::string PodUid(std::string_view component) {
  TakeSuffix(&component, ".slice");
  const size_t at = component.find("pod", component.starts_with("kubepods") ? 8 : 0);
  if (at == std::string_view::npos || component.size() < at + 3 + 32) return "";
  std::string uid(component.substr(at + 3));
  std::replace(uid.begin(), uid.end(), '_', '-');
  return uid;
}

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

  std::string pod, unit;
  const std::string& path = observation.cgroup_path;
  const std::vector<std::string> components = absl::StrSplit(path, '/', absl::SkipEmpty());
  for (size_t i = 0; i < components.size(); ++i) {
    const std::string& component = components[i];
    if (component.starts_with("kubepods") || component.starts_with("pod")) {
      if (std::string uid = PodUid(component); !uid.empty()) pod = uid;
    }
    std::string id(ContainerId(component));
    if (id.empty() && i > 0 && components[i - 1] == "lxc") id = component;
    if (id.empty() && component.starts_with("lxc.payload.")) id = component.substr(12);
    if (!id.empty()) {
      workload.set_kind(v1::Workload::CONTAINER);
      workload.set_container_id(Printable(id, kNameBytes));
      workload.set_pod(Printable(pod, kNameBytes));
      // The name that people know needs the runtime's or the kubelet's word; the short id is what the kernel knows.
      const std::string short_id = IsHex(id) ? id.substr(0, 12) : id;
      workload.set_name(Printable(pod.empty() ? short_id : pod.substr(0, 8) + "/" + short_id, kNameBytes));
      identity.key = "container:" + id;
      return identity;  // what runs inside, a service manager too, belongs to the container
    }
    if (component.ends_with(".service") && !component.starts_with("user@")) unit = component;
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
