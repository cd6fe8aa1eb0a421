// A source for the relay's tests: the real journal and the real feed server of outlierd, with changes that a test writes instead of an engine.
//
//   feed_source ADDRESS FOLDER HOST_NAME [RETAINED_SECONDS]
//
// Prints `feed <feed_id>` when it serves. Then one command a line on stdin, one answer a line on stdout: `ok <last_sequence>` or `error <text>`.
//   append JSON      one IncidentChange (protobuf's JSON mapping) to the journal, one tick each; source is filled in
//   burst N          N incidents, each opened and resolved, of about 2 KB a change, as fast as the journal takes them
//   compact NS       forgets resolved incidents older than this wall time
//   lost N           tells subscribers that N changes could not be journalled
//   sample JSON      one SampleResponse to whoever watches samples
// End of stdin ends it.
#include <google/protobuf/util/json_util.h>

#include <iostream>
#include <mutex>
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
