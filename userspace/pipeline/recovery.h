// Recovery: the engine brought to where the last run left it, from its snapshot and the input log behind it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "userspace/feed/journal.h"
#include "userspace/pipeline/engine.h"

namespace outlier {

struct StatePaths {
  explicit StatePaths(const std::string& state_dir);
  std::string journal;      // journal.sqlite
  std::string snapshot;     // models.snapshot
  std::string recordings;   // recordings/
};

// An engine with everything learned and under way up to the last recorded tick. Changes that a crash kept from the
// journal are appended to it; those that are there already are not written again. What cannot be used is set aside,
// said in `messages`, and never fatal: at worst learning begins anew.
absl::StatusOr<std::unique_ptr<Engine>> Recover(const Engine::Options& options, const StatePaths& paths, Journal* journal,
                                                std::vector<std::string>* messages);

}  // namespace outlier
