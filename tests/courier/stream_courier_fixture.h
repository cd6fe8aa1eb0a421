// What all tests of a stream courier begin with: one feed, one server, and whether it got everything.
#pragma once
#include <map>
#include <string>

#include "tests/courier/bench.h"

namespace outlier {

class StreamCourierTest : public testing::Test {
 protected:
  StreamCourierTest() : bench_(false) {}
  FakeFeed& feed() { return bench_.feed(); }
  StreamServer& server() { return bench_.stream; }
  void Fill(int n, int incidents = 50) {
    for (int i = 0; i < n; ++i) {
      const std::string id = fmt::format("i{}", i % incidents);
      if (!feed().open().contains(id)) {
        feed().Open(id, bench_.now);
      } else if (i / incidents % 7 == 6) {
        feed().Resolve(id, bench_.now);
      } else {
        feed().Update(id, bench_.now);
      }
    }
  }
  void ExpectAllOnceInOrder() {
    std::map<std::string, uint64_t> last;
    for (const auto& one : server().taken) {
      EXPECT_GT(one.change.sequence(), last[one.incident]) << "out of order: " << one.key;
      last[one.incident] = one.change.sequence();
    }
    EXPECT_EQ(server().times.size(), feed().journal().size());
    for (const auto& [key, times] : server().times) EXPECT_EQ(times, 1) << key;
  }

  Bench bench_;
};

}  // namespace outlier
