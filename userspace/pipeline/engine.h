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
  virtual std::vector<v1::WorkloadState> Workloads(bool with_values) const = 0;
  virtual v1::QuerySeriesResponse Query(const v1::QuerySeriesRequest& request) const = 0;
  virtual std::vector<std::string> OpenIncidents() const = 0;  // ids
  virtual void FillStatus(v1::Status* status) const = 0;  // workloads, series, open incidents, incidents told, losses
};

}  // namespace outlier
