// What is written, and sent, while the batch before is under way.
#include <memory>
#include <set>

#include "tests/courier/stream_courier_fixture.h"

namespace outlier {
namespace {

TEST_F(StreamCourierTest, TheNextBatchIsWrittenWhileOneIsUnderWayAndCountsOnlyWhenItIsTaken) {
  server().limits.works_ahead = true;
  bench_.config().mutable_delivery()->set_max_items(10);
  Fill(100);
  bench_.Read();
  auto first = bench_.courier().Next(bench_.now);
  ASSERT_TRUE(first);
  bench_.Read();
  const auto ready = bench_.courier().Ready(bench_.now);
  ASSERT_NE(ready, nullptr);
  const std::string body = ready->body;
  EXPECT_EQ(bench_.courier().Ready(bench_.now), ready) << "once";
  EXPECT_EQ(server().sent.size(), 2u);
  bench_.courier().Receive(server().Receive(*first, bench_.now), bench_.now);
  EXPECT_EQ(bench_.Status().sources(0).sequence(), 10u);
  const auto second = bench_.courier().Next(bench_.now);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->body, body) << "not written again";
  bench_.Restart();  // before its answer
  EXPECT_EQ(bench_.Status().sources(0).sequence(), 10u);
  bench_.Run(minutes(1));
  ExpectAllOnceInOrder();
}

TEST_F(StreamCourierTest, WhatWasSentAheadIsNotSentAgainHoweverLongItTook) {
  server().limits.works_ahead = server().limits.knows_repeats = true;
  bench_.config().mutable_delivery()->set_max_items(10);
  Fill(100);
  bench_.Read();
  auto& courier = bench_.courier();
  ASSERT_TRUE(courier.overlaps());
  const auto first = courier.Next(bench_.now);
  bench_.Read();
  const auto ahead = courier.Ready(bench_.now);
  ASSERT_TRUE(first && ahead);
  courier.SentAhead();
  bench_.now += minutes(1);
  courier.Receive(server().Receive(*first, bench_.now), bench_.now);
  EXPECT_EQ(courier.Next(bench_.now), ahead);
  courier.Receive(server().Receive(*ahead, bench_.now), bench_.now);
  bench_.Run(minutes(10));
  ExpectAllOnceInOrder();
  EXPECT_EQ(server().requests.size(), 10u);
}

TEST_F(StreamCourierTest, WhatWasSentAheadOfAFailureIsSentAgainInItsTurn) {
  server().limits.works_ahead = server().limits.knows_repeats = true;
  bench_.config().mutable_delivery()->set_max_items(10);
  Fill(100);
  bench_.Read();
  auto& courier = bench_.courier();
  const auto first = courier.Next(bench_.now);
  bench_.Read();
  std::weak_ptr<Request> ahead;
  {
    const auto ready = courier.Ready(bench_.now);
    ASSERT_TRUE(ready);
    ahead = ready;
    courier.SentAhead();
    server().Receive(*ready, bench_.now);
  }
  courier.Receive(Answer(Says::kUnavailable), bench_.now);
  EXPECT_TRUE(ahead.expired()) << "nobody waits for its answer";
  EXPECT_EQ(bench_.Status().delivered(), 0u);
  bench_.Run(minutes(10));
  EXPECT_EQ(bench_.Status().delivered(), 100u);
  for (const auto& [key, times] : server().times) {
    const uint64_t sequence = std::stoull(key.substr(key.find(':') + 1));
    EXPECT_EQ(times, sequence > 10 && sequence <= 20 ? 2 : 1) << key;
  }
}

// Of the sink as it was before somebody mended it.
TEST_F(StreamCourierTest, ARefusalOfWhatWasSentAheadOfASuspensionSaysNothingLater) {
  server().limits.works_ahead = server().limits.knows_repeats = true;
  bench_.config().mutable_delivery()->set_max_items(10);
  server().item = [](const Finding&, WallTime) { return ItemOutcome::kRefused; };
  Fill(25);
  bench_.Run(minutes(1));
  Fill(75);
  bench_.Run(minutes(1));
  ASSERT_EQ(bench_.Status().state(), relay::v1::SinkStatus::SUSPENDED);
  const uint64_t dead = bench_.Status().dead_letters();
  server().item = {};
  bench_.Run(minutes(10));
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::DELIVERING);
  EXPECT_EQ(bench_.Status().dead_letters(), dead);
  EXPECT_EQ(bench_.Status().delivered() + dead, 100u);
}

TEST_F(StreamCourierTest, NothingIsSentAheadWhileTheSinkIsTriedWithOneItem) {
  server().limits.works_ahead = server().limits.knows_repeats = true;
  bench_.config().mutable_delivery()->set_max_items(10);
  server().says = [](const auto&, WallTime) { return Says::kUnavailable; };
  Fill(100);
  bench_.Run(minutes(30));
  server().requests.clear();
  for (int i = 0; i < 5; ++i) {
    bench_.now = std::max(bench_.now, bench_.courier().WakeAt());
    ASSERT_TRUE(bench_.Send());
  }
  EXPECT_EQ(server().requests, std::vector<size_t>(5, 1));
}

TEST_F(StreamCourierTest, NothingIsSentAheadToWhoWouldHaveItTwice) {
  server().limits.works_ahead = true;
  EXPECT_FALSE(bench_.courier().overlaps());
  server().limits.works_ahead = false;
  server().limits.knows_repeats = true;
  EXPECT_FALSE(bench_.courier().overlaps());
}

