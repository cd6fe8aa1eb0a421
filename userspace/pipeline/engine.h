// Engine: the street from TickInput to incident changes. A pure function of its inputs, configuration and snapshot: no
// clock, no I/O, no randomness. Live and replay run this same class. Not thread-safe.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "outlier/config/v1/config.pb.h"
#include "outlier/v1/feed.pb.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

// What one tick brought, in this order of creation.
struct TickOutput {
  uint64_t tick = 0;
  std::vector<v1::IncidentChange> changes;      // without sequence: the journal gives it
  std::vector<AccountAssignment> assignments;   // for the kernel
};

class Engine {
 public:
  // Of the layout of what is saved: written is the newest, read are all since the oldest.
  // 5: other detectors than 4, models of newer versions, which read their older ones, and the last minute lies by tick. 6: what began with a rare
  // departure is known for its consequence. 7, 8: how far known workloads go for the first time, suddenly; and in each layer of evidence and
  // direction. 9: limits of memory. 10: the day of the week. 11: whom a victim waits for, what was missed, a word on the host.
  static constexpr uint32_t kOldestState = 4, kNewestState = 11;
  struct Options {
    config::v1::Config config;
    v1::Source source;
  };
  static std::unique_ptr<Engine> Make(const Options& options);
  virtual ~Engine() = default;

  // One or more consecutive ticks; the outputs of a batch of T ticks equal those of T batches of one.
  virtual std::vector<TickOutput> Step(std::span<const TickInput> inputs) = 0;

  // Everything that was learned and is under way, versioned and checksummed. Load changes nothing when it fails:
  // DATA_LOSS = damaged, FAILED_PRECONDITION = of another version.
  virtual std::string Save() const = 0;
  virtual absl::Status Load(std::string_view snapshot) = 0;

  virtual uint64_t last_tick() const = 0;
  virtual int64_t learned_tick_ns() const = 0;  // what baselines are counted in; 0 = of no configuration yet
  virtual std::vector<v1::WorkloadState> Workloads(bool with_values) const = 0;
  virtual v1::QuerySeriesResponse Query(const v1::QuerySeriesRequest& request) const = 0;
  virtual std::vector<std::string> OpenIncidents() const = 0;  // ids
  virtual void FillStatus(v1::Status* status) const = 0;  // workloads, series, open incidents, incidents told, losses
};

}  // namespace outlier
