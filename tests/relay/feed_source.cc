// A source for the relay's tests: the real journal and the real feed server of outlierd, with changes that a test writes instead of an engine.
//
//   feed_source ADDRESS FOLDER HOST_NAME [RETAINED_SECONDS]
//
// Prints `feed <feed_id>` when it serves. Then one command a line on stdin, one answer a line on stdout: `ok <last_sequence>` or `error <text>`.
//   append JSON      one IncidentChange (protobuf's JSON mapping) to the journal, one tick each; source is filled in
//   burst N          N incidents, each opened and resolved, of about 2 KB a change, as fast as the journal takes them
//   day N           N changes as a day brings them: incidents of 3 to 7 kB that open, are updated and resolve, a hundred at a time
//   compact NS       forgets resolved incidents older than this wall time
//   lost N           tells subscribers that N changes could not be journalled
//   sample JSON      one SampleResponse to whoever watches samples
// End of stdin ends it.
#include <google/protobuf/util/json_util.h>

#include <iostream>
#include <mutex>
#include <random>
#include <sstream>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/status.h"
#include "userspace/feed/journal.h"
#include "userspace/feed/server.h"

namespace outlier {
namespace {

constexpr int kBurstTick = 200;  // changes a transaction

class View : public LiveView {
 public:
  View(const Journal* journal, v1::Source source, int64_t retained) : journal_(*journal), source_(std::move(source)), retained_(retained) {}
  v1::Status GetStatus() const override {
    v1::Status status;
    status.set_version("test");
    *status.mutable_source() = source_;
    status.set_last_sequence(journal_.last_sequence());
    status.set_oldest_sequence(journal_.oldest_sequence());
    status.mutable_feed_retained()->set_seconds(retained_);
    status.set_mode("ebpf");
    status.mutable_budgets()->set_false_alarms_per_week_promised(1);
    return status;
  }
  std::vector<v1::WorkloadState> Workloads() const override { return {}; }
  v1::QuerySeriesResponse Query(const v1::QuerySeriesRequest&) const override { return {}; }
  absl::StatusOr<v1::IncidentChange> Submit(Command, absl::Duration) override { return absl::UnimplementedError("a source of tests takes no commands"); }

 private:
  const Journal& journal_;
  const v1::Source source_;
  const int64_t retained_;
};

class Source {
 public:
  Source(Journal* journal, FeedServer* server, v1::Source source) : journal_(*journal), server_(*server), source_(std::move(source)), tick_(journal->last_tick()) {}

  absl::Status Obey(const std::string& line) {
    std::istringstream words(line);
    std::string command, rest;
    words >> command;
    std::getline(words >> std::ws, rest);
    if (command == "append") return Append(rest);
    if (command == "burst") return Burst(std::stoi(rest));
    if (command == "day") return Day(std::stoi(rest));
    if (command == "compact") return journal_.Compact(std::stoll(rest));
    if (command == "lost") {
      lost_ += std::stoull(rest);
      server_.ChangesAppended(journal_.last_sequence(), lost_);
      return absl::OkStatus();
    }
    if (command == "sample") return Sample(rest);
    return absl::InvalidArgumentError("no such command: " + command);
  }

