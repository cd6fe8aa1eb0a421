// What a stream courier carries, in which order, and what it holds meanwhile.
#include <algorithm>
#include <filesystem>

#include "tests/courier/stream_courier_fixture.h"

namespace outlier {
namespace {

TEST_F(StreamCourierTest, CarriesEveryChangeOnceAndInOrder) {
  Fill(5000);
  bench_.Run(seconds(10));
  ExpectAllOnceInOrder();
  EXPECT_EQ(bench_.Status().delivered(), 5000u);
  EXPECT_LE(server().requests.size(), 10u) << "in batches";
  EXPECT_EQ(bench_.Status().sources(0).sequence(), 5000u);
}

TEST_F(StreamCourierTest, ADaysOutageUnderLoadLosesNothing) {
  bench_.Run(seconds(5));
  server().says = [](const auto&, WallTime) { return Says::kUnavailable; };
  for (int hour = 0; hour < 24; ++hour) {
    Fill(2000);
    bench_.Run(hours(1));
  }
  EXPECT_LE(server().requests.size(), 24u * 60 / 2) << "backs off";
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::BACKING_OFF);
  EXPECT_GE(bench_.Status().sources(0).lag().seconds(), 23 * 3600);
  server().says = [](const auto&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(10));
  ExpectAllOnceInOrder();
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::DELIVERING);
  EXPECT_FALSE(bench_.Status().sources(0).has_lag());
}

TEST_F(StreamCourierTest, ACrashRepeatsAtMostTheBatchUnderWay) {
  bench_.config().mutable_delivery()->set_max_items(100);
  Fill(1000);
  int crashes = 0;
  for (int i = 0; i < 40; ++i) {
    bench_.Read();
    bench_.now += seconds(1);
    bench_.Send(i % 3 != 0);
    if (i % 3 == 0) {
      bench_.Restart();
      ++crashes;
    }
  }
  bench_.Run(seconds(30));
  EXPECT_EQ(server().times.size(), 1000u);
  size_t repeated = 0;
  for (const auto& [key, times] : server().times) repeated += static_cast<size_t>(times - 1);
  EXPECT_LE(repeated, static_cast<size_t>(crashes) * 100);
  EXPECT_EQ(bench_.Status().delivered(), 1000u);
}

TEST_F(StreamCourierTest, SilencesAreToldInTheDocument) {
  relay::v1::Silence silence;
  silence.set_author("ann");
  silence.set_reason("maintenance");
  silence.mutable_match()->set_workload("w-a");
  *silence.mutable_ends() = ToTimestamp(bench_.now + hours(2));
  ASSERT_TRUE(bench_.silences().Add(silence, bench_.now - minutes(1)).ok());
  feed().Open("a", bench_.now);
  feed().Open("b", bench_.now);
  bench_.Run(seconds(5));
  ASSERT_EQ(server().taken.size(), 2u);
  EXPECT_TRUE(server().taken[0].silenced);
  EXPECT_FALSE(server().taken[1].silenced);
}

TEST_F(StreamCourierTest, AClockSetBackByAnHourHoldsNothingUp) {
  server().says = [](const auto&, WallTime) { return Says::kUnavailable; };
  Fill(10);
  bench_.Run(minutes(1));
  bench_.now -= hours(1);
  server().says = [](const auto&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(6));
  EXPECT_EQ(server().times.size(), 10u);
  bench_.now -= hours(1);
  Fill(1);
  bench_.Run(seconds(2));
  EXPECT_EQ(server().times.size(), 11u);
}

TEST_F(StreamCourierTest, ABodyIsAtMostWhatTheConfigurationSays) {
  bench_.config().mutable_delivery()->set_max_batch(64 << 10);
  for (int i = 0; i < 300; ++i) {
    feed().Open(fmt::format("i{}", i), bench_.now, v1::Incident::MAJOR, [](v1::Incident* incident) { incident->set_summary(std::string(2000, 's')); });
  }
  server().says = [](const auto& findings, WallTime) {
    size_t bytes = 0;
    for (const Finding& f : findings) bytes += f.change.ByteSizeLong();
    EXPECT_LE(bytes, 64u << 10);
    return Says::kTakes;
  };
  bench_.Run(seconds(10));
  ExpectAllOnceInOrder();
}

TEST_F(StreamCourierTest, HoldsLittleOfABacklog) {
  server().says = [](const auto&, WallTime) { return Says::kUnavailable; };
  for (int i = 0; i < 10'000; ++i) {
    feed().Open(fmt::format("i{}", i), bench_.now, v1::Incident::MAJOR, [](v1::Incident* incident) { incident->set_summary(std::string(2000, 's')); });
  }
  bench_.Run(minutes(10));
  EXPECT_FALSE(bench_.courier().HasRoom()) << "20 MB of changes wait at their source, not here";
  EXPECT_EQ(bench_.Status().sources(0).sequence(), 0u);
}

