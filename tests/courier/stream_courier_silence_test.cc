// A sink that is not told of what a silence covers: when that ends, what is still open is told, and nothing ends there that did not open there.
#include <string>
#include <vector>

#include "tests/courier/stream_courier_fixture.h"

namespace outlier {
namespace {

class ChatTest : public StreamCourierTest {
 protected:
  ChatTest() {
    server().limits.max_items = 1;
    server().limits.opens_after_silence = true;
    server().wants = [](const Finding& finding) {
      const v1::IncidentChange::Kind kind = finding.change.kind();
      return (kind == v1::IncidentChange::OPENED && !finding.silence) || kind == v1::IncidentChange::RESOLVED;
    };
  }
  void Silence(const std::string& workload, std::chrono::nanoseconds how_long) {
    relay::v1::Silence silence;
    silence.set_author("ann");
    silence.set_reason("known");
    silence.mutable_match()->set_workload(workload);
    *silence.mutable_ends() = ToTimestamp(bench_.now + how_long);
    const auto added = bench_.silences().Add(silence, bench_.now);
    ASSERT_TRUE(added.ok()) << added.status();
    silence_ = added->id();
  }
  // "a+" opened, "a-" ended.
  std::vector<std::string> Told() {
    std::vector<std::string> told;
    for (const auto& one : server().taken) told.push_back(one.change.incident().id() + (one.change.kind() == v1::IncidentChange::OPENED ? "+" : one.change.kind() == v1::IncidentChange::RESOLVED ? "-" : "?"));
    return told;
  }
  using Words = std::vector<std::string>;
  std::string silence_;
};

TEST_F(ChatTest, WhatIsOpenWhenItsSilenceEndsIsToldAsItIsByThenAndThenItsEnd) {
  bench_.Run(seconds(5));
  Silence("w-a*", hours(1));
  feed().Open("a", bench_.now, v1::Incident::MINOR);
  feed().Open("a2", bench_.now);
  feed().Open("b", bench_.now);
  bench_.Run(minutes(30));
  feed().Update("a", bench_.now, v1::Incident::CRITICAL);
  feed().Resolve("a2", bench_.now);
  bench_.Run(minutes(29));
  EXPECT_EQ(Told(), (Words{"b+"}));
  bench_.Run(minutes(2));
  ASSERT_EQ(Told(), (Words{"b+", "a+"})) << "and not the one that was over by then";
  EXPECT_EQ(server().taken[1].change.incident().severity(), v1::Incident::CRITICAL);
  EXPECT_EQ(bench_.Status().sources(0).lag().seconds(), 0);
  bench_.Run(hours(1));
  feed().Resolve("a", bench_.now);
  feed().Resolve("b", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_EQ(Told(), (Words{"b+", "a+", "a-", "b-"}));
  bench_.Run(seconds(5));
  EXPECT_TRUE(bench_.ledger().Followed("oncall")->empty());
}

TEST_F(ChatTest, ASilenceThatIsTakenBackTellsAtOnce) {
  bench_.Run(seconds(5));
  Silence("w-a", hours(48));
  feed().Open("a", bench_.now);
  bench_.Run(minutes(10));
  EXPECT_EQ(Told(), Words{});
  ASSERT_TRUE(bench_.silences().Expire(silence_, bench_.now).ok());
  bench_.Run(seconds(3));
  EXPECT_EQ(Told(), (Words{"a+"}));
}

TEST_F(ChatTest, WhatWasToldBeforeItsSilenceIsEndedUnderIt) {
  feed().Open("a", bench_.now);
  bench_.Run(seconds(5));
  bench_.now += seconds(1);
  Silence("w-a", hours(48));
  bench_.Restart();
  bench_.Run(seconds(5));
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_EQ(Told(), (Words{"a+", "a-"}));
}

TEST_F(ChatTest, WhetherItsOpeningWasToldIsKnownOverARestart) {
  bench_.Run(seconds(5));
  Silence("w-*", hours(1));
  feed().Open("a", bench_.now);
  feed().Open("b", bench_.now);
  feed().Open("c", bench_.now);
  bench_.Run(seconds(5));
  bench_.Restart();
  bench_.Run(seconds(5));
  feed().Resolve("c", bench_.now);
  bench_.Run(minutes(50));
  EXPECT_EQ(Told(), Words{});
  bench_.Crash();
  bench_.now += minutes(20);  // it ends while no relay runs
  bench_.Start();
  bench_.Run(minutes(1));
  EXPECT_EQ(Told(), (Words{"a+", "b+"}));
  bench_.Restart();
  bench_.Run(minutes(1));
  feed().Resolve("a", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_EQ(Told(), (Words{"a+", "b+", "a-"}));
  EXPECT_EQ(bench_.ledger().Followed("oncall")->size(), 1u);
}

TEST_F(ChatTest, ASinkThatCannotBeReachedWhenTheSilenceEndsIsToldLater) {
  bench_.Run(seconds(5));
  Silence("w-a", hours(1));
  feed().Open("a", bench_.now);
  bench_.Run(minutes(30));
  server().says = [](const auto&, WallTime) { return Says::kNoConnection; };
  bench_.Run(minutes(50));
  bench_.Restart();
  bench_.Run(minutes(10));
  EXPECT_EQ(bench_.Status().state(), relay::v1::SinkStatus::BACKING_OFF);
  feed().Resolve("a", bench_.now);
  bench_.Run(minutes(1));
  server().says = [](const auto&, WallTime) { return Says::kTakes; };
  bench_.Run(minutes(10));
  EXPECT_EQ(Told(), (Words{"a+", "a-"}));
  bench_.Run(minutes(1));
  EXPECT_TRUE(bench_.ledger().Followed("oncall")->empty());
}

TEST_F(ChatTest, WhatEndedWhileItsSourceWasAwayIsToldWhereItOutlivedItsSilence) {
  bench_.Run(seconds(5));
  Silence("w-*", hours(1));
  feed().Open("within", bench_.now);
  feed().Open("beyond", bench_.now);
  bench_.Run(minutes(1));
  feed().up = false;
  bench_.Run(minutes(1));
  feed().Resolve("within", bench_.now);
  bench_.Run(hours(2));
  EXPECT_EQ(Told(), Words{}) << "nobody knows whether they are still open";
  feed().Resolve("beyond", bench_.now);
  feed().up = true;
  bench_.Run(minutes(1));
  EXPECT_EQ(Told(), (Words{"beyond+", "beyond-"}));
}

TEST_F(ChatTest, WhatIsSeenLaterThanItsOpeningOpensAndNoEndIsToldAlone) {
  bench_.config().mutable_route()->set_min_severity("major");
  feed().Open("a", bench_.now, v1::Incident::MINOR);
  feed().Open("b", bench_.now, v1::Incident::MINOR);
  bench_.Run(seconds(5));
  feed().Add(v1::IncidentChange::RESOLVED, "a", bench_.now, v1::Incident::MAJOR);
  feed().Update("b", bench_.now, v1::Incident::MAJOR);
  bench_.Run(seconds(5));
  EXPECT_EQ(Told(), (Words{"b+"}));
  feed().Resolve("b", bench_.now);
  bench_.Run(seconds(5));
  EXPECT_EQ(Told(), (Words{"b+", "b-"}));
}

}  // namespace
}  // namespace outlier
