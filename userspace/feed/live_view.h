// LiveView: what the feed's unary reads ask of the running pipeline. Implemented by the pipeline, called from gRPC
// threads: implementations are thread-safe and never wait for a tick except in Submit.
#pragma once
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "outlier/v1/feed.pb.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

class LiveView {
 public:
  virtual ~LiveView() = default;
  virtual v1::Status GetStatus() const = 0;
  virtual std::vector<v1::WorkloadState> Workloads() const = 0;
  virtual v1::QuerySeriesResponse Query(const v1::QuerySeriesRequest& request) const = 0;
  // Hands a command to the engine's input log and waits until it has been carried out (about a tick).
  virtual absl::StatusOr<v1::IncidentChange> Submit(Command command, absl::Duration timeout) = 0;
};

}  // namespace outlier
