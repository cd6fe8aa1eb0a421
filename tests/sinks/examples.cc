#include "tests/sinks/examples.h"

#include <limits>
#include <utility>

#include <fmt/format.h>

namespace outlier::examples {
namespace {

constexpr int64_t kOnset = 1'772'359'200;  // 2026-03-01T10:00:00Z
constexpr double kMiB = 1 << 20;

void Set(google::protobuf::Timestamp* time, double seconds_after_onset) {
  const auto milliseconds = static_cast<int64_t>(seconds_after_onset * 1000);
  time->set_seconds(kOnset + milliseconds / 1000);
  time->set_nanos(static_cast<int32_t>(milliseconds % 1000) * 1'000'000);
}

Finding Of(uint64_t sequence, v1::IncidentChange::Kind kind, double seconds, v1::Incident incident) {
  Finding finding;
  finding.change.set_sequence(sequence);
  finding.change.set_kind(kind);
  Set(finding.change.mutable_time(), seconds);
  *finding.change.mutable_incident() = std::move(incident);
  finding.labels = std::make_shared<Labels>(Labels{{"environment", "production"}, {"team", "storage"}});
  return finding;
}

v1::Contribution* Add(v1::Incident* incident, const std::string& signal, const std::string& unit, v1::Contribution::Direction direction, double observed,
                      double expected, double lower, double upper, double tail_probability) {
  v1::Contribution* c = incident->add_contributions();
  c->set_signal(signal);
  c->set_unit(unit);
  c->set_direction(direction);
  c->set_observed(observed);
  c->set_expected(expected);
  c->set_lower(lower);
  c->set_upper(upper);
  c->set_tail_probability(tail_probability);
  return c;
}

void AddEvent(v1::Incident* incident, const std::string& kind, double seconds, const std::string& detail) {
  v1::LifeEvent* event = incident->add_changes();
  event->set_kind(kind);
  Set(event->mutable_time(), seconds);
  event->set_detail(detail);
}

v1::Workload RedisWorkload() {
  v1::Workload w;
  w.set_name("redis-server.service");
  w.set_kind(v1::Workload::SYSTEMD_UNIT);
  w.set_executable("/usr/bin/redis-server");
  w.set_unit("redis-server.service");
  w.set_user("redis");
  return w;
}

v1::Workload BackupWorkload() {
  v1::Workload w;
  w.set_name("backup");
  w.set_kind(v1::Workload::EXECUTABLE);
  w.set_executable("/usr/local/bin/backup");
  w.set_user("root");
  return w;
}

v1::Workload BillingWorkload() {
  v1::Workload w;
  w.set_name("billing-7d9f/billing.js");
  w.set_kind(v1::Workload::CONTAINER);
  w.set_executable("/usr/local/bin/node");
  w.set_container_id("4be1c92f7d0a5e6638c1d2f40b9a7e51c3d8f60a2b47e9150c6d3f8a1e7b9024");
  w.set_pod("billing-7d9f");
  w.set_namespace_("shop");
  w.set_user("node");
  w.set_script("/srv/billing.js");
  return w;
}

v1::Incident Drift() {
  v1::Incident i;
  i.set_id(kIncidentId);
  *i.mutable_source() = Source();
  i.set_state(v1::Incident::OPEN);
  i.set_severity(v1::Incident::MAJOR);
  i.set_score(61.5);
  i.set_summary("redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s, full in about 9 min");
  *i.mutable_workload() = RedisWorkload();
  Set(i.mutable_onset_time(), 0);
  Set(i.mutable_opened_time(), 24.25);
  Set(i.mutable_updated_time(), 24.25);
  i.set_pattern(v1::Incident::DRIFT);
  Add(&i, "process.memory.usage", "By", v1::Contribution::UP, 236 * kMiB, 107 * kMiB, 96.4 * kMiB, 118 * kMiB, 3.2e-11);
  (*Add(&i, "process.syscall.rate", "{call}/s", v1::Contribution::UP, 5120, 1200, 900, 1500, 4e-6)->mutable_attributes())["syscall.class"] = "file";
  AddEvent(&i, "opened", 24.25, "");
  i.mutable_coverage()->set_sampled_share(1);
  i.mutable_time_to_exhaustion()->set_seconds(540);
  i.set_growth_per_second(5.1 * kMiB);
  i.set_recurrences_per_week(0.013);
  i.set_promised_per_week(1);
  i.set_feedback_factor(1);
  return i;
}

v1::Incident Worse() {
  v1::Incident i = Drift();
  i.set_severity(v1::Incident::CRITICAL);
  i.set_score(91.25);
  i.set_summary("redis-server.service: resident memory 412 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s, full in about 6 min");
  Set(i.mutable_updated_time(), 60.5);
  i.mutable_contributions(0)->set_observed(412 * kMiB);
  i.mutable_contributions(0)->set_tail_probability(1e-16);
  i.mutable_time_to_exhaustion()->set_seconds(360);
  i.set_recurrences_per_week(0.0004);
  v1::Suspect* first = i.add_suspects();
  *first->mutable_workload() = BackupWorkload();
  first->mutable_process()->set_pid(4242);
  first->mutable_process()->set_executable("/usr/local/bin/backup");
  first->set_share(0.75);
  first->add_evidence("started 3 s before the onset");
  first->add_evidence("its disk reads rose from 0 to 180 MiB/s");
  v1::Suspect* second = i.add_suspects();
  *second->mutable_workload() = RedisWorkload();
  second->mutable_process()->set_pid(811);
  second->mutable_process()->set_executable("/usr/bin/redis-server");
  second->set_share(0.25);
  second->add_evidence("it departs itself");
  i.add_related_incident_ids("1c02d9e7f04b6a83");
  AddEvent(&i, "severity", 60.5, "major to critical");
  i.mutable_coverage()->set_events_lost(12);
  i.mutable_coverage()->set_sampled_share(0.98);
  i.mutable_coverage()->add_probes_missing("syscall_latency");
  return i;
}

v1::Incident Known() {
  v1::Incident i = Worse();
  i.set_acknowledged(true);
  Set(i.mutable_updated_time(), 120);
  AddEvent(&i, "acknowledged", 120, "by mira");
  return i;
}

v1::Incident Judged() {
  v1::Incident i = Known();
  i.set_feedback("useful");
  Set(i.mutable_updated_time(), 180);
  AddEvent(&i, "feedback", 180, "useful, by mira");
  return i;
}

// In the order in which Hostile() takes them.
const std::vector<std::string>& Attacks() {
  static const auto& attacks = *new std::vector<std::string>{
      "\"},{\"index\":{\"_index\":\"owned\"}}\n{\"a\":1}",
      "<script>alert('x')</script>&amp;<!here>*_~`|[x](javascript:0)",
      "line\r\nX-Injected: 1\r\n\r\n",
      std::string("nul\0and\x1b[31mescape\x7f\x08", 20),
      "../../etc/passwd?a=b&c=d#e%0d%0a%00",
      "\xe2\x80\xae" "evitceffe\xe2\x80\xac \xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf \xf0\x9f\x92\xa5 \xc3\xa9\xcc\x81 \xef\xbf\xbf",
      "${jndi:ldap://x}{{7*7}}{0}%s%n$(id)`id`';DROP TABLE incidents;--\\",
      std::string(3000, 'A') + "\xe2\x82\xac",
      " \t leading and trailing \t ",
  };
  return attacks;
}

}  // namespace

WallTime Now() { return WallTime(std::chrono::seconds(kOnset + 1200)); }

v1::Source Source() {
  v1::Source source;
  source.set_host_id("c0ffee5a1d3e4b6f8a7c9e2d1f0b3a54");
  source.set_host_name("db-1");
  source.set_boot_id("7a1e2c9d-4f3b-4c58-9e60-b1d2a3c4e5f6");
  source.set_feed_id(kFeedId);
  return source;
}

Finding Opened() { return Of(101, v1::IncidentChange::OPENED, 24.25, Drift()); }
Finding Updated() { return Of(102, v1::IncidentChange::UPDATED, 60.5, Worse()); }
Finding Acknowledged() { return Of(103, v1::IncidentChange::ACKNOWLEDGED, 120, Known()); }
Finding Feedback() { return Of(104, v1::IncidentChange::FEEDBACK, 180, Judged()); }

Finding Resolved() {
  v1::Incident i = Judged();
  i.set_state(v1::Incident::RESOLVED);
  Set(i.mutable_updated_time(), 600.125);
  Set(i.mutable_resolved_time(), 600.125);
  AddEvent(&i, "resolved", 600.125, "");
  return Of(105, v1::IncidentChange::RESOLVED, 600.125, i);
}

std::vector<Finding> Life() { return {Opened(), Updated(), Acknowledged(), Feedback(), Resolved()}; }

Finding RestartLoop() {
  v1::Incident i;
  i.set_id("0be7d41c93a2f856");
  *i.mutable_source() = Source();
  i.set_state(v1::Incident::OPEN);
  i.set_severity(v1::Incident::CRITICAL);
  i.set_score(80);
  i.set_summary("billing-7d9f/billing.js: restarted 4 times, exit code 1 (crash loop)");
  *i.mutable_workload() = BillingWorkload();
  Set(i.mutable_onset_time(), 300);
  Set(i.mutable_opened_time(), 330);
  Set(i.mutable_updated_time(), 330);
  i.set_pattern(v1::Incident::COUNT);
  i.mutable_restart()->set_cause(v1::Restart::CRASH_LOOP);
  i.mutable_restart()->set_exit_code(1);
  i.mutable_restart()->set_count(4);
  Add(&i, "workload.restarts", "{restart}", v1::Contribution::UP, 4, 0, 0, 0, 1e-9);
  AddEvent(&i, "opened", 330, "");
  i.mutable_coverage()->set_sampled_share(1);
  i.set_promised_per_week(1);
  i.set_feedback_factor(1);
  return Of(106, v1::IncidentChange::OPENED, 330, i);
}

Finding Silenced() {
  v1::Incident i;
  i.set_id("77aa0c3de1f4925b");
  *i.mutable_source() = Source();
  i.set_state(v1::Incident::OPEN);
  i.set_severity(v1::Incident::MINOR);
  i.set_score(31);
  i.set_summary("backup: disk reads 180 MiB/s, expected at most 12 MiB/s, higher");
  *i.mutable_workload() = BackupWorkload();
  Set(i.mutable_onset_time(), 400);
  Set(i.mutable_opened_time(), 410);
  Set(i.mutable_updated_time(), 410);
  i.set_pattern(v1::Incident::STEP);
  (*Add(&i, "process.disk.io", "By/s", v1::Contribution::UP, 180 * kMiB, 4 * kMiB, 0, 12 * kMiB, 2e-7)->mutable_attributes())["direction"] = "read";
  i.mutable_coverage()->set_sampled_share(1);
  Finding finding = Of(107, v1::IncidentChange::OPENED, 410, i);
  finding.silence.emplace();
  finding.silence->set_id("window-7");
  finding.silence->mutable_match()->set_workload("backup*");
  Set(finding.silence->mutable_starts(), 0);
  Set(finding.silence->mutable_ends(), 3600);
  finding.silence->set_author("mira");
  finding.silence->set_reason("the yearly full backup");
  return finding;
}

Finding Minimal() {
  v1::Incident i;
  i.set_id("00000000000000a1");
  i.mutable_source()->set_feed_id(kFeedId);
  Finding finding = Of(108, v1::IncidentChange::OPENED, 500, i);
  finding.labels = std::make_shared<Labels>();
  return finding;
}

std::vector<std::string> HostileTexts() { return Attacks(); }

Finding Hostile() {
  const std::vector<std::string>& a = Attacks();
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  v1::Incident i = Worse();
  i.set_id("d00dfeed00c0ffee");
  i.mutable_source()->set_host_name(a[2]);
  i.mutable_source()->set_host_id(a[4]);
  i.mutable_source()->set_boot_id(a[6]);
  i.set_summary(a[0] + a[1] + a[2] + a[3]);
  i.mutable_workload()->set_name(a[0]);
  i.mutable_workload()->set_executable("/tmp/" + a[3]);
  i.mutable_workload()->set_container_id(a[4]);
  i.mutable_workload()->set_unit(a[5]);
  i.mutable_workload()->set_pod(a[6]);
  i.mutable_workload()->set_namespace_(a[7]);
  i.mutable_workload()->set_user(a[8]);
  i.mutable_workload()->set_script(a[1]);
  i.set_feedback(a[6]);
  i.mutable_contributions(0)->set_observed(infinity);
  i.mutable_contributions(0)->set_expected(nan);
  i.mutable_contributions(0)->set_lower(-infinity);
  i.mutable_contributions(0)->set_upper(std::numeric_limits<double>::max());
  i.mutable_contributions(0)->set_tail_probability(std::numeric_limits<double>::denorm_min());
  i.mutable_contributions(0)->set_signal(a[4]);
  i.mutable_contributions(0)->set_unit(a[0]);
  (*i.mutable_contributions(0)->mutable_attributes())[a[1]] = a[7];
  i.mutable_suspects(0)->mutable_workload()->set_name(a[1]);
  i.mutable_suspects(0)->mutable_process()->set_executable(a[2]);
  i.mutable_suspects(0)->mutable_process()->set_pid(-1);
  i.mutable_suspects(0)->set_share(nan);
  i.mutable_suspects(0)->set_evidence(0, a[0] + a[7]);
  i.mutable_coverage()->set_events_lost(std::numeric_limits<uint64_t>::max());
  i.mutable_coverage()->add_probes_missing(a[5]);
  i.add_related_incident_ids(a[4]);
  i.mutable_restart()->set_cause(v1::Restart::KILLED);
  i.mutable_restart()->set_signal(std::numeric_limits<int32_t>::max());
  i.mutable_restart()->set_exit_code(std::numeric_limits<int32_t>::min());
  i.mutable_restart()->set_count(std::numeric_limits<uint32_t>::max());
  AddEvent(&i, a[1], 70, a[3]);
  Finding finding = Of(109, v1::IncidentChange::UPDATED, 510, i);
  finding.labels = std::make_shared<Labels>(Labels{{"environment", a[6]}, {"team", a[5]}});
  finding.silence.emplace();
  finding.silence->set_id("window-8");
  finding.silence->set_author(a[1]);
  finding.silence->set_reason(a[2]);
  return finding;
}

Finding Huge() {
  v1::Incident i = Worse();
  i.set_id("4c61726765204f6e");
  i.clear_contributions();
  for (int n = 0; n < 200; ++n) {
    v1::Contribution* c = Add(&i, fmt::format("process.syscall.rate.{}", n), "{call}/s", v1::Contribution::UP, 5120.5 + n, 1200.25, 900.125, 1500.75, 4e-6);
    (*c->mutable_attributes())["syscall.class"] = fmt::format("class {}", n);
  }
  i.clear_suspects();
  for (int n = 0; n < 100; ++n) {
    v1::Suspect* s = i.add_suspects();
    *s->mutable_workload() = BackupWorkload();
    s->mutable_workload()->set_name(fmt::format("backup-{}", n));
    s->mutable_process()->set_pid(1000 + n);
    s->set_share(0.01);
    for (int k = 0; k < 20; ++k) s->add_evidence(fmt::format("its disk reads rose from {} to {} MiB/s, {}", k, 180 + k, std::string(100, 'e')));
  }
  i.clear_changes();
  for (int n = 0; n < 50; ++n) AddEvent(&i, "contribution", 60 + n, std::string(200, 'd'));
  return Of(110, v1::IncidentChange::UPDATED, 520, i);
}

Finding GapRecord() {
  v1::Incident i;
  *i.mutable_source() = Source();
  Finding finding = Of(0, v1::IncidentChange::KIND_UNSPECIFIED, 530, i);
  finding.gap = Gap{60, 99, 40, "compacted"};
  return finding;
}

Finding UnknownGap() {
  Finding finding = GapRecord();
  Set(finding.change.mutable_time(), 540);
  finding.gap = Gap{0, 0, 0, "feed_replaced"};
  return finding;
}

std::vector<Finding> All() {
  std::vector<Finding> all = Life();
  for (Finding& finding : std::vector<Finding>{RestartLoop(), Silenced(), Minimal(), Hostile(), Huge(), GapRecord(), UnknownGap()}) {
    all.push_back(std::move(finding));
  }
  return all;
}

std::vector<Finding> Many(size_t count, uint64_t first) {
  std::vector<Finding> many;
  many.reserve(count);
  const auto labels = Opened().labels;
  for (size_t n = 0; n < count; ++n) {
    v1::Incident i = Worse();
    i.set_id(fmt::format("{:016x}", 0x9e3779b97f4a7c15ull * (n + 1)));
    i.mutable_workload()->set_name(fmt::format("worker-{}.service", n % 50));
    i.mutable_workload()->set_unit(i.workload().name());
    Finding finding = Of(first + n, v1::IncidentChange::OPENED, 24.25 + static_cast<double>(n) * 0.01, std::move(i));
    finding.labels = labels;
    many.push_back(std::move(finding));
  }
  return many;
}

Samples Scores() {
  Samples samples;
  samples.source = Source();
  Set(samples.sample.mutable_time(), 610);
  samples.sample.set_tick(4711);
  const auto add = [&](v1::Workload workload, double score, uint32_t processes, uint64_t memory) {
    v1::WorkloadState* state = samples.sample.add_workloads();
    *state->mutable_workload() = std::move(workload);
    state->set_processes(processes);
    state->set_uptime_seconds(86'400.5);
    state->set_cpu_utilization(0.37);
    state->set_memory_bytes(memory);
    state->set_score(score);
    state->set_main_pid(811);
    state->set_cpu_seconds(1234.5);
    state->set_processes_started(17);
    state->set_processes_ended(16);
  };
  add(RedisWorkload(), 91.25, 1, 412 << 20);
  add(BillingWorkload(), 80, 2, 90 << 20);
  add(BackupWorkload(), 0, 1, 12 << 20);
  samples.sample.mutable_workloads(1)->set_restarts(4);
  samples.sample.mutable_workloads(2)->set_warming_up(true);
  samples.labels = Opened().labels;
  return samples;
}

Samples Signals() {
  Samples samples = Scores();
  for (v1::WorkloadState& state : *samples.sample.mutable_workloads()) {
    const auto add = [&](const std::string& signal, const std::string& unit, double value) {
      v1::SeriesValue* series = state.add_values();
      series->set_signal(signal);
      series->set_unit(unit);
      series->set_value(value);
      return series;
    };
    add("process.cpu.utilization", "1", 0.37);
    add("process.memory.usage", "By", static_cast<double>(state.memory_bytes()));
    (*add("process.syscall.rate", "{call}/s", 5120)->mutable_attributes())["syscall.class"] = "file";
    (*add("process.syscall.rate", "{call}/s", 80)->mutable_attributes())["syscall.class"] = "network";
    (*add("process.syscall.duration", "s", 12.5e-6)->mutable_attributes())["syscall.class"] = "file";
    add("workload.restarts", "{restart}", static_cast<double>(state.restarts()));
  }
  return samples;
}

Samples HostStatus() {
  Samples samples = Signals();
  v1::Status& status = samples.status.emplace();
  status.set_version("0.1.0");
  *status.mutable_source() = Source();
  status.mutable_uptime()->set_seconds(86'400);
  status.mutable_uptime()->set_nanos(250'000'000);
  status.set_ticks(86'400);
  status.set_workloads(112);
  status.set_processes(431);
  status.set_series(4928);
  status.set_warming_up(3);
  v1::Budgets& budgets = *status.mutable_budgets();
  budgets.set_false_alarms_per_week_promised(1);
  budgets.set_false_alarms_per_week_told(3);
  budgets.set_false_alarms_per_week_achieved(0.8);
  budgets.set_false_alarms_per_week_lower(0.1);
  budgets.set_false_alarms_per_week_upper(2.9);
  budgets.set_false_alarms_per_week_expected(1.02);
  budgets.set_cpu_percent_promised(1);
  budgets.set_cpu_percent_achieved(0.31);
  budgets.set_memory_promised_bytes(128 << 20);
  budgets.set_memory_achieved_bytes(61 << 20);
  budgets.set_watched_seconds(86'000);
  status.mutable_overhead()->set_cpu_in_kernel_percent(0.12);
  status.mutable_overhead()->set_cpu_own_percent(0.19);
  for (const auto& [name, count] : std::vector<std::pair<std::string, uint64_t>>{{"exec_over_rate", 3}, {"ring_full_exec", 0}, {"workloads_full", 1}}) {
    v1::LossCounter* loss = status.add_losses();
    loss->set_name(name);
    loss->set_count(count);
    loss->set_meaning("what it means");
  }
  status.set_last_sequence(110);
  status.set_open_incidents(4);
  status.set_mode("ebpf");
  return samples;
}

Samples HostileSamples() {
  const std::vector<std::string>& a = Attacks();
  Samples samples = HostStatus();
  samples.source.set_host_name(a[2]);
  samples.source.set_host_id(a[0]);
  v1::WorkloadState& state = *samples.sample.mutable_workloads(0);
  state.mutable_workload()->set_name(a[0]);
  state.mutable_workload()->set_pod(a[7]);
  state.mutable_workload()->set_user(a[3]);
  state.set_score(std::numeric_limits<double>::quiet_NaN());
  state.set_cpu_utilization(std::numeric_limits<double>::infinity());
  state.set_memory_bytes(std::numeric_limits<uint64_t>::max());
  state.mutable_values(0)->set_signal(a[4]);
  state.mutable_values(0)->set_value(-std::numeric_limits<double>::infinity());
  (*state.mutable_values(1)->mutable_attributes())[a[1]] = a[6];
  samples.status->mutable_losses(0)->set_name(a[5]);
  samples.status->mutable_losses(1)->set_count(std::numeric_limits<uint64_t>::max());
  samples.labels = std::make_shared<Labels>(Labels{{"environment", a[6]}});
  return samples;
}

Page PageOf(Page::Action action, Finding finding) {
  Page page;
  page.action = action;
  page.key = IncidentKey(finding.incident());
  page.finding = std::move(finding);
  return page;
}

std::vector<Page> Pages() {
  std::vector<Page> pages = {PageOf(Page::Action::kOpen, Opened()), PageOf(Page::Action::kUpdate, Updated()), PageOf(Page::Action::kRepeat, Updated()),
                             PageOf(Page::Action::kAcknowledge, Acknowledged()), PageOf(Page::Action::kResolve, Resolved())};
  pages[0].related = {"backup: disk reads 180 MiB/s, expected at most 12 MiB/s, higher"};
  Page digest;
  digest.action = Page::Action::kDigest;
  digest.key = "digest-1772359800";
  digest.text = "While this sink could not be reached, 3 incidents opened and 2 of them resolved.\n2 pages were withheld: more than 60 an hour.";
  digest.finding.change.set_sequence(0);
  Set(digest.finding.change.mutable_time(), 600);
  *digest.finding.change.mutable_incident()->mutable_source() = Source();
  digest.finding.labels = Opened().labels;
  pages.push_back(std::move(digest));
  return pages;
}

}  // namespace outlier::examples
