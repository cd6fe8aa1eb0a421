// What a sink answers, and what becomes of the batch: again, in halves, a dead letter, or the whole sink suspended.
#include <algorithm>

#include "tests/courier/stream_courier_fixture.h"

namespace outlier {
namespace {

TEST_F(StreamCourierTest, WhatASinkWarnsOfWhenItIsPreparedIsToldInItsStatusAndHoldsNothingUp) {
  server().preparation = Outcome::Delivered(0);
  server().preparation->warning = "is OpenSearch 3.6.0, but configured as `elasticsearch`";
  Fill(100);
  bench_.Run(seconds(5));
  EXPECT_EQ(server().prepared, 1);
  EXPECT_EQ(bench_.Status().message(), "is OpenSearch 3.6.0, but configured as `elasticsearch`");
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::DELIVERING);
  ExpectAllOnceInOrder();
}

TEST_F(StreamCourierTest, NothingIsSentBeforeASinkIsPrepared) {
  server().preparation = Outcome::Of(Outcome::Kind::kSuspend, "has no index template");
  Fill(100);
  bench_.Run(minutes(5));
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::SUSPENDED);
  EXPECT_EQ(bench_.Status().message(), "has no index template");
  EXPECT_TRUE(server().requests.empty());
  EXPECT_GE(server().prepared, 2) << "asked again";
  server().preparation = Outcome::Of(Outcome::Kind::kRetry, "HTTP 503");
  bench_.Run(minutes(5));
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::BACKING_OFF);
  EXPECT_TRUE(server().requests.empty());
  server().preparation.reset();
  bench_.Run(minutes(5));
  EXPECT_EQ(bench_.Status().message(), "");
  ExpectAllOnceInOrder();
}

TEST_F(StreamCourierTest, AnUnauthorizedSinkHoldsItsCursorUntilTheKeyIsRotated) {
  server().says = [](const auto&, WallTime) { return Says::kUnauthorized; };
  Fill(3000);
  bench_.Run(hours(2));
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::SUSPENDED);
  EXPECT_EQ(bench_.Status().sources(0).sequence(), 0u);
  EXPECT_EQ(bench_.Status().dead_letters(), 0u);
  EXPECT_NEAR(static_cast<double>(server().requests.size()), 120, 5);
  server().says = [](const auto&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(2));
  ExpectAllOnceInOrder();
}

TEST_F(StreamCourierTest, AReceiverThatWantsNoMoreIsAskedAgainWhenAPersonSaysSoAndThenGetsAll) {
  server().says = [](const auto&, WallTime) { return Says::kGone; };
  Fill(3000);
  bench_.Run(hours(24));
  const relay::v1::SinkStatus status = bench_.Status();
  EXPECT_EQ(status.state(), relay::v1::SinkStatus::SUSPENDED);
  EXPECT_FALSE(status.has_retry_time());
  EXPECT_NE(status.message().find("outlierctl sinks retry oncall"), std::string::npos) << status.message();
  EXPECT_EQ(server().requests.size(), 1u);
  server().says = [](const auto&, WallTime) { return Says::kTakes; };
  feed().Open("new", bench_.now);
  bench_.Run(hours(1));
  EXPECT_EQ(server().requests.size(), 1u) << "news are no person's word";
  bench_.courier().RetryNow(bench_.now);
  bench_.Run(minutes(2));
  ExpectAllOnceInOrder();
}

TEST_F(StreamCourierTest, AKeyFileThatCannotBeReadSuspendsToo) {
  server().encode_fails = [] { return absl::FailedPreconditionError("cannot read secret /k: No such file"); };
  Fill(10);
  bench_.Run(minutes(5));
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::SUSPENDED);
  EXPECT_NE(bench_.Status().message().find("/k"), std::string::npos);
  server().encode_fails = {};
  bench_.Run(minutes(2));
  ExpectAllOnceInOrder();
}

TEST_F(StreamCourierTest, WhatIsTooLargeGoesInHalves) {
  server().says = [](const auto& findings, WallTime) { return findings.size() > 7 ? Says::kTooLarge : Says::kTakes; };
  Fill(500);
  bench_.Run(minutes(1));
  ExpectAllOnceInOrder();
  EXPECT_EQ(bench_.Status().dead_letters(), 0u);
}

