// What the feed's tests share: temporary folders, changes to journal, and a view of a pipeline that is not there.
#pragma once
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "userspace/feed/journal.h"
#include "userspace/feed/live_view.h"

namespace outlier {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "outlier-feed-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline v1::IncidentChange MakeChange(const std::string& id, v1::IncidentChange::Kind kind, int64_t wall_seconds,
                                     v1::Incident::Severity severity = v1::Incident::MAJOR, const std::string& workload = "redis") {
  v1::IncidentChange change;
  change.set_kind(kind);
  change.mutable_time()->set_seconds(wall_seconds);
  v1::Incident* incident = change.mutable_incident();
  incident->set_id(id);
  incident->set_severity(severity);
  incident->set_state(kind == v1::IncidentChange::RESOLVED ? v1::Incident::RESOLVED : v1::Incident::OPEN);
  incident->mutable_workload()->set_name(workload);
  return change;
}

inline std::unique_ptr<Journal> OpenJournal(const std::string& path) {
  std::string message;
  auto journal = Journal::Open(path, &message);
  EXPECT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ(message, "");
  return journal.ok() ? *std::move(journal) : nullptr;
}

class FakeView : public LiveView {
 public:
  v1::Status GetStatus() const override {
    v1::Status status;
    status.set_ticks(42);
    return status;
  }
  std::vector<v1::WorkloadState> Workloads() const override {
    std::vector<v1::WorkloadState> all(2);
    all[0].mutable_workload()->set_name("redis");
    all[0].set_score(80);
    all[1].mutable_workload()->set_name("nginx");
    return all;
  }
  v1::QuerySeriesResponse Query(const v1::QuerySeriesRequest& request) const override {
    v1::QuerySeriesResponse response;
    if (request.workload() == "redis") response.add_series()->set_signal(request.signal());
    return response;
  }
  absl::StatusOr<v1::IncidentChange> Submit(Command command, absl::Duration) override {
    const std::lock_guard lock(mutex_);
    commands_.push_back(command);
    v1::IncidentChange change;
    change.set_kind(command.kind == Command::Kind::kAcknowledge ? v1::IncidentChange::ACKNOWLEDGED : v1::IncidentChange::FEEDBACK);
    change.mutable_incident()->ParseFromString(command.incident);
    return change;
  }
  std::vector<Command> commands() const {
    const std::lock_guard lock(mutex_);
    return commands_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Command> commands_;
};

}  // namespace outlier
