#include "userspace/exposition/exposition.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace outlier {
namespace {

double Of(uint64_t value) { return static_cast<double>(value); }

double SecondsOf(const google::protobuf::Duration& duration) { return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9; }

}  // namespace

bool WantsOpenMetrics(std::string_view accept) {
  double open = 0, text = 0;
  for (absl::string_view item : absl::StrSplit(absl::string_view(accept.data(), accept.size()), ',')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(item, ';');
    double weight = 1;
    bool version_fits = true;
    for (size_t i = 1; i < parts.size(); ++i) {
      absl::string_view parameter = absl::StripAsciiWhitespace(parts[i]);
      if (absl::ConsumePrefix(&parameter, "q=") && !absl::SimpleAtod(parameter, &weight)) weight = 0;
      if (absl::ConsumePrefix(&parameter, "version=")) version_fits = parameter == "1.0.0" || parameter == "\"1.0.0\"" || parameter == "0.0.4";
    }
    const absl::string_view type = absl::StripAsciiWhitespace(parts[0]);
    if (type == "application/openmetrics-text" && version_fits) open = std::max(open, weight);
    if (type == "text/plain" && version_fits) text = std::max(text, weight);
  }
  return open > 0 && open >= text;
}

void Exposition::Bind(const std::string& address, const std::string& feed_id, const std::string& host) {
  Source& source = sources_[address];
  if (!host.empty()) source.host = host;
  if (feed_id.empty() || source.feed_id == feed_id) return;
  const std::string old = std::exchange(source.feed_id, feed_id);
  const bool elsewhere = std::any_of(sources_.begin(), sources_.end(), [&](const auto& entry) { return entry.second.feed_id == old; });
  if (!old.empty() && !elsewhere) numbers_.erase(old);
}

SourceNumbers& Exposition::Numbers(const v1::Source& source) { return numbers_[source.feed_id()]; }

void Exposition::Observe(const Finding& finding) {
  const std::lock_guard lock(mutex_);
  Numbers(finding.incident().source()).Observe(finding);
}

void Exposition::Observe(const Samples& samples) {
  const std::lock_guard lock(mutex_);
  Numbers(samples.source).Observe(samples);
}

void Exposition::SetStatus(const std::string& source, const v1::Status& status) {
  const std::lock_guard lock(mutex_);
  Bind(source, status.source().feed_id(), status.source().host_name());
  Numbers(status.source()).Set(status);
}

void Exposition::SetOpen(const v1::Source& source, std::span<const v1::Incident> open) {
  const std::lock_guard lock(mutex_);
  Numbers(source).SetOpen(open);
}

void Exposition::SetSinks(const std::vector<relay::v1::SinkStatus>& sinks) {
  const std::lock_guard lock(mutex_);
  sinks_ = sinks;
  std::map<std::string, bool> connected;  // a source is up where any sink's stream of it is
  for (const relay::v1::SinkStatus& sink : sinks_) {
    for (const relay::v1::SourcePosition& position : sink.sources()) {
      Bind(position.source(), position.feed_id(), position.host_name());
      connected[position.source()] |= position.connected();
    }
  }
  for (const auto& [address, up] : connected) sources_[address].connected = up;
}

void Exposition::SetConnected(const std::string& source, bool connected) {
  const std::lock_guard lock(mutex_);
  sources_[source].connected = connected;
}

void Exposition::SetSilences(size_t active) {
  const std::lock_guard lock(mutex_);
  silences_ = active;
}

void Exposition::WriteSources(MetricFamilies* families) const {
  std::map<std::string, const Source*> by_feed;
  std::map<std::string, std::string> address_of;
  for (const auto& [address, source] : sources_) {
    families->Add(Metric::kSourceUp, MakeSeriesLabels({{"host", source.host}, {"source", address}}), source.connected ? 1 : 0);
    by_feed[source.feed_id] = &source;
    address_of[source.feed_id] = address;
  }
  for (const auto& [feed_id, numbers] : numbers_) {
    const auto source = by_feed.find(feed_id);
    if (source != by_feed.end() && !source->second->connected) {
      SourceNumbers without = numbers;  // nobody knows its workloads now
      without.ForgetWorkloads();
      without.Write(limits_, families);
    } else {
      numbers.Write(limits_, families);
    }
    const auto address = address_of.find(feed_id);
    const std::string& name = address == address_of.end() ? numbers.host() : address->second;
    families->Add(Metric::kSourceGaps, MakeSeriesLabels({{"source", name}}), Of(numbers.gaps()));
    families->Add(Metric::kSamplesLost, MakeSeriesLabels({{"source", name}}), Of(numbers.samples_lost()));
  }
}

void Exposition::WriteSinks(MetricFamilies* families) const {
  for (const relay::v1::SinkStatus& sink : sinks_) {
    const SeriesLabels labels = MakeSeriesLabels({{"sink", sink.name()}});
    families->Add(Metric::kSinkDelivered, labels, Of(sink.delivered()));
    families->Add(Metric::kSinkRetries, labels, Of(sink.retried()));
    families->Add(Metric::kSinkRefused, labels, Of(sink.refused()));
    families->Add(Metric::kSinkExpired, labels, Of(sink.expired()));
    families->Add(Metric::kSinkDeadLetters, labels, Of(sink.dead_letters()));
    families->Add(Metric::kSinkSuspended, labels, sink.state() == relay::v1::SinkStatus::SUSPENDED ? 1 : 0);
    families->Add(Metric::kSinkStalled, labels, sink.state() == relay::v1::SinkStatus::STALLED ? 1 : 0);
    if (sink.has_last_success_time()) {
      families->Add(Metric::kSinkLastSuccess, labels,
                    static_cast<double>(sink.last_success_time().seconds()) + sink.last_success_time().nanos() * 1e-9);
    }
    for (const relay::v1::SourcePosition& position : sink.sources()) {
      const SeriesLabels of_source = MakeSeriesLabels({{"sink", sink.name()}, {"source", position.source()}});
      const uint64_t behind = position.last_sequence() - std::min(position.last_sequence(), position.sequence());
      families->Add(Metric::kSinkLagChanges, of_source, Of(behind));
      families->Add(Metric::kSinkLagSeconds, of_source, std::max(0.0, SecondsOf(position.lag())));
    }
  }
  families->Add(Metric::kSilencesActive, {}, Of(silences_));
}

Exposition::Page Exposition::Render(std::string_view accept) const {
  MetricFamilies families;
  {
    const std::lock_guard lock(mutex_);
    WriteSources(&families);
    WriteSinks(&families);
  }
  if (WantsOpenMetrics(accept)) return {"application/openmetrics-text; version=1.0.0; charset=utf-8", RenderOpenMetrics(families)};
  return {"text/plain; version=0.0.4; charset=utf-8", RenderText(families)};
}

}  // namespace outlier
