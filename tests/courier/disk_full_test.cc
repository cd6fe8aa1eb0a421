#include "tests/courier/bench.h"
#include "tests/feed/faulty_vfs.h"

namespace outlier {
namespace {

class DiskFullTest : public testing::TestWithParam<bool> {
 protected:
  DiskFullTest() { FaultyVfs::Install(); }
  ~DiskFullTest() override { Mend(); }
  static void Fill() {
    FaultyVfs::code = SQLITE_FULL;
    FaultyVfs::lasting = true;
    FaultyVfs::countdown = 1;
  }
  static void Mend() {
    FaultyVfs::lasting = false;
    FaultyVfs::countdown = 0;
  }
};

TEST_F(DiskFullTest, AStreamStopsSaysSoAndGoesOnWhenThereIsRoom) {
  Bench bench(false);
  bench.config().mutable_delivery()->set_max_items(10);
  for (int i = 0; i < 10; ++i) bench.feed().Open(fmt::format("a{}", i), bench.now);
  bench.Run(seconds(5));
  const size_t before = bench.stream.requests.size();
  Fill();
  for (int i = 0; i < 100; ++i) bench.feed().Open(fmt::format("i{}", i), bench.now);
  bench.Run(minutes(5));
  EXPECT_EQ(bench.stream.requests.size(), before + 1) << "what was sent and could not be written is the last";
  EXPECT_EQ(bench.Status().state(), relay::v1::SinkStatus::STALLED);
  EXPECT_NE(bench.Status().message().find("full"), std::string::npos) << bench.Status().message();
  EXPECT_FALSE(bench.courier().HasRoom());
  EXPECT_EQ(*bench.ledger().DeadLetterCount("oncall"), 0u);
  Mend();
  bench.Run(minutes(1));
  EXPECT_EQ(bench.Status().state(), relay::v1::SinkStatus::DELIVERING);
  EXPECT_EQ(bench.stream.times.size(), 110u);
  for (const auto& [key, times] : bench.stream.times) EXPECT_EQ(times, 1) << key;
}

// What is written while the next batch is under way fails then: that batch is the last, and both are written when there is room.
TEST_F(DiskFullTest, AStreamThatIsWrittenMeanwhileStopsAfterTheBatchUnderWayAndIsWrittenWholeWhenThereIsRoom) {
  Bench bench(false);
  bench.stream.limits.works_ahead = bench.stream.limits.knows_repeats = true;
  bench.config().mutable_delivery()->set_max_items(10);
  for (int i = 0; i < 50; ++i) bench.feed().Open(fmt::format("i{}", i), bench.now);
  bench.Read();
  const auto first = bench.courier().Next(bench.now);
  ASSERT_TRUE(first);
  bench.Read();
  ASSERT_NE(bench.courier().Ready(bench.now), nullptr);
  bench.courier().Receive(bench.stream.Receive(*first, bench.now), bench.now);
  const auto second = bench.courier().Next(bench.now);
  ASSERT_TRUE(second);
  bench.now += seconds(1);
  Fill();
  bench.courier().Ready(bench.now);
  EXPECT_EQ(bench.Status().state(), relay::v1::SinkStatus::STALLED);
  bench.courier().Receive(bench.stream.Receive(*second, bench.now), bench.now);
  bench.Run(minutes(5));
  EXPECT_EQ(bench.stream.requests.size(), 2u);
  Mend();
  bench.Run(minutes(1));
  EXPECT_EQ(bench.Status().state(), relay::v1::SinkStatus::DELIVERING);
  EXPECT_EQ(bench.stream.times.size(), 50u);
  for (const auto& [key, times] : bench.stream.times) EXPECT_EQ(times, 1) << key;
  bench.Restart();
  EXPECT_EQ(bench.Status().sources(0).sequence(), 50u);
}

TEST_F(DiskFullTest, APagerIsToldNothingThatCouldNotBeRemembered) {
  Bench bench(true);
  bench.Run(seconds(5));
  Fill();
  for (int i = 0; i < 10; ++i) bench.feed().Open(fmt::format("i{}", i), bench.now);
  bench.Run(minutes(5));
  EXPECT_EQ(bench.pager.asked, 0) << "it would not know after a crash whom it had paged";
  EXPECT_EQ(bench.Status().state(), relay::v1::SinkStatus::STALLED);
  Mend();
  bench.Run(minutes(1));
  EXPECT_EQ(bench.pager.open.size(), 10u);
  EXPECT_EQ(bench.pager.Count(Page::Action::kOpen), 10u);
}

// Whatever write fails, first, second, third ...: nothing is lost, and nothing is sent twice but what was under way at a crash.
TEST_F(DiskFullTest, AnyWriteMayFail) {
  for (int n = 1; n < 60; ++n) {
    SCOPED_TRACE(n);
    Bench bench(true);
    bench.Run(seconds(5));
    FaultyVfs::code = SQLITE_IOERR_WRITE;
    FaultyVfs::lasting = false;
    FaultyVfs::fired = false;
    FaultyVfs::countdown = n;
    for (int i = 0; i < 4; ++i) {
      bench.feed().Open(fmt::format("i{}", i), bench.now);
      bench.Run(seconds(20));
      bench.feed().Resolve(fmt::format("i{}", i), bench.now);
      bench.Run(seconds(20));
    }
    const bool fired = FaultyVfs::fired;
    Mend();
    EXPECT_EQ(bench.pager.Count(Page::Action::kOpen), 4u);
    EXPECT_TRUE(bench.pager.open.empty());
    EXPECT_EQ(bench.pager.violations, std::vector<std::string>{});
    if (!fired) return;
  }
}

}  // namespace
}  // namespace outlier