 private:
  absl::Status Commit(std::vector<v1::IncidentChange>* changes) {
    for (v1::IncidentChange& change : *changes) *change.mutable_incident()->mutable_source() = source_;
    if (absl::Status status = journal_.Append(++tick_, changes); !status.ok()) return status;
    server_.ChangesAppended(journal_.last_sequence(), lost_);
    return absl::OkStatus();
  }
  absl::Status Append(const std::string& json) {
    std::vector<v1::IncidentChange> changes(1);
    if (const auto parsed = google::protobuf::util::JsonStringToMessage(json, &changes[0]); !parsed.ok()) return absl::InvalidArgumentError(std::string(parsed.message()));
    return Commit(&changes);
  }
  absl::Status Sample(const std::string& json) {
    v1::SampleResponse sample;
    if (const auto parsed = google::protobuf::util::JsonStringToMessage(json, &sample); !parsed.ok()) return absl::InvalidArgumentError(std::string(parsed.message()));
    server_.PublishSample(sample);
    return absl::OkStatus();
  }
  absl::Status Burst(int incidents) {
    std::vector<v1::IncidentChange> changes;
    for (int i = 0; i < incidents; ++i) {
      v1::IncidentChange change;
      v1::Incident& incident = *change.mutable_incident();
      const int64_t now = time(nullptr);
      incident.set_id(fmt::format("burst-{}-{}", tick_, i));
      incident.set_severity(v1::Incident::MAJOR);
      incident.set_score(60);
      incident.set_pattern(v1::Incident::STEP);
      incident.set_summary(fmt::format("service-{}: CPU 80 % of a core, expected 0.4-4.2 %, higher", i % 50));
      incident.mutable_workload()->set_name(fmt::format("service-{}", i % 50));
      incident.mutable_workload()->set_kind(v1::Workload::SYSTEMD_UNIT);
      for (auto* time : {change.mutable_time(), incident.mutable_onset_time(), incident.mutable_opened_time(), incident.mutable_updated_time()}) time->set_seconds(now);
      for (int k = 0; k < 6; ++k) {
        v1::Contribution& contribution = *incident.add_contributions();
        contribution.set_signal("process.syscall.duration");
        contribution.set_unit("s");
        (*contribution.mutable_attributes())["syscall.class"] = "file";
        contribution.set_direction(v1::Contribution::UP);
        contribution.set_observed(0.8 + k);
        contribution.set_expected(0.02);
        contribution.set_lower(0.004);
        contribution.set_upper(0.042);
        contribution.set_tail_probability(1e-9);
      }
      v1::Suspect& suspect = *incident.add_suspects();
      suspect.mutable_workload()->set_name("backup.service");
      suspect.set_share(0.7);
      suspect.add_evidence(std::string(300, 'e'));
      change.set_kind(v1::IncidentChange::OPENED);
      incident.set_state(v1::Incident::OPEN);
      changes.push_back(change);
      change.set_kind(v1::IncidentChange::RESOLVED);
      incident.set_state(v1::Incident::RESOLVED);
      *incident.mutable_resolved_time() = incident.updated_time();
      changes.push_back(std::move(change));
      if (changes.size() < kBurstTick && i + 1 < incidents) continue;
      if (absl::Status status = Commit(&changes); !status.ok()) return status;
      changes.clear();
    }
    return absl::OkStatus();
  }

