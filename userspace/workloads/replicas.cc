// Which workloads run the same program, so that a new one begins with what is known of the others.
#include <algorithm>
#include <string>
#include <string_view>

#include "userspace/workloads/workloads.h"

namespace outlier {
namespace {

// What replicas have in common beside their program, for many programs run whatever they are told to: web@1.service and web@2.service,
// worker-1 and worker-2; of containers, whose names are often their ids, the kind must do.
std::string StemOf(const v1::Workload& workload) {
  if (workload.kind() == v1::Workload::CONTAINER) return "";
  std::string stem = workload.name().substr(0, workload.name().find('@'));
  std::erase_if(stem, [](char c) { return c >= '0' && c <= '9'; });
  return stem;
}

// Programs that start others and say nothing of what they run.
bool IsCarrier(const v1::Workload& workload) {
  static constexpr std::string_view kCarriers[] = {"sh", "bash", "dash", "busybox", "tini", "dumb-init", "docker-init", "catatonit", "sudo", "java"};
  const std::string_view name = std::string_view(workload.executable()).substr(workload.executable().rfind('/') + 1);
  return workload.script().empty() && std::find(std::begin(kCarriers), std::end(kCarriers), name) != std::end(kCarriers);
}

}  // namespace

// A replica: another workload of the same program. One that runs comes before one that has ended.
Slot Workloads::SiblingOf(Slot slot) const {
  const v1::Workload& own = slots_[slot].workload;
  if (IsCarrier(own)) return 0;
  Slot ended = 0;
  for (Slot other = kFirstOwnedSlot; other < slots_.size(); ++other) {
    const SlotState& state = slots_[other];
    const bool alike = state.used && !state.born && state.workload.executable() == own.executable() && state.workload.script() == own.script() &&
                       StemOf(state.workload) == StemOf(own);
    if (other == slot || !alike || own.executable().empty()) continue;
    if (state.processes > 0) return other;
    ended = ended == 0 ? other : ended;
  }
  return ended;
}

}  // namespace outlier