TEST_F(StreamCourierTest, HoldsAtMostABatchAndABitOfABacklog) {
  constexpr size_t kBytes = 2000;
  const auto big = [](v1::Incident* incident) { incident->set_summary(std::string(kBytes, 's')); };
  for (int i = 0; i < 5000; ++i) feed().Open(fmt::format("i{}", i), bench_.now, v1::Incident::MAJOR, big);
  uint64_t most = 0;
  const auto held = [&] {  // read, and neither taken by the server nor on its way there
    most = std::max(most, bench_.Status().sources(0).last_sequence() - server().times.size());
  };
  bench_.Run(seconds(30), held);
  bench_.Read();
  held();
  EXPECT_LE(most * kBytes, (1u << 20) + (512u << 10));
  server().says = [](const auto&, WallTime) { return Says::kUnavailable; };
  for (int i = 0; i < 5000; ++i) feed().Open(fmt::format("k{}", i), bench_.now, v1::Incident::MAJOR, big);
  bench_.Run(hours(1), held);
  EXPECT_LE(most * kBytes, (1u << 20) + (512u << 10));
  server().says = [](const auto&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(10));
  ExpectAllOnceInOrder();
}

// A body that turns out too large is written again, in halves.
TEST_F(StreamCourierTest, BodiesOfChangesOfDifferentSizesAreHardlyEverWrittenTwice) {
  for (int i = 0; i < 5000; ++i) {
    feed().Open(fmt::format("i{}", i), bench_.now, v1::Incident::MAJOR, [&](v1::Incident* incident) { incident->set_summary(std::string(1000 + i * 7919 % 4000, 's')); });
  }
  bench_.Run(minutes(1));
  ExpectAllOnceInOrder();
  EXPECT_GT(server().requests.size(), 10u);
  EXPECT_LE(server().sent.size(), server().requests.size() + 2);
}

TEST_F(StreamCourierTest, AnIdleCourierWritesNothingAndSleeps) {
  Fill(10);
  bench_.Run(minutes(1));
  const auto size = std::filesystem::file_size(bench_.database() + "-wal");
  const uint64_t wakes = bench_.wakes;
  for (int i = 0; i < 720; ++i) {
    FeedEvent event;
    event.kind = FeedEvent::Kind::kCaughtUp;
    event.feed_id = feed().id();
    event.sequence = feed().last();
    bench_.courier().Take(std::move(event), bench_.now);
    bench_.Run(seconds(5));
  }
  EXPECT_EQ(std::filesystem::file_size(bench_.database() + "-wal"), size) << "a synchronous write every five seconds for nothing";
  EXPECT_LE(bench_.wakes - wakes, 10u);
}

TEST_F(StreamCourierTest, SamplesAreCountedOverARestart) {
  server().limits.samples = true;
  Fill(1);
  bench_.Run(seconds(5));
  server().says = [](const auto&, WallTime) { return Says::kUnavailable; };
  Fill(2);
  bench_.Run(seconds(5));
  auto samples = std::make_shared<Samples>();
  samples->sample.add_workloads();
  bench_.courier().Offer(samples);
  EXPECT_EQ(bench_.Status().samples_lost(), 1u);
  server().says = [](const auto&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(10));
  bench_.Restart();
  EXPECT_EQ(bench_.Status().samples_lost(), 1u);
}

TEST_F(StreamCourierTest, ASourceThatClaimsAnothersFeedIsNotHeard) {
  Bench two(false, 2);
  two.feed(0).Open("a", two.now);
  two.Run(seconds(5));
  two.feed(1).Wipe("feed0");
  two.feed(1).Resolve("a", two.now);
  two.Run(seconds(30));
  for (const auto& one : two.stream.taken) EXPECT_FALSE(!one.gap && one.change.incident().state() == v1::Incident::RESOLVED) << one.key;
  two.feed(0).Resolve("a", two.now);
  two.Run(seconds(30));
  EXPECT_EQ(two.stream.times["feed0:2"], 1);
}

TEST_F(StreamCourierTest, TimesOutOfAllReasonAreSurvived) {
  server().limits.oldest = hours(18);
  feed().Open("a", bench_.now);
  FeedEvent event;
  event.kind = FeedEvent::Kind::kChange;
  event.feed_id = "feed0";
  for (const int64_t at : {INT64_MAX, INT64_MIN, int64_t{0}}) {
    event.change = feed().journal().front();
    event.change.set_sequence(event.change.sequence() + 1);
    event.change.mutable_time()->set_seconds(at);
    event.change.mutable_time()->set_nanos(at > 0 ? INT32_MAX : INT32_MIN);
    bench_.Read();
    bench_.courier().Take(event, bench_.now);
    bench_.Status();
  }
  bench_.Run(minutes(1));
  EXPECT_EQ(bench_.Status().delivered() + bench_.Status().expired(), 4u);
}

}  // namespace
}  // namespace outlier