TEST_F(StreamCourierTest, OnePoisonItemAmongTwoThousandIsTheOnlyDeadLetter) {
  server().says = [](const auto& findings, WallTime) {
    return std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.change.sequence() == 1234; }) ? Says::kRefuses : Says::kTakes;
  };
  Fill(2000);
  bench_.Run(minutes(1));
  EXPECT_EQ(server().times.size(), 1999u);
  EXPECT_EQ(bench_.Status().dead_letters(), 1u);
  EXPECT_EQ(bench_.Status().refused(), 1u);
  EXPECT_LE(server().requests.size(), 30u);
  EXPECT_EQ(bench_.Status().sources(0).sequence(), 2000u);
  EXPECT_EQ(bench_.ledger().DeadLetters("oncall", 10)->front().change().sequence(), 1234u);
}

TEST_F(StreamCourierTest, AHundredPoisonItemsInARowAmongGoodOnesAreDeadLettersAndTheOthersGo) {
  const auto poison = [](const Finding& f) { return f.change.sequence() > 100 && f.change.sequence() <= 200; };
  server().says = [=](const auto& findings, WallTime) { return std::any_of(findings.begin(), findings.end(), poison) ? Says::kRefuses : Says::kTakes; };
  Fill(2000, 1000);
  bench_.Run(hours(2));
  EXPECT_EQ(server().times.size(), 1900u);
  EXPECT_EQ(bench_.Status().dead_letters(), 100u);
}

TEST_F(StreamCourierTest, ASinkThatRefusesEverythingIsSuspendedNotAGraveyard) {
  server().says = [](const auto&, WallTime) { return Says::kRefuses; };
  Fill(3000);
  bench_.Run(hours(24));
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::SUSPENDED);
  EXPECT_LE(bench_.Status().dead_letters(), 20u);
  EXPECT_NE(bench_.Status().message().find("refuses everything"), std::string::npos) << bench_.Status().message();
  server().says = [](const auto&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(5));
  EXPECT_GE(server().times.size(), 2980u);
}

TEST_F(StreamCourierTest, ASinkThatRefusesEveryItemIsSuspendedNotAGraveyard) {
  server().item = [](const Finding&, WallTime) { return ItemOutcome::kRefused; };
  Fill(3000);
  bench_.Run(hours(24));
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::SUSPENDED);
  EXPECT_LE(bench_.Status().dead_letters(), 20u);
  server().item = {};
  bench_.Run(minutes(5));
  EXPECT_GE(server().times.size(), 2980u);
  // A person's word makes dead letters of what is refused again.
}

TEST_F(StreamCourierTest, APersonsWordMakesDeadLettersOfWhatIsRefusedAgain) {
  server().item = [](const Finding&, WallTime) { return ItemOutcome::kRefused; };
  Fill(300);
  bench_.Run(hours(1));
  ASSERT_EQ(bench_.Status().state(), relay::v1::SinkStatus::SUSPENDED);
  bench_.courier().RetryNow(bench_.now);
  bench_.Run(seconds(10));
  EXPECT_EQ(bench_.Status().dead_letters(), 300u);
  server().item = {};
  feed().Open("new", bench_.now);
  bench_.Run(minutes(2));
  EXPECT_EQ(server().times.size(), 1u);
}

TEST_F(StreamCourierTest, RetryAfterIsObeyed) {
  server().says = [](const auto&, WallTime) { return Says::kUnavailable; };
  server().adorn = [](Response* response) { response->headers = {{"retry-after", "7200"}}; };
  Fill(10);
  bench_.Run(seconds(30));
  ASSERT_EQ(server().requests.size(), 1u);
  bench_.Run(minutes(118));
  EXPECT_EQ(server().requests.size(), 1u);
  server().says = [](const auto&, WallTime) { return Says::kTakes; };
  server().adorn = {};
  bench_.Run(minutes(3));
  ExpectAllOnceInOrder();
}

TEST_F(StreamCourierTest, AfterManyFailuresOneItemGoesFirst) {
  server().says = [](const auto&, WallTime) { return Says::kNoConnection; };
  Fill(500);
  bench_.Run(hours(1));
  EXPECT_EQ(server().requests.back(), 1u);
  server().says = [](const auto&, WallTime) { return Says::kTakes; };
  const size_t before = server().requests.size();
  bench_.Run(minutes(6));
  ExpectAllOnceInOrder();
  EXPECT_EQ(server().requests[before], 1u);
  EXPECT_EQ(server().requests[before + 1], 499u);
}

