#include <algorithm>

#include "tests/courier/harness.h"

namespace outlier {
namespace {

using testing::Test;

class StreamCourierTest : public Test {
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

TEST_F(StreamCourierTest, CarriesEveryChangeOnceAndInOrder) {
  Fill(5000);
  bench_.Run(seconds(10));
  ExpectAllOnceInOrder();
  EXPECT_EQ(bench_.Status().delivered(), 5000u);
  EXPECT_LE(server().requests.size(), 10u) << "in batches";
  EXPECT_EQ(bench_.Status().sources(0).sequence(), 5000u);
}

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

TEST_F(StreamCourierTest, FollowsAnAdmittedIncidentToItsEndOverACrash) {
  bench_.config().mutable_route()->set_min_severity("major");
  feed().Open("a", bench_.now, v1::Incident::MINOR);
  feed().Open("b", bench_.now, v1::Incident::MAJOR);
  bench_.Run(seconds(5));
  bench_.Restart();
  feed().Update("b", bench_.now, v1::Incident::WARNING);
  feed().Resolve("b", bench_.now);
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  ASSERT_EQ(server().taken.size(), 3u);
  EXPECT_EQ(server().taken.back().change.kind(), v1::IncidentChange::RESOLVED);
  for (const auto& one : server().taken) EXPECT_EQ(one.incident, "feed0:b");
  EXPECT_TRUE(bench_.ledger().Followed("oncall")->empty());
}

TEST_F(StreamCourierTest, AnIncidentWhoseEndIsInALaterBatchIsFollowedThereOverACrash) {
  bench_.config().mutable_route()->set_min_severity("major");
  bench_.config().mutable_delivery()->set_max_items(2);
  for (const char* id : {"a", "b", "c"}) feed().Open(id, bench_.now);
  feed().Resolve("a", bench_.now);
  for (const char* id : {"b", "c"}) feed().Add(v1::IncidentChange::RESOLVED, id, bench_.now, v1::Incident::WARNING);  // the route alone would not let it through
  for (int sent = 0; sent < 2; ++sent) {
    bench_.Read();
    bench_.now += seconds(1);
    ASSERT_TRUE(bench_.Send());
    bench_.Restart();
  }
  bench_.Run(seconds(5));
  ExpectAllOnceInOrder();
  EXPECT_TRUE(bench_.ledger().Followed("oncall")->empty());
}

// Of a backlog most incidents have begun and ended within a batch: of those the ledger need not hear.
TEST_F(StreamCourierTest, AnIncidentThatBeginsAndEndsWithinABatchCostsTheLedgerNothing) {
  const auto written = [&](int incidents) {
    for (int i = 0; i < incidents; ++i) {
      feed().Open(fmt::format("{}-{}", incidents, i), bench_.now);
      feed().Resolve(fmt::format("{}-{}", incidents, i), bench_.now);
    }
    const auto before = std::filesystem::file_size(bench_.database() + "-wal");
    bench_.Run(seconds(5));
    return std::filesystem::file_size(bench_.database() + "-wal") - before;
  };
  feed().Open("first", bench_.now);
  bench_.Run(seconds(5));
  const auto one = written(1), five_hundred = written(500);
  EXPECT_EQ(server().requests.size(), 3u);
  EXPECT_LE(five_hundred, one + (16u << 10));
  ExpectAllOnceInOrder();
}

TEST_F(StreamCourierTest, AnEndThatWasCompactedAwayIsToldAllTheSame) {
  for (int i = 0; i < 5; ++i) feed().Open(fmt::format("i{}", i), bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  for (int i = 0; i < 3; ++i) feed().Resolve(fmt::format("i{}", i), bench_.now);
  for (int i = 0; i < 10; ++i) feed().Update("i4", bench_.now);
  feed().Compact(feed().last());
  bench_.Start();
  bench_.Run(seconds(30));
  std::map<std::string, v1::Incident::State> state;
  std::set<std::string> keys;
  size_t gaps = 0;
  for (const auto& one : server().taken) {
    EXPECT_TRUE(keys.insert(one.key).second) << "two findings with the identity " << one.key;
    if (one.gap) {
      ++gaps;
      EXPECT_EQ(one.gap->reason, "compacted");
      continue;
    }
    state[one.change.incident().id()] = one.change.incident().state();
  }
  EXPECT_EQ(gaps, 1u);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(state[fmt::format("i{}", i)], i < 3 ? v1::Incident::RESOLVED : v1::Incident::OPEN) << i << ": of a pair only one";
}

TEST_F(StreamCourierTest, WhatWasOpenInAJournalThatIsGoneIsEnded) {
  feed().Open("a", bench_.now);
  feed().Open("b", bench_.now);
  feed().Resolve("b", bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  feed().Wipe("feed-new");
  bench_.Start();
  bench_.Run(seconds(30));
  ASSERT_EQ(server().taken.size(), 5u);
  EXPECT_EQ(server().taken[3].gap->reason, "feed_replaced");
  EXPECT_EQ(server().taken[4].incident, "feed0:a");
  EXPECT_EQ(server().taken[4].change.incident().state(), v1::Incident::RESOLVED);
  EXPECT_GT(server().taken[4].change.sequence(), 3u);
  bench_.Restart();
  bench_.Run(seconds(30));
  EXPECT_EQ(server().taken.size(), 5u) << "the gap is told once, though the new journal is empty";
}

TEST_F(StreamCourierTest, ChangesInPartsBeforeACompactionAreNotLostByACrash) {
  bench_.config().mutable_delivery()->set_max_items(1);
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  bench_.Crash();
  feed().Open("b", bench_.now);
  for (int i = 0; i < 10; ++i) feed().Update("a", bench_.now);
  feed().Compact(feed().last());
  bench_.Start();
  bench_.Read();
  bench_.now += seconds(1);
  ASSERT_TRUE(bench_.Send());  // the gap
  bench_.Restart();
  bench_.Run(seconds(30));
  EXPECT_TRUE(std::any_of(server().taken.begin(), server().taken.end(), [](const auto& one) { return one.incident == "feed0:b"; }));
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

TEST_F(StreamCourierTest, AGapIsNothingForASinkThatTakesNoChanges) {
  server().limits.changes = false;
  FeedEvent event;
  event.kind = FeedEvent::Kind::kGap;
  event.feed_id = "feed0";
  event.gap = {0, 0, 5, "not_journalled"};
  event.time = bench_.now;
  bench_.courier().Take(event, bench_.now);
  bench_.Run(seconds(10));
  EXPECT_TRUE(server().requests.empty());
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