  // The same at every run, and no text twice: what compresses too well says little.
  absl::Status Day(int count) {
    constexpr size_t kOpenAtOnce = 100;
    std::mt19937_64 random(tick_);
    const auto draw = [&](uint64_t below) { return static_cast<int>(random() % below); };
    std::vector<v1::Incident> open;
    std::vector<v1::IncidentChange> changes;
    for (int i = 0; i < count; ++i) {
      v1::IncidentChange change;
      *change.mutable_time() = google::protobuf::Timestamp();
      change.mutable_time()->set_seconds(time(nullptr));
      change.mutable_time()->set_nanos(draw(1'000'000'000));
      if (open.size() < kOpenAtOnce && (open.empty() || draw(3) == 0)) {
        change.set_kind(v1::IncidentChange::OPENED);
        open.push_back(NewIncident(fmt::format("{:016x}", random()), change.time(), draw));
        *change.mutable_incident() = open.back();
      } else {
        v1::Incident& incident = open[static_cast<size_t>(draw(open.size()))];
        v1::LifeEvent& event = *incident.add_changes();
        *event.mutable_time() = *incident.mutable_updated_time() = change.time();
        if (draw(2) == 0 || open.size() == kOpenAtOnce) {
          change.set_kind(v1::IncidentChange::RESOLVED);
          incident.set_state(v1::Incident::RESOLVED);
          *incident.mutable_resolved_time() = change.time();
          event.set_kind("resolved");
          change.mutable_incident()->Swap(&incident);
          incident.Swap(&open.back());
          open.pop_back();
        } else {
          change.set_kind(v1::IncidentChange::UPDATED);
          event.set_kind("contribution");
          event.set_detail(fmt::format("process.syscall.rate of {} calls to {:.4f} calls/s", draw(8), random() * 1e-15));
          *change.mutable_incident() = incident;
        }
      }
      changes.push_back(std::move(change));
      if (changes.size() < kBurstTick && i + 1 < count) continue;
      if (absl::Status status = Commit(&changes); !status.ok()) return status;
      changes.clear();
    }
    return absl::OkStatus();
  }

  template <class Draw>
  static v1::Incident NewIncident(const std::string& id, const google::protobuf::Timestamp& now, Draw draw) {
    static constexpr const char* kSignals[] = {"process.cpu.utilization", "process.cpu.run_delay", "process.memory.usage", "process.disk.io",
                                               "process.syscall.rate", "process.syscall.duration", "process.thread.count", "process.paging.faults"};
    static constexpr const char* kClasses[] = {"file", "network", "memory", "process", "sync", "time", "blocking", "other"};
    v1::Incident incident;
    const std::string service = fmt::format("service-{}", draw(400));
    incident.set_id(id);
    incident.set_state(v1::Incident::OPEN);
    incident.set_severity(static_cast<v1::Incident::Severity>(1 + draw(4)));
    incident.set_score(draw(10'000) / 100.0);
    incident.set_pattern(static_cast<v1::Incident::Pattern>(1 + draw(6)));
    incident.set_summary(fmt::format("{}: CPU {} % of a core, expected {:.1f}-{:.1f} %, higher; resident memory {} MiB, expected 96-118 MiB", service, draw(100), draw(50) / 10.0,
                                     5 + draw(50) / 10.0, 118 + draw(900)));
    for (auto* time : {incident.mutable_onset_time(), incident.mutable_opened_time(), incident.mutable_updated_time()}) *time = now;
    FillWorkload(service, incident.mutable_workload(), draw);
    for (int k = 0, n = 12 + draw(14); k < n; ++k) {
      v1::Contribution& contribution = *incident.add_contributions();
      contribution.set_signal(kSignals[draw(8)]);
      contribution.set_unit("s");
      (*contribution.mutable_attributes())["syscall.class"] = kClasses[draw(8)];
      contribution.set_direction(v1::Contribution::UP);
      for (const auto set : {&v1::Contribution::set_observed, &v1::Contribution::set_expected, &v1::Contribution::set_lower, &v1::Contribution::set_upper}) {
        (contribution.*set)(draw(1'000'000'000) / 977.0);
      }
      contribution.set_tail_probability(1.0 / (2 + draw(1'000'000'000)));
    }
    for (int k = 0, n = 1 + draw(4); k < n; ++k) {
      v1::Suspect& suspect = *incident.add_suspects();
      const std::string name = fmt::format("suspect-{}", draw(400));
      FillWorkload(name, suspect.mutable_workload(), draw);
      suspect.mutable_process()->set_pid(2 + draw(4'000'000));
      suspect.mutable_process()->set_executable("/usr/lib/" + name);
      suspect.set_share(draw(1000) / 1000.0);
      for (int e = 0; e < 4; ++e) {
        suspect.add_evidence(fmt::format("its time of {} syscalls rose from {} to {} ms, {} ms before the onset of {}", kClasses[draw(8)], draw(100), draw(9000), draw(5000), service));
      }
    }
    for (int k = 0, n = draw(6); k < n; ++k) incident.add_related_incident_ids(fmt::format("{:08x}{:08x}", draw(1u << 31), draw(1u << 31)));
    incident.mutable_coverage()->set_sampled_share(1);
    incident.set_recurrences_per_week(draw(1000) / 1000.0);
    incident.set_promised_per_week(1);
    v1::LifeEvent& opened = *incident.add_changes();
    opened.set_kind("opened");
    *opened.mutable_time() = now;
    return incident;
  }

  template <class Draw>
  static void FillWorkload(const std::string& name, v1::Workload* workload, Draw draw) {
    workload->set_name(name);
    workload->set_kind(v1::Workload::CONTAINER);
    workload->set_executable("/usr/bin/" + name);
    workload->set_container_id(fmt::format("{:08x}{:08x}{:08x}{:08x}", draw(1u << 31), draw(1u << 31), draw(1u << 31), draw(1u << 31)));
    workload->set_pod(fmt::format("{}-{:08x}", name, draw(1u << 31)));
    workload->set_namespace_("production");
    workload->set_user("app");
  }

  Journal& journal_;
  FeedServer& server_;
  const v1::Source source_;
  uint64_t tick_;
  uint64_t lost_ = 0;
};

int Fail(const absl::Status& status) {
  std::cerr << "feed_source: " << MessageOf(status) << "\n";
  return 1;
}

int Run(const std::string& address, const std::string& folder, const std::string& host, int64_t retained) {
  if (const absl::Status made = MakeFolders(folder); !made.ok()) return Fail(made);
  std::string message;
  auto journal = Journal::Open(folder + "/journal.db", &message);
  if (!journal.ok()) return Fail(journal.status());
  v1::Source source;
  source.set_host_id("id-of-" + host);
  source.set_host_name(host);
  source.set_boot_id("boot-of-" + host);
  source.set_feed_id((*journal)->feed_id());
  View view(journal->get(), source, retained);
  FeedServerOptions options;
  options.address = address;
  options.heartbeat = absl::Milliseconds(200);
  auto server = FeedServer::Start(options, journal->get(), &view);
  if (!server.ok()) return Fail(server.status());
  (*server)->SetServing(true);
  std::cout << "feed " << source.feed_id() << std::endl;
  Source commands(journal->get(), server->get(), source);
  for (std::string line; std::getline(std::cin, line);) {
    const absl::Status status = commands.Obey(line);
    std::cout << (status.ok() ? fmt::format("ok {}", (*journal)->last_sequence()) : "error " + MessageOf(status)) << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace outlier

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::cerr << "usage: feed_source ADDRESS FOLDER HOST_NAME [RETAINED_SECONDS]\n";
    return 2;
  }
  return outlier::Run(argv[1], argv[2], argv[3], argc == 5 ? std::stoll(argv[4]) : 30 * 86400);
}
