#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/outlierctl/ctl_run.h"
#include "tests/outlierctl/fake_feed.h"

namespace outlier::ctl {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

v1::IncidentChange Opened(const std::string& name) { return SampleChange(v1::IncidentChange::OPENED, SampleIncident("inc-" + name, name)); }

int Count(const std::string& text, const std::string& part) {
  int n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

TEST(Watch, TellsWhatTheJournalHoldsAndThenWhatComes) {
  FakeFeed feed;
  feed.Append(Opened("first"));
  feed.Append(Opened("second"));
  BackgroundRun watch(feed.address(), {"watch", "--start-after", "1", "--format", "json"});
  ASSERT_TRUE(watch.WaitForOut("\"sequence\":\"2\""));
  feed.Append(Opened("third"));
  ASSERT_TRUE(watch.WaitForOut("\"sequence\":\"3\""));
  const Outcome outcome = watch.End();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.lines().size(), 2u) << outcome.out;
  EXPECT_THAT(outcome.out, Not(HasSubstr("inc-first")));
}

TEST(Watch, GoesOnAfterARestartOfTheDaemonWithoutGapOrRepeatAndSaysSoOnce) {
  FakeFeed feed;
  feed.Append(Opened("first"));
  BackgroundRun watch(feed.address(), {"watch"});
  ASSERT_TRUE(watch.WaitForOut("first"));
  feed.Stop();
  ASSERT_TRUE(watch.WaitForErr("the daemon is away"));
  feed.Append(Opened("meanwhile"));
  std::this_thread::sleep_for(std::chrono::milliseconds(700));  // longer than one attempt: it must not be told twice
  feed.Start();
  ASSERT_TRUE(watch.WaitForOut("meanwhile"));
  feed.Append(Opened("after"));
  ASSERT_TRUE(watch.WaitForOut("after"));
  const Outcome outcome = watch.End();
  EXPECT_EQ(outcome.lines().size(), 3u) << outcome.out;
  EXPECT_EQ(Count(outcome.err, "the daemon is away"), 1);
  EXPECT_EQ(Count(outcome.err, "the daemon is back"), 1);
}

TEST(Watch, APositionThatIsNoLongerHeldIsAnErrorWithTheOldest) {
  FakeFeed feed;
  for (int k = 0; k < 9; ++k) feed.Append(Opened("x"));
  feed.Compact(6);
  const Outcome outcome = RunCtl(feed.address(), {"watch", "--start-after", "2"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.err, HasSubstr("the oldest held is 6"));
}

TEST(Follow, ShowsWhatIsWatchedWhatIsOpenAndThenEachChangeInASentence) {
  FakeFeed feed;
  feed.status.mutable_source()->set_host_name("web-1");
  feed.status.set_mode("proc");
  feed.status.set_workloads(10);
  feed.status.set_last_sequence(1);
  feed.status.add_messages("no leave to load BPF");
  feed.incidents = {SampleIncident("inc-old", "mail")};
  feed.Append(Opened("history"));
  BackgroundRun follow(feed.address(), {"follow"});
  ASSERT_TRUE(follow.WaitForOut("10 of 10 workloads have a baseline"));
  feed.Append(Opened("shop"));
  ASSERT_TRUE(follow.WaitForOut("opened, critical (score 91): shop: CPU 98 % of a core"));
  const Outcome outcome = follow.End();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("watches web-1"), HasSubstr("through /proc only"), HasSubstr("no leave to load BPF"),
                                 HasSubstr("open since 14:02:11: mail"), Not(HasSubstr("history"))));
}

TEST(Follow, WaitsForADaemonThatIsStillStarting) {
  FakeFeed feed;
  feed.Stop();
  feed.status.mutable_source()->set_host_name("web-1");
  BackgroundRun follow(feed.address(), {"follow", "--wait", "20s"});
  feed.Start();
  EXPECT_TRUE(follow.WaitForOut("watches web-1"));
  EXPECT_EQ(follow.End().status, 0);
}

}  // namespace
}  // namespace outlier::ctl
