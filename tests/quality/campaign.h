// What the programs that run many simulated hosts have in common.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "outlier/config/v1/config.pb.h"
#include "tests/quality/worlds.h"

namespace outlier::quality {

// Calls run(0) ... run(count - 1) from `jobs` threads and says on standard error how many are done.
void SideBySide(int jobs, size_t count, const std::function<void(size_t)>& run);

// The defaults with these settings; nothing, and the reason on standard error, when one is wrong.
std::optional<config::v1::Config> ConfigWith(const std::vector<std::string>& sets);

std::vector<std::string> WorldNames();
// Those of these names, or all for none.
std::vector<World> WorldsOf(const std::vector<std::string>& names);

}  // namespace outlier::quality
