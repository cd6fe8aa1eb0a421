// Two rooms that may not include one another hold the names of the signals; this is where they meet.
#include "userspace/config/signals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "userspace/features/features.h"

namespace outlier {
namespace {

TEST(Signals, TheNamesThatMayBeIgnoredAreThoseThatCanRaiseSomething) {
  std::set<std::string_view> raised;
  for (const FeatureSpec& spec : FeatureSpecs()) raised.insert(spec.signal);
  EXPECT_EQ(std::set<std::string_view>(kSignalNames.begin(), kSignalNames.end()), raised);
}

}  // namespace
}  // namespace outlier
