// Samples of a source as metrics of OTLP. Names: the semantic conventions' where they have the same thing in the same unit, else under
// `outlier.`: a rate has another name than the counter of the conventions, so that one name never has two units at a back end.
//
// Counters are told since they were first seen here, or since the last report (delta): what was before has no start that the relay knows.
// So the first sample of a counter tells nothing, and a decrease begins it anew. Remembers one entry for each counter of a workload that is
// alive, and forgets it an hour after it was last seen. Not thread-safe.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h"
#include "userspace/delivery/finding.h"

namespace outlier {

class OtlpCounters {
 public:
  struct Point {
    int64_t start_ns = 0;
    double value = 0;
  };
  // Nothing at the first sight of it, or where `time_ns` does not move on.
  std::optional<Point> Next(const std::string& key, double total, int64_t time_ns, bool delta);
  // Of what goes up and down: since when it is told.
  int64_t FirstSeen(const std::string& key, int64_t time_ns);
  void Sweep(int64_t time_ns);
  size_t size() const { return seen_.size(); }

 private:
  struct Seen {
    int64_t start_ns = 0, last_ns = 0;
    double base = 0, last = 0;
  };
  std::unordered_map<std::string, Seen> seen_;
  int64_t swept_ns_ = 0;
};

class OtlpMetrics {
 public:
  struct Options {
    bool delta = false;
    size_t max_bytes = 4 << 20;
    size_t max_attributes = 128;
    std::string version;
  };
  explicit OtlpMetrics(Options options) : options_(std::move(options)) {}

  // Each within max_bytes, none empty.
  std::vector<opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest> Write(const Samples& samples);

 private:
  Options options_;
  std::map<std::string, OtlpCounters> counters_;  // by feed_id: clocks of hosts differ
};

}  // namespace outlier
