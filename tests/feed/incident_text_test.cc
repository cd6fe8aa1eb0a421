#include "userspace/stream/incident_text.h"

#include <csignal>

#include <gtest/gtest.h>

namespace outlier {
namespace {

v1::Incident With(const std::string& name, const std::string& signal, const std::string& unit, double observed, double lower, double upper) {
  v1::Incident i;
  i.mutable_workload()->set_name(name);
  v1::Contribution* c = i.add_contributions();
  c->set_signal(signal);
  c->set_unit(unit);
  c->set_direction(v1::Contribution::UP);
  c->set_observed(observed);
  c->set_expected((lower + upper) / 2);
  c->set_lower(lower);
  c->set_upper(upper);
  return i;
}

std::string Clock(int64_t wall_ns) { return "at " + std::to_string(wall_ns / 1'000'000'000); }

constexpr double kMiB = 1 << 20;

TEST(IncidentText, ALeakSaysSizeBoundsGrowthAndTimeLeft) {
  v1::Incident i = With("redis-server", "process.memory.usage", "By", 412 * kMiB, 96.4 * kMiB, 118 * kMiB);
  i.set_pattern(v1::Incident::DRIFT);
  i.set_growth_per_second(5.1 * kMiB);
  i.mutable_time_to_exhaustion()->set_seconds(540);
  EXPECT_EQ(SummarySentence(i), "redis-server: resident memory 412 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s, full in about 9 min");
}

TEST(IncidentText, AChangeSaysSinceWhen) {
  v1::IncidentChange change;
  change.set_kind(v1::IncidentChange::OPENED);
  *change.mutable_incident() = With("db", "process.cpu.utilization", "1", 0.97, 0.02, 0.05);
  change.mutable_incident()->set_pattern(v1::Incident::STEP);
  change.mutable_incident()->set_severity(v1::Incident::CRITICAL);
  change.mutable_incident()->set_score(91.2);
  change.mutable_incident()->mutable_onset_time()->set_seconds(77);
  EXPECT_EQ(ChangeSentence(change, Clock), "opened, critical (score 91): db: CPU 97 % of a core, expected 2.0-5.0 %, higher since at 77");
}

TEST(IncidentText, ACrashLoopSaysHowOftenAndWithWhichCode) {
  v1::Incident i;
  i.mutable_workload()->set_name("billing.js");
  i.mutable_restart()->set_cause(v1::Restart::CRASH_LOOP);
  i.mutable_restart()->set_count(4);
  i.mutable_restart()->set_exit_code(1);
  EXPECT_EQ(SummarySentence(i), "billing.js: restarted 4 times, exit code 1 (crash loop)");
}

TEST(IncidentText, AKillBySomeoneIsNotTakenForAnOomKill) {
  v1::Incident i;
  i.mutable_workload()->set_name("w");
  i.mutable_restart()->set_cause(v1::Restart::KILLED);
  i.mutable_restart()->set_signal(SIGKILL);
  EXPECT_EQ(SummarySentence(i), "w: killed by SIGKILL, not for lack of memory");
}

TEST(IncidentText, EveryRestartCauseHasWordsOfItsOwn) {
  std::vector<std::string> seen;
  for (int cause = v1::Restart::Cause_MIN; cause <= v1::Restart::Cause_MAX; ++cause) {
    v1::Incident i;
    i.mutable_workload()->set_name("w");
    i.mutable_restart()->set_cause(static_cast<v1::Restart::Cause>(cause));
    i.mutable_restart()->set_count(3);
    const std::string sentence = SummarySentence(i);
    for (const std::string& other : seen) EXPECT_NE(sentence, other) << v1::Restart::Cause_Name(i.restart().cause());
    seen.push_back(sentence);
  }
}

TEST(IncidentText, EveryPatternHasWordsOfItsOwn) {
  std::vector<std::string> seen;
  for (int pattern = v1::Incident::Pattern_MIN; pattern <= v1::Incident::Pattern_MAX; ++pattern) {
    v1::Incident i = With("w", "process.thread.count", "{thread}", 40, 8, 9);
    i.set_pattern(static_cast<v1::Incident::Pattern>(pattern));
    const std::string sentence = SummarySentence(i);
    for (const std::string& other : seen) EXPECT_NE(sentence, other);
    seen.push_back(sentence);
  }
}

TEST(IncidentText, SlowFileCallsAreToldInMilliseconds) {
  v1::Incident i = With("reader", "process.syscall.duration", "s", 0.0502, 90e-6, 210e-6);
  (*i.mutable_contributions(0)->mutable_attributes())["syscall.class"] = "file";
  i.set_pattern(v1::Incident::SHAPE);
  EXPECT_EQ(SummarySentence(i), "reader: time of file syscalls 50.2 ms, expected 90-210 µs, slower");
}

TEST(IncidentText, NamesCannotSteerTheTerminal) {
  v1::Incident i = With("\x1b[2Jevil\nname", "process.thread.count", "{thread}", 1, 2, 3);
  i.add_suspects()->mutable_workload()->set_name("\rbad");
  const std::string sentence = SummarySentence(i);
  for (const char c : sentence) EXPECT_FALSE(static_cast<unsigned char>(c) < 0x20) << sentence;
  EXPECT_NE(sentence.find("\\x1b[2Jevil\\x0aname"), std::string::npos);
}

TEST(IncidentText, LossesAndSuspectsAreSaid) {
  v1::Incident i = With("w", "process.disk.io", "By/s", 50 * kMiB, 0, 2 * kMiB);
  (*i.mutable_contributions(0)->mutable_attributes())["disk.io.direction"] = "write";
  i.set_pattern(v1::Incident::STEP);
  i.mutable_coverage()->set_sampled_share(0.4);
  i.mutable_coverage()->set_events_lost(3);
  v1::Suspect* s = i.add_suspects();
  s->mutable_workload()->set_name("stress");
  s->mutable_process()->set_pid(12);
  EXPECT_EQ(SummarySentence(i),
            "w: disk writes 50.0 MiB/s, expected at most 2.0 MiB/s, higher; first suspect: stress (pid 12); 40 % of the time observed; 3 events "
            "lost meanwhile");
}

}  // namespace
}  // namespace outlier
