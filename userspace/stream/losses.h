// What each loss counter means to a person, by its name.
#pragma once
#include <array>
#include <string_view>
#include <utility>

#include "bpf/abi.h"

namespace outlier {

inline constexpr std::pair<std::string_view, std::string_view> kLossMeanings[] = {
#define OUTLIER_FAILURE_MEANING(symbol, name, meaning) {#name, meaning},
    OUTLIER_FAILURE_LIST(OUTLIER_FAILURE_MEANING)
#undef OUTLIER_FAILURE_MEANING
    {"assign_failed", "a process could not be charged to its workload; its parent's account has it"},
    {"changes_not_journalled", "incident changes dropped because the journal could not be written for long"},
    {"free_never_seen", "threads whose release the kernel did not show; CPU time after their exit is not charged"},
    {"identity_deferred", "look-ups put off to the next tick, once for each tick they waited"},
    {"identity_gone", "processes that ended before they could be looked up; their parent's workload has them"},
    {"proc_read_failed", "files of /proc that could not be read"},
    {"starts_not_seen", "processes and threads that began and ended between two looks at /proc; no workload is charged for them"},
    {"ticks_not_recorded", "ticks that the flight recorder could not write"},
    {"ticks_partly_failed", "ticks of which a probe saw only a part"},
    {"workloads_full", "workloads beyond the limit, charged to `unattributed`"},
};

constexpr std::string_view LossMeaning(std::string_view name) {
  for (const auto& [known, meaning] : kLossMeanings) {
    if (known == name) return meaning;
  }
  return "";
}

}  // namespace outlier
