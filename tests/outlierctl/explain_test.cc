// What `explain` says of facts, of those that wait for one, and of a word on either.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include <fmt/format.h>

#include "userspace/outlierctl/incident_view.h"
#include "userspace/stream/incident_text.h"

namespace outlier::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::Contribution& Add(v1::Incident* incident, const std::string& signal, double observed, double tail_probability) {
  v1::Contribution& c = *incident->add_contributions();
  c.set_signal(signal);
  c.set_direction(v1::Contribution::UP);
  c.set_observed(observed);
  c.set_tail_probability(tail_probability);
  return c;
}

std::string Explained(const v1::Incident& incident) {
  std::ostringstream out, err;
  Interrupt interrupt;
  Context context{.out = out, .err = err, .interrupt = interrupt};
  return fmt::format("{}", fmt::join(ExplainIncident(context, incident), "\n"));
}

TEST(Explain, AFactIsToldWhateverAnybodySaysOfIt) {
  v1::Incident incident;
  incident.mutable_restart()->set_cause(v1::Restart::CRASH_LOOP);
  Add(&incident, "workload.restarts", 5, 1e-4);
  EXPECT_THAT(Explained(incident), HasSubstr("A fact, not an estimate"));
  incident.set_feedback("false_alarm");
  EXPECT_THAT(Explained(incident), HasSubstr("its like is told all the same"));
  EXPECT_THAT(Explained(incident), Not(HasSubstr("has to be rarer")));
}

TEST(Explain, RestartsAreCountedByTheHourAndEverythingElseByTheTick) {
  v1::Incident incident;
  incident.mutable_restart()->set_cause(v1::Restart::CRASH_LOOP);
  Add(&incident, "workload.restarts", 5, 1e-2);
  EXPECT_THAT(Explained(incident), HasSubstr("about 1 in 100 hours"));
  (*Add(&incident, "workload.exits", 5, 1e-3).mutable_attributes())["reason"] = "code";
  EXPECT_THAT(Explained(incident), HasSubstr("about 1 in 1000 ticks"));
}

TEST(Explain, AVictimOfAFactIsToldForThat) {
  v1::Incident incident;
  Add(&incident, "process.cpu.run_delay", 0.5, 1e-3).set_unit("s/s");
  incident.add_related_incident_ids("0123456789abcdef");
  EXPECT_THAT(Explained(incident), HasSubstr("It waits for what another workload took"));
}

TEST(Explain, AnEstimateSaysHowRareAndWhatFeedbackMadeOfIt) {
  v1::Incident incident;
  Add(&incident, "process.cpu.utilization", 0.9, 1e-6);
  incident.set_recurrences_per_week(0.25);
  incident.set_promised_per_week(1);
  incident.set_feedback_factor(50);
  incident.set_feedback("false_alarm");
  EXPECT_THAT(Explained(incident), HasSubstr("once in 4 weeks; you allow 1 false alarms a week"));
  EXPECT_THAT(Explained(incident), HasSubstr("50 times rarer than otherwise"));
  EXPECT_THAT(Explained(incident), HasSubstr("has to be rarer from then on"));
}

TEST(Explain, AClockThatWentBackIsBelowARangeOnBothSidesOfNothing) {
  v1::Contribution c;
  c.set_signal("host.clock.jump");
  c.set_unit("s");
  c.set_observed(-3600);
  c.set_lower(-5);
  c.set_upper(5);
  EXPECT_THAT(ObservedAndExpected(c), HasSubstr("-5 s to 5 s"));
}

}  // namespace
}  // namespace outlier::ctl
