// Pages and findings for the tests of pagers, Slack and webhook: one incident's life, a crash loop, names that attack, the least there can be.
#pragma once
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "userspace/config/message_from_yaml.h"
#include "userspace/sinks/sink.h"
#include "userspace/sinks/wire.h"

namespace outlier::page_examples {

inline constexpr int64_t kOnset = 1'772'359'200;  // 2026-03-01T10:00:00Z
inline constexpr char kKey[] = "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:9a3f6c1e55d07b28";

inline WallTime At(double seconds_after_onset) {
  return WallTime(std::chrono::milliseconds(kOnset * 1000 + static_cast<int64_t>(seconds_after_onset * 1000)));
}

inline void Set(google::protobuf::Timestamp* time, double seconds_after_onset) { *time = ToTimestamp(At(seconds_after_onset)); }

inline void AddEvent(v1::Incident* incident, const std::string& kind, double seconds, const std::string& detail) {
  v1::LifeEvent* event = incident->add_changes();
  event->set_kind(kind);
  Set(event->mutable_time(), seconds);
  event->set_detail(detail);
}

inline Finding Of(uint64_t sequence, v1::IncidentChange::Kind kind, double seconds, v1::Incident incident) {
  Finding finding;
  finding.change.set_sequence(sequence);
  finding.change.set_kind(kind);
  Set(finding.change.mutable_time(), seconds);
  *finding.change.mutable_incident() = std::move(incident);
  finding.labels = std::make_shared<Labels>(Labels{{"environment", "production"}, {"team", "storage"}});
  return finding;
}

// Resident memory of redis-server.service drifts on db-1.
inline Finding Opened() {
  v1::Incident i;
  i.set_id("9a3f6c1e55d07b28");
  i.mutable_source()->set_host_name("db-1");
  i.mutable_source()->set_feed_id("5f0c9a62d1b84c7e9b1f3a7d2e6c8b40");
  i.set_state(v1::Incident::OPEN);
  i.set_severity(v1::Incident::MAJOR);
  i.set_score(61.5);
  i.set_summary("redis-server.service: resident memory 236 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s");
  i.mutable_workload()->set_name("redis-server.service");
  i.mutable_workload()->set_kind(v1::Workload::SYSTEMD_UNIT);
  i.mutable_workload()->set_namespace_("shop");
  Set(i.mutable_onset_time(), 0);
  Set(i.mutable_opened_time(), 24.25);
  i.set_pattern(v1::Incident::DRIFT);
  v1::Contribution* c = i.add_contributions();
  c->set_signal("process.memory.usage");
  c->set_unit("By");
  c->set_direction(v1::Contribution::UP);
  c->set_observed(236 << 20);
  c->set_expected(107 << 20);
  c->set_lower(96 << 20);
  c->set_upper(118 << 20);
  c->set_tail_probability(3e-11);
  AddEvent(&i, "opened", 24.25, "");
  return Of(101, v1::IncidentChange::OPENED, 24.25, i);
}

// CRITICAL now, with a suspect.
inline Finding Escalated() {
  v1::Incident i = Opened().incident();
  i.set_severity(v1::Incident::CRITICAL);
  i.set_score(91.25);
  i.set_summary("redis-server.service: resident memory 412 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s");
  v1::Suspect* suspect = i.add_suspects();
  suspect->mutable_workload()->set_name("backup");
  suspect->mutable_process()->set_pid(4242);
  suspect->set_share(0.75);
  suspect->add_evidence("started 3 s before the onset");
  AddEvent(&i, "severity", 60.5, "severity rose to CRITICAL");
  return Of(102, v1::IncidentChange::UPDATED, 60.5, i);
}

// The same, a minute later, nothing new.
inline Finding GoingOn() {
  v1::Incident i = Escalated().incident();
  AddEvent(&i, "updated", 120, "still going on");
  return Of(103, v1::IncidentChange::UPDATED, 120, i);
}

inline Finding Acknowledged() {
  v1::Incident i = GoingOn().incident();
  i.set_acknowledged(true);
  AddEvent(&i, "acknowledged", 180, "by night shift");
  return Of(104, v1::IncidentChange::ACKNOWLEDGED, 180, i);
}

inline Finding Resolved() {
  v1::Incident i = Acknowledged().incident();
  i.set_state(v1::Incident::RESOLVED);
  Set(i.mutable_resolved_time(), 600.125);
  AddEvent(&i, "resolved", 600.125, "back to normal");
  return Of(105, v1::IncidentChange::RESOLVED, 600.125, i);
}

inline Finding CrashLoop() {
  v1::Incident i;
  i.set_id("0be7d41c93a2f856");
  *i.mutable_source() = Opened().incident().source();
  i.set_severity(v1::Incident::CRITICAL);
  i.set_score(80);
  i.set_summary("billing.js: restarted 4 times, exit code 1 (crash loop)");
  i.mutable_workload()->set_name("billing.js");
  i.mutable_restart()->set_cause(v1::Restart::CRASH_LOOP);
  i.mutable_restart()->set_exit_code(1);
  i.mutable_restart()->set_count(4);
  Set(i.mutable_onset_time(), 300);
  return Of(106, v1::IncidentChange::OPENED, 330, i);
}

// All that is sure.
inline Finding Bare() {
  Finding finding;
  finding.change.set_sequence(108);
  finding.change.set_kind(v1::IncidentChange::OPENED);
  finding.change.mutable_incident()->set_id("00000000000000a1");
  finding.labels = std::make_shared<Labels>();
  return finding;
}

inline const std::vector<std::string>& Attacks() {
  static const auto& attacks = *new std::vector<std::string>{
      "\"},\"routing_key\":\"x\\", "<!channel> <https://evil.example|click> & *bold* `code`", "line\r\nX-Injected: 1\r\n\r\nbody",
      std::string("nul\0esc\x1b[31m\x7f", 13), "../../v2/alerts?identifierType=id#%0d%0a", std::string(6000, 'A') + "\xe2\x82\xac", "bad\xff\xfeutf8"};
  return attacks;
}

inline Finding Hostile() {
  const auto& a = Attacks();
  v1::Incident i = Escalated().incident();
  i.set_id(a[4]);
  i.set_summary(a[1] + a[2] + a[0]);
  i.mutable_source()->set_host_name(a[2]);
  i.mutable_workload()->set_name(a[5]);
  i.mutable_workload()->set_namespace_(a[3]);
  i.mutable_contributions(0)->set_signal(a[0]);
  i.mutable_contributions(0)->set_unit(a[4]);
  i.mutable_contributions(0)->set_observed(std::numeric_limits<double>::infinity());
  i.mutable_contributions(0)->set_expected(std::numeric_limits<double>::quiet_NaN());
  (*i.mutable_contributions(0)->mutable_attributes())[a[1]] = a[2];
  i.mutable_suspects(0)->mutable_workload()->set_name(a[1]);
  i.mutable_suspects(0)->set_evidence(0, a[5]);
  i.mutable_onset_time()->set_seconds(std::numeric_limits<int64_t>::max());
  for (int n = 0; n < 200; ++n) *i.add_contributions() = i.contributions(0);
  Finding finding = Of(109, v1::IncidentChange::UPDATED, 510, i);
  finding.labels = std::make_shared<Labels>(Labels{{"severity", a[1]}, {"host", a[0]}, {"9 lives-", a[2]}, {"", a[5]}});
  return finding;
}

inline Page PageOf(Page::Action action, Finding finding) {
  Page page;
  page.action = action;
  page.key = kKey;
  page.finding = std::move(finding);
  return page;
}

inline Page DigestPage(bool quiet, v1::Incident::Severity worst = v1::Incident::MINOR) {
  Page page;
  page.action = Page::Action::kDigest;
  page.key = "digest-1772359800";
  page.text = "While this sink could not be reached, 3 incidents opened and 2 of them resolved.\n2 pages were withheld.";
  page.digest_quiet = quiet;
  if (!quiet) page.finding.change.mutable_incident()->set_severity(worst);
  Set(page.finding.change.mutable_time(), 600);
  page.finding.change.mutable_incident()->mutable_source()->set_host_name("db-1");
  page.finding.labels = Opened().labels;
  return page;
}

// Every page that a state sink may be given, hostile ones last.
inline std::vector<Page> AllPages() {
  using A = Page::Action;
  std::vector<Page> pages = {PageOf(A::kOpen, Opened()), PageOf(A::kUpdate, Escalated()), PageOf(A::kRepeat, GoingOn()),
                             PageOf(A::kAcknowledge, Acknowledged()), PageOf(A::kResolve, Resolved()), PageOf(A::kOpen, CrashLoop()),
                             PageOf(A::kOpen, Bare()), PageOf(A::kResolve, Bare()), DigestPage(true), DigestPage(false)};
  for (const A action : {A::kOpen, A::kUpdate, A::kRepeat, A::kAcknowledge, A::kResolve}) {
    pages.push_back(PageOf(action, Hostile()));
    for (int n = 0; n < 100; ++n) pages.back().related.push_back(Attacks()[n % Attacks().size()]);
  }
  return pages;
}

// A folder of key files that goes with the test.
class Keys {
 public:
  Keys() {
    std::string folder = (std::filesystem::temp_directory_path() / "outlier-pager-keys-XXXXXX").string();
    if (mkdtemp(folder.data()) == nullptr) std::abort();
    folder_ = folder;
  }
  ~Keys() { std::filesystem::remove_all(folder_); }
  std::string Write(const std::string& name, const std::string& content) {
    const auto path = folder_ / name, fresh = folder_ / (name + ".new");
    std::ofstream(fresh, std::ios::binary) << content << "\n";
    std::filesystem::last_write_time(fresh, std::filesystem::last_write_time(fresh) + std::chrono::seconds(++rotations_));
    std::filesystem::rename(fresh, path);
    return path.string();
  }
  void Remove(const std::string& name) { std::filesystem::remove(folder_ / name); }

