#include "userspace/stream/container_path.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_split.h"

namespace outlier {
namespace {

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

}  // namespace

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

ContainerPath ContainerOf(std::string_view cgroup_path) {
  ContainerPath container;
  const std::vector<std::string> components = absl::StrSplit(absl::string_view(cgroup_path.data(), cgroup_path.size()), '/', absl::SkipEmpty());
  for (size_t i = 0; i < components.size(); ++i) {
    const std::string& component = components[i];
    if (component.starts_with("kubepods") || component.starts_with("pod")) {
      if (std::string uid = PodUid(component); !uid.empty()) container.pod_uid = uid;
    }
    container.id = ContainerId(component);
    if (container.id.empty() && i > 0 && components[i - 1] == "lxc") container.id = component;
    if (container.id.empty() && component.starts_with("lxc.payload.")) container.id = component.substr(12);
    if (!container.id.empty()) return container;  // what runs inside, a service manager too, belongs to the container
  }
  return {};
}

}  // namespace outlier
