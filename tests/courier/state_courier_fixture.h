// What all tests of a state courier begin with: one feed, one pager, and no trigger after its resolve.
#pragma once
#include <string>
#include <vector>

#include "tests/courier/bench.h"

namespace outlier {

class StateCourierTest : public testing::Test {
 protected:
  StateCourierTest() : bench_(true) {}
  void TearDown() override { EXPECT_EQ(bench_.pager.violations, std::vector<std::string>{}); }
  FakeFeed& feed() { return bench_.feed(); }
  PagerServer& pager() { return bench_.pager; }
  // Read up to now, so that it is no first start.
  void Begin() { bench_.Run(seconds(5)); }

  Bench bench_;
};

}  // namespace outlier