 private:
  std::filesystem::path folder_;
  int rotations_ = 0;
};

inline SinkContext Context() {
  SinkContext context;
  context.version = "0.1.0";
  context.relay_host = "relay-1";
  context.config.set_name("oncall");
  return context;
}

inline Response Answer(int status, std::string body = "", Headers headers = {}) {
  Response response;
  response.status = status;
  response.body = std::move(body);
  response.headers = std::move(headers);
  return response;
}

inline Response Broken(Response::Failure failure) {
  Response response;
  response.failure = failure;
  response.failure_text = "it broke";
  return response;
}

// What an answer comes to: of one item, the word for what became of it.
inline std::string Word(const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::kItems: return outcome.items.size() == 1 && outcome.items[0] == ItemOutcome::kDelivered ? "delivered" : "items";
    case Outcome::Kind::kRetry: return "retry";
    case Outcome::Kind::kSuspend: return "suspend";
    case Outcome::Kind::kEnded: return "ended";
    case Outcome::Kind::kSplit: return "split";
    case Outcome::Kind::kRefused: return "refused";
  }
  return "?";
}

inline std::string HeaderOf(const Request& request, const std::string& name) {
  for (const auto& [key, value] : request.headers) {
    if (key == name) return value;
  }
  return "";
}

inline size_t Characters(const std::string& text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
}

// Whatever a name holds: a request is one line of ASCII as an address, headers without breaks, a body of JSON with no raw control
// character in any text, and the key nowhere but where it has to be and named as a secret.
inline void ExpectSafe(const Request& request, const std::string& secret) {
  for (const char c : request.url) ASSERT_TRUE(c > ' ' && c < 0x7f) << request.url;
  for (const auto& [name, value] : request.headers) {
    for (const char c : name + value) ASSERT_TRUE(static_cast<unsigned char>(c) >= ' ' && c != 0x7f) << name;
  }
  const Json body = ParseJson(request.body);
  ASSERT_FALSE(body.is_discarded()) << request.body;
  EXPECT_EQ(Dump(body), request.body);  // no name twice, nothing that is no UTF-8
  EXPECT_NE(std::find(request.secrets.begin(), request.secrets.end(), secret), request.secrets.end());
}

}  // namespace outlier::page_examples
