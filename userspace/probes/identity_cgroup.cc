#include "userspace/probes/identity_cgroup.h"

#include <dirent.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "userspace/base/file.h"
#include "userspace/stream/container_path.h"

namespace outlier {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostBytes = 4 << 20;   // of one file
constexpr size_t kMostNames = 4096, kLongestName = 253;  // bytes: as Kubernetes allows
constexpr int kMostAsked = 3;            // times for an id that nobody knows: names may come a moment after the first process
constexpr uint64_t kNoLimit = 1ull << 60;  // cgroup v1 says "none" by the largest multiple of a page
constexpr int kDeepest = 32;

std::optional<Json> ReadJson(const std::string& path) {
  const auto text = ReadFile(path, kMostBytes);
  if (!text.ok()) return std::nullopt;
  Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return std::nullopt;
  return json;
}

std::string Text(const Json& json, const char* key) {
  if (!json.is_object()) return "";
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

const Json& Member(const Json& json, const char* key) {
  static const Json kNone;
  if (!json.is_object()) return kNone;
  const auto found = json.find(key);
  return found != json.end() ? *found : kNone;
}

// Annotations of an OCI bundle, by containerd and by CRI-O.
std::optional<ContainerNames> OfBundle(const std::string& path) {
  const auto json = ReadJson(path);
  if (!json) return std::nullopt;
  const Json& notes = Member(*json, "annotations");
  ContainerNames found{Text(notes, "io.kubernetes.cri.container-name"), Text(notes, "io.kubernetes.cri.sandbox-name"), Text(notes, "io.kubernetes.cri.sandbox-namespace")};
  if (found.pod.empty()) found = {Text(notes, "io.kubernetes.container.name"), Text(notes, "io.kubernetes.pod.name"), Text(notes, "io.kubernetes.pod.namespace")};
  if (found.container.empty() && !found.pod.empty()) found.container = "pause";  // the sandbox itself
  if (found.container.empty()) found.container = Text(notes, "nerdctl/name");
  return found;
}

std::optional<ContainerNames> OfDocker(const std::string& path) {
  const auto json = ReadJson(path);
  if (!json) return std::nullopt;
  const Json& labels = Member(Member(*json, "Config"), "Labels");
  ContainerNames found{Text(labels, "io.kubernetes.container.name"), Text(labels, "io.kubernetes.pod.name"), Text(labels, "io.kubernetes.pod.namespace")};
  if (found.pod.empty()) {
    found.container = Text(*json, "Name");
    if (found.container.starts_with('/')) found.container.erase(0, 1);
  }
  return found;
}

std::optional<ContainerNames> OfStorage(const std::string& path, const std::string& id) {
  const auto json = ReadJson(path);
  if (!json || !json->is_array()) return std::nullopt;
  for (const Json& container : *json) {
    if (Text(container, "id") != id) continue;
    const Json& names = Member(container, "names");
    if (names.is_array() && !names.empty() && names[0].is_string()) return ContainerNames{names[0].get<std::string>(), "", ""};
  }
  return std::nullopt;
}

// <pod>_<namespace>_<container>-<id>.log
std::optional<ContainerNames> OfKubeletsLinks(const std::string& folder, const std::string& id) {
  const std::unique_ptr<DIR, int (*)(DIR*)> links(opendir(folder.c_str()), closedir);
  if (links == nullptr) return std::nullopt;
  const std::string end = "-" + id + ".log";
  while (const dirent* entry = readdir(links.get())) {
    const std::string_view name = entry->d_name;
    if (!name.ends_with(end)) continue;
    const std::string_view stem = name.substr(0, name.size() - end.size());
    const size_t first = stem.find('_'), second = first == std::string_view::npos ? first : stem.find('_', first + 1);
    if (second == std::string_view::npos) continue;
    return ContainerNames{std::string(stem.substr(second + 1)), std::string(stem.substr(0, first)), std::string(stem.substr(first + 1, second - first - 1))};
  }
  return std::nullopt;
}

}  // namespace

ContainerNames IdentityCgroup::LookUp(const std::string& id) const {
  std::optional<ContainerNames> found;
  const auto settled = [&](std::optional<ContainerNames> next) {
    if (next && !next->container.empty()) found = std::move(next);
    return found.has_value();
  };
  const auto of_containerd = [&](const char* state, const char* space) {
    return settled(OfBundle(root_ + state + "/io.containerd.runtime.v2.task/" + space + "/" + id + "/config.json"));
  };
  (void)(of_containerd("/run/containerd", "k8s.io") || of_containerd("/run/k3s/containerd", "k8s.io") || of_containerd("/run/containerd", "default") ||
         settled(OfDocker(root_ + "/var/lib/docker/containers/" + id + "/config.v2.json")) ||
         settled(OfBundle(root_ + "/var/lib/containers/storage/overlay-containers/" + id + "/userdata/config.json")) ||
         settled(OfStorage(root_ + "/var/lib/containers/storage/overlay-containers/containers.json", id)) ||
         settled(OfKubeletsLinks(root_ + "/var/log/containers", id)));
  if (!found) return {};
  for (std::string* name : {&found->container, &found->pod, &found->pod_namespace}) name->resize(std::min(name->size(), kLongestName));
  return *found;
}

const ContainerNames& IdentityCgroup::NamesOf(const std::string& id) {
  if (answers_.size() >= kMostNames && !answers_.contains(id)) answers_.clear();
  Answer& answer = answers_[id];
  if (answer.names.container.empty() && answer.asked < kMostAsked) {
    answer.names = LookUp(id);
    ++answer.asked;
  }
  return answer.names;
}

// The least of a cgroup and those above it; 0 = there is none.
uint64_t IdentityCgroup::MemoryLimitOf(std::string path) const {
  uint64_t least = kNoLimit;
  for (int depth = 0; depth < kDeepest && path.size() > 1; ++depth, path.resize(path.rfind('/'))) {
    for (const char* file : {"/memory.max", "/memory.limit_in_bytes"}) {
      const bool old = file[8] == 'l';
      const auto text = ReadFile(root_ + (old ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup") + path + file, 64);
      uint64_t limit = 0;
      if (text.ok() && absl::SimpleAtoi(*text, &limit)) least = std::min(least, limit);
      if (text.ok()) break;
    }
  }
  return least < kNoLimit ? least : 0;
}

void IdentityCgroup::Describe(std::vector<IdentityObservation>* seen) {
  std::unordered_map<std::string, uint64_t> limits;  // a limit may be changed at any time
  for (IdentityObservation& one : *seen) {
    if (one.cgroup_path.size() < 2 || one.cgroup_path.find("/../") != std::string::npos || one.cgroup_path.ends_with("/..")) continue;
    const auto [limit, fresh] = limits.try_emplace(one.cgroup_path, 0);
    if (fresh) limit->second = MemoryLimitOf(one.cgroup_path);
    one.memory_limit_bytes = limit->second;
    const ContainerPath container = ContainerOf(one.cgroup_path);
    if (container.id.size() != 64 || !IsHex(container.id)) continue;  // lxc has no other name
    const ContainerNames& names = NamesOf(container.id);
    one.container_name = names.container;
    one.pod = names.pod;
    one.pod_namespace = names.pod_namespace;
  }
}

}  // namespace outlier
