// /metrics of outlier-relay: keeps the numbers that are true now and writes them as OpenMetrics 1.0, or as Prometheus' text format.
//
// Who serves it and who feeds it are others. Thread-safe: fed from the threads that read sources, asked by the one that serves.
#pragma once
#include <cstddef>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "outlier/relay/v1/admin.pb.h"
#include "userspace/delivery/finding.h"
#include "userspace/delivery/numbers.h"

namespace outlier {

class Exposition {
 public:
  struct Page {
    std::string content_type, body;
  };

  explicit Exposition(NumbersLimits limits = {}) : limits_(limits) {}

  // Of every source. A change may come twice; it counts once.
  void Observe(const Finding& finding);
  void Observe(const Samples& samples);
  // `source`: its address, as SourcePosition has it. One feed is told of an address: where another feed comes, what the old one said goes.
  void SetStatus(const std::string& source, const v1::Status& status);
  // All that is open at a source, when the relay begins to follow it or a gap came: see SourceNumbers.
  void SetOpen(const v1::Source& source, std::span<const v1::Incident> open);
  // All sinks there are. Tells which sources are connected, too; workloads of one that is not are left out.
  void SetSinks(const std::vector<relay::v1::SinkStatus>& sinks);
  // For a source while there is no sink that says so.
  void SetConnected(const std::string& source, bool connected);
  void SetSilences(size_t active);

  // `accept`: the header of the request, "" where there is none.
  Page Render(std::string_view accept) const;

 private:
  struct Source {
    std::string feed_id, host;
    bool connected = true;
  };
  void Bind(const std::string& address, const std::string& feed_id, const std::string& host);
  SourceNumbers& Numbers(const v1::Source& source);
  void WriteSources(MetricFamilies* families) const;
  void WriteSinks(MetricFamilies* families) const;

  const NumbersLimits limits_;
  mutable std::mutex mutex_;
  std::map<std::string, SourceNumbers> numbers_;  // by feed_id
  std::map<std::string, Source> sources_;         // by address
  std::vector<relay::v1::SinkStatus> sinks_;
  size_t silences_ = 0;
};

// Whether the client would rather have OpenMetrics than the text format (RFC 9110, 12.5.1; where it has no wish, the text format).
bool WantsOpenMetrics(std::string_view accept);
std::string RenderOpenMetrics(const MetricFamilies& families);
std::string RenderText(const MetricFamilies& families);

}  // namespace outlier