// An address, a key, the order may be another by then.
TEST_F(StreamCourierTest, WhatWasWrittenAheadIsWrittenAnewAfterAFailureOrAWhile) {
  server().limits.works_ahead = true;
  bench_.config().mutable_delivery()->set_max_items(10);
  Fill(100);
  const auto next = [&](Says says, std::chrono::nanoseconds passes) {
    bench_.Read();
    const auto request = bench_.courier().Next(bench_.now);
    ASSERT_TRUE(request);
    bench_.Read();
    ASSERT_NE(bench_.courier().Ready(bench_.now), nullptr);
    const size_t written = server().sent.size();
    bench_.now += passes;
    if (says == Says::kTakes) {
      bench_.courier().Receive(server().Receive(*request, bench_.now), bench_.now);
    } else {
      bench_.courier().Receive(Answer(says), bench_.now);
      bench_.now += minutes(10);
      const auto again = bench_.courier().Next(bench_.now);
      ASSERT_TRUE(again);
      bench_.courier().Receive(server().Receive(*again, bench_.now), bench_.now);
    }
    const size_t before = server().sent.size();
    EXPECT_EQ(before, written + (says == Says::kTakes ? 0 : 1));
    ASSERT_TRUE(bench_.Send());
    EXPECT_GE(server().sent.size(), before + 1) << "the one made ahead, anew";
  };
  next(Says::kUnavailable, seconds(0));
  bench_.Restart();
  next(Says::kTakes, minutes(1));
  bench_.Run(minutes(10));
  ExpectAllOnceInOrder();
}

TEST_F(StreamCourierTest, WorkingAheadADaysOutageUnderLoadLosesNothing) {
  server().limits.works_ahead = true;
  bench_.config().mutable_delivery()->set_max_items(100);
  for (int hour = 0; hour < 24; ++hour) {
    server().says = [hour](const auto&, WallTime) { return hour % 3 == 0 ? Says::kTakes : Says::kUnavailable; };
    Fill(2000);
    bench_.Run(hours(1));
    EXPECT_EQ(bench_.Status().sources(0).lag().seconds() > 0, hour % 3 != 0) << hour;
  }
  server().says = [](const auto&, WallTime) { return Says::kTakes; };
  bench_.Run(hours(1));
  ExpectAllOnceInOrder();
  EXPECT_EQ(bench_.Status().delivered(), feed().journal().size());
}

// A synchronous write a batch is what delays the next one most. A crash repeats what was not written, which such a sink knows.
TEST_F(StreamCourierTest, BatchesInARowToASinkThatKnowsRepeatsAreWrittenTogetherAndTheLastAtOnce) {
  server().limits.works_ahead = true;
  server().limits.knows_repeats = true;
  bench_.config().mutable_delivery()->set_max_items(10);
  Fill(95);
  std::set<uint64_t> places;
  bench_.on_request = [&] { places.insert(bench_.Status().sources(0).sequence()); };
  bench_.Run(seconds(10));
  EXPECT_LT(places.size(), 9u) << "ten batches";
  EXPECT_EQ(bench_.Status().sources(0).sequence(), 95u);
  ExpectAllOnceInOrder();
  // What was dealt with is written before a wait for the sink begins.
  Fill(40);
  bench_.on_request = {};
  bench_.Read();
  ASSERT_TRUE(bench_.Send());
  ASSERT_TRUE(bench_.Send());
  EXPECT_LT(bench_.Status().sources(0).sequence(), 115u) << "of which two batches were answered";
  server().says = [](const auto&, WallTime) { return Says::kUnavailable; };
  ASSERT_TRUE(bench_.Send()) << "the third, sent ahead before that";
  ASSERT_TRUE(bench_.Send());
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::BACKING_OFF);
  EXPECT_EQ(bench_.Status().sources(0).sequence(), 125u);
}

// Between an answer and the next request nothing waits for a disk, and while that is under way there is time.
TEST_F(StreamCourierTest, ToASinkThatKnowsRepeatsTheNextBatchGoesBeforeTheLastIsWrittenAndThatIsWrittenMeanwhile) {
  server().limits.works_ahead = true;
  server().limits.knows_repeats = true;
  bench_.config().mutable_delivery()->set_max_items(10);
  Fill(100);
  const auto next = [&] {
    bench_.Read();
    auto request = bench_.courier().Next(bench_.now);
    bench_.Read();
    return request;
  };
  const auto position = [&] { return bench_.Status().sources(0).sequence(); };
  auto request = next();
  for (uint64_t batch = 1; batch < 9; ++batch) {
    ASSERT_TRUE(request) << batch;
    ASSERT_NE(bench_.courier().Ready(bench_.now), nullptr);
    EXPECT_EQ(position(), 10 * (batch - 1)) << "never ahead of what was answered";
    bench_.now += seconds(1);
    bench_.courier().Receive(server().Receive(*request, bench_.now), bench_.now);
    EXPECT_EQ(position(), 10 * (batch - 1));
    request = next();
    EXPECT_EQ(position(), 10 * (batch - 1));
  }
  bench_.courier().Ready(bench_.now);
  EXPECT_EQ(position(), 80u);
  bench_.Restart();
  EXPECT_EQ(position(), 80u);
  bench_.Run(minutes(1));
  ExpectAllOnceInOrder();
}

}  // namespace
}  // namespace outlier
