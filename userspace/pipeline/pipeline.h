// Pipeline: one tick after another, from the probes to the feed. The only place that knows of all rooms.
//
//   probes -> identities -> recorder -> engine -> journal -> feed
//
// Threads: Tick runs on one thread; the LiveView calls come from gRPC threads and share one mutex with it.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "outlier/config/v1/config.pb.h"
#include "userspace/feed/journal.h"
#include "userspace/feed/live_view.h"
#include "userspace/feed/server.h"
#include "userspace/pipeline/engine.h"
#include "userspace/pipeline/overhead.h"
#include "userspace/pipeline/recovery.h"
#include "userspace/probes/identity_cgroup.h"
#include "userspace/probes/identity_look_up.h"
#include "userspace/recorder/recorder.h"
#include "userspace/stream/probe_set.h"

namespace outlier {

class Pipeline : public LiveView {
 public:
  struct Options {
    config::v1::Config config;
    std::string state_dir;
    std::string version;
    v1::Source source;               // without feed_id
    std::function<void(const std::string&)> say;  // one line for the log
    std::string volatile_dir = "";   // in memory: where the journal goes while the disk is full at the start; "" = then it cannot start
  };
  // Opens the journal (exclusively), recovers the engine, begins a recording. Messages are said as they come up.
  static absl::StatusOr<std::unique_ptr<Pipeline>> Open(Options options);
  ~Pipeline() override;

  // Attached probes begin a new epoch.
  void SetProbes(std::unique_ptr<ProbeSet> probes, std::vector<std::string> messages, int64_t wall_time_ns);
  void SetServer(FeedServer* server) { server_ = server; }
  Journal* journal() { return journal_.get(); }
  absl::Status Export(absl::Duration since, const std::function<bool(std::string_view)>& sink);

  // One step of the street. `now` in both clocks, taken once.
  void Tick(uint64_t boot_time_ns, int64_t wall_time_ns);
  void Reload(const config::v1::Config& config);
  // Whoever waits for a command is told that it will not be carried out by this run.
  void StopWaiting();
  // Model state to disk, so that the next start has nothing to recover.
  void SaveAll();

  v1::Status GetStatus() const override;
  std::vector<v1::WorkloadState> Workloads() const override;
  v1::QuerySeriesResponse Query(const v1::QuerySeriesRequest& request) const override;
  absl::StatusOr<v1::IncidentChange> Submit(Command command, absl::Duration timeout) override;

 private:
  explicit Pipeline(Options options) : options_(std::move(options)), paths_(options_.state_dir) {}
  absl::Status Start();
  absl::StatusOr<std::unique_ptr<Journal>> OpenJournal(std::vector<std::string>* messages);
  void Observe(uint64_t boot_time_ns, int64_t wall_time_ns, TickInput* input);
  uint64_t LastTick() const;
  void Record(const TickInput& input);
  void Publish(const TickInput& input, TickOutput output);
  void Snapshot();
  void Answer(const std::vector<v1::IncidentChange>& changes);
  // What goes wrong now, by topic: said when it begins, a degradation in the status until it is over.
  void Trouble(const std::string& topic, const std::string& message);
  void Over(const std::string& topic);

  // A command that somebody waits for.
  struct Waiting {
    Command command;
    bool taken = false;
    bool done = false;
    v1::IncidentChange change;
  };

  // A folder of its own, gone with it.
  struct Temporary {
    std::string path;
    ~Temporary();
  };

  Options options_;
  StatePaths paths_;
  Temporary volatile_;                      // "" where the journal lies on the disk
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<Recorder> recorder_;      // null while the disk does not take it
  std::unique_ptr<ProbeSet> probes_;
  FeedServer* server_ = nullptr;
  IdentityLookUp identities_;
  IdentityCgroup cgroups_;
  OverheadMeter overhead_;

  mutable std::mutex mutex_;                // guards what follows
  std::condition_variable answered_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::shared_ptr<Waiting>> waiting_;
  bool stopping_ = false;
  std::vector<Command> own_commands_;       // of the daemon itself, for the next tick
  v1::Status status_;                       // of the last tick, without what the engine fills
  std::vector<std::string> degradations_;   // since the start
  std::map<std::string, std::string> troubles_;  // now, by topic

  std::atomic<int64_t> last_wall_time_ns_ = 0;
  uint64_t epoch_ = 0;
  bool first_of_epoch_ = true;
  uint64_t last_boot_time_ns_ = 0;
  uint64_t started_boot_time_ns_ = 0;
  uint64_t last_snapshot_ns_ = 0;
  uint64_t last_compaction_ns_ = 0;
  uint64_t ticks_not_recorded_ = 0;
  uint64_t changes_lost_ = 0;
  uint64_t ticks_failed_ = 0;
  std::deque<TickOutput> unjournalled_;     // while the disk is full: kept in order, bounded
  std::map<std::string, uint64_t> said_;    // topic -> when its trouble was last said, since boot
};

}  // namespace outlier
