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
  seconds Lag() { return seconds(bench_.Status().sources(0).lag().seconds()); }
  // From now on; its id.
  std::string Silence(const std::string& workload, std::chrono::nanoseconds how_long) {
    relay::v1::Silence silence;
    silence.set_author("ann");
    silence.set_reason("known");
    silence.mutable_match()->set_workload(workload);
    *silence.mutable_ends() = ToTimestamp(bench_.now + how_long);
    const auto added = bench_.silences().Add(silence, bench_.now);
    EXPECT_TRUE(added.ok()) << added.status();
    return added.ok() ? added->id() : "";
  }

  Bench bench_;
};

}  // namespace outlier