TEST_F(StreamCourierTest, ItemsThatAreThrottledGoAgainAlone) {
  int throttled = 0;
  server().item = [&](const Finding& f, WallTime) {
    if (f.change.sequence() % 10 != 0 || throttled >= 20) return ItemOutcome::kDelivered;
    ++throttled;
    return ItemOutcome::kRetry;
  };
  Fill(200, 200);
  bench_.Run(minutes(1));
  EXPECT_EQ(server().times.size(), 200u);
  for (const auto& [key, times] : server().times) EXPECT_EQ(times, 1) << key;
  ASSERT_GE(server().requests.size(), 2u);
  EXPECT_EQ(server().requests[1], 20u);
  EXPECT_EQ(bench_.Status().retried(), 20u);
}

TEST_F(StreamCourierTest, WhatIsTooOldForTheSinkIsExpiredAndCounted) {
  server().limits.oldest = hours(18);
  server().says = [](const auto&, WallTime) { return Says::kUnavailable; };
  Fill(100, 100);
  bench_.Run(hours(20));
  Fill(1);
  server().says = [&](const auto& findings, WallTime now) {
    for (const Finding& f : findings) EXPECT_GE(TimeOf(f.change.time()), now - hours(18)) << "the vendor refuses it";
    return Says::kTakes;
  };
  bench_.Run(minutes(10));
  EXPECT_EQ(bench_.Status().expired(), 100u);
  EXPECT_EQ(bench_.Status().delivered(), 1u);
  EXPECT_EQ(bench_.Status().dead_letters(), 0u);
}

TEST_F(StreamCourierTest, DeadLettersAskedForTwiceAreSentOnce) {
  server().item = [](const Finding& f, WallTime) { return f.change.sequence() <= 3 ? ItemOutcome::kRefused : ItemOutcome::kDelivered; };
  Fill(100, 100);
  bench_.Run(seconds(10));
  ASSERT_EQ(bench_.Status().dead_letters(), 3u);
  server().item = {};
  const auto letters = *bench_.ledger().DeadLetters("oncall", 10);
  bench_.courier().Resend(letters);
  bench_.courier().Resend(letters);
  bench_.Run(seconds(10));
  bench_.courier().Resend(letters);  // read before they were gone
  bench_.Run(seconds(10));
  for (const auto& [key, times] : server().times) EXPECT_EQ(times, 1) << key;
  EXPECT_EQ(server().times.size(), 100u);
  EXPECT_EQ(bench_.Status().dead_letters(), 0u);
  EXPECT_EQ(*bench_.ledger().DeadLetterCount("oncall"), 0u);
}

TEST_F(StreamCourierTest, ARefusedGapIsSentAgainAsAGap) {
  server().item = [](const Finding& f, WallTime) { return f.gap ? ItemOutcome::kRefused : ItemOutcome::kDelivered; };
  FeedEvent event;
  event.kind = FeedEvent::Kind::kGap;
  event.feed_id = "feed0";
  event.gap = {0, 0, 5, "not_journalled"};
  event.time = bench_.now;
  Fill(30);
  bench_.Read();
  bench_.courier().Take(event, bench_.now);
  bench_.Run(seconds(10));
  ASSERT_EQ(bench_.Status().dead_letters(), 1u);
  server().item = {};
  bench_.courier().Resend(*bench_.ledger().DeadLetters("oncall", 10));
  bench_.Run(seconds(10));
  ASSERT_TRUE(server().taken.back().gap.has_value());
  EXPECT_EQ(server().taken.back().gap->lost, 5u);
}

TEST_F(StreamCourierTest, ARefusedRequestOfSamplesIsToldAndTheOthersOfItsTickGo) {
  server().limits.samples = true;
  server().requests_of_samples = 3;
  server().on_samples = [](size_t number) { return number == 0 ? Outcome::Of(Outcome::Kind::kRefused, "HTTP 400: temporality") : Outcome::Delivered(1); };
  const auto offer = [&] {
    auto samples = std::make_shared<Samples>();
    samples->sample.add_workloads();
    bench_.courier().Offer(samples);
    bench_.Run(seconds(1));
  };
  offer();
  EXPECT_EQ(server().samples_received, 3u);
  EXPECT_EQ(bench_.Status().samples_lost(), 1u);
  EXPECT_EQ(bench_.Status().samples_delivered(), 0u);
  EXPECT_EQ(bench_.Status().message(), "samples were not taken: HTTP 400: temporality");
  server().on_samples = [](size_t) {
    Outcome outcome = Outcome::Delivered(1);
    outcome.warning = "4 data points refused";
    return outcome;
  };
  offer();
  EXPECT_EQ(bench_.Status().samples_delivered(), 1u);
  EXPECT_EQ(bench_.Status().message(), "4 data points refused");
}

}  // namespace
}  // namespace outlier
