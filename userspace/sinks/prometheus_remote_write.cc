// Prometheus remote write 1.0: the series of userspace/delivery/numbers.h. A change is told at its own time as the score of its series, or as a
// stale marker where that has no open incident any more; the samples of a source bring all its series, and stale markers for those that are no more.
//
// A series has its samples in order of time, so a change that comes after a sample has told its incident is told a moment after that.
// What was told is remembered for each source and only settled when a batch was judged: a batch that is encoded again is the same.
#include <snappy.h>

#include <algorithm>
#include <bit>
#include <set>

#include <fmt/format.h>

#include "prometheus/remote_write.pb.h"
#include "userspace/base/text.h"
#include "userspace/delivery/numbers.h"
#include "userspace/sinks/sink.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

constexpr NumbersLimits kLimits;
constexpr size_t kMaxSources = 4096;
constexpr size_t kMaxSeries = 2000;       // a request of samples
constexpr size_t kMaxBytes = 4 << 20;
constexpr size_t kMaxLabel = 200;
const double kStale = std::bit_cast<double>(uint64_t{0x7ff0000000000002});  // by its bits a NaN that Prometheus reads as "ended"

// Series in the order of the wire, samples in the order of time.
using Batch = std::map<SeriesLabels, std::vector<std::pair<int64_t, double>>>;

SeriesLabels Named(Metric metric, const SeriesLabels& labels) {
  const MetricSpec& spec = SpecOf(metric);
  SeriesLabels named = labels;
  named.emplace(named.begin(), "__name__", std::string(spec.name) + (spec.counter ? "_total" : ""));
  return named;
}

// A label of the configuration as Prometheus lets one be named.
std::string LabelName(std::string_view key) {
  std::string name;
  for (const char c : key) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    name += letter || (c >= '0' && c <= '9' && !name.empty()) ? c : '_';
  }
  return name.starts_with("__") ? "label" + name : name;  // those are Prometheus' own
}

SeriesLabels WithConfigured(SeriesLabels labels, const Labels* configured) {
  if (configured == nullptr) return labels;
  for (const auto& [key, value] : *configured) {
    const std::string name = LabelName(key);
    const bool there = std::any_of(labels.begin(), labels.end(), [&](const auto& label) { return label.first == name; });
    if (!there && !name.empty() && !value.empty()) labels.emplace_back(name, Printable(value, kMaxLabel));
  }
  std::sort(labels.begin(), labels.end());
  return labels;
}

// What is wrong with a sample rather than with the request: its time. The words of Prometheus, Mimir and Thanos.
bool IsOfTime(std::string_view body) {
  std::string text(body.substr(0, 4096));
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  for (const char* words : {"out of order", "out-of-order", "out of bounds", "too old", "too-old", "duplicate sample", "duplicate-timestamp"}) {
    if (text.find(words) != std::string::npos) return true;
  }
  return false;
}

class PrometheusRemoteWriteSink final : public StreamSink {
 public:
  explicit PrometheusRemoteWriteSink(const SinkContext& context)
      : config_(context.config.prometheus_remote_write()),
        version_(context.version),
        password_(config_.password_file()),
        bearer_token_(config_.bearer_token_file()) {}

  // A request without series, which changes nothing.
  std::optional<Preparation> Check() override {
    absl::StatusOr<Request> request = RequestFor({});
    if (!request.ok()) return std::nullopt;
    return Preparation{*std::move(request), fmt::format("send {} a request without samples", config_.url())};
  }

  Limits limits() const override {
    Limits limits;
    limits.max_bytes = kMaxBytes;
    limits.samples = true;
    return limits;
  }

  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime) override {
    std::map<std::string, Source> drafts;
    Batch batch;
    Follow(findings, &drafts, &batch);
    return RequestFor(batch);
  }

  Outcome Judge(const Response& response, std::span<const Finding> findings) override {
    Outcome outcome = JudgeHttp(response, findings.size());
    if (outcome.kind == Outcome::Kind::kRefused && IsOfTime(response.body) && findings.size() == 1) {
      outcome.kind = Outcome::Kind::kItems;  // of several, halving finds those whose time is wrong
      outcome.items = {ItemOutcome::kExpired};
      outcome.reasons = {outcome.reason};
    }
    // What became of it is settled: it counts for what is open from now on, told or not.
    if (outcome.kind == Outcome::Kind::kItems) {
      std::map<std::string, Source> drafts;
      Batch batch;
      Follow(findings, &drafts, &batch);
      for (auto& [feed_id, draft] : drafts) sources_[feed_id] = std::move(draft);
    }
    return outcome;
  }

  std::vector<Request> EncodeSamples(const Samples& samples, WallTime) override {
    Source& source = SourceOf(samples.source.feed_id());
    const int64_t time = Milliseconds(samples.sample.time());
    if (time <= source.last_ms) return {};
    source.last_ms = time;
    source.numbers.Observe(samples);
    MetricFamilies families;
    source.numbers.Write(kLimits, &families);
    families.Add(Metric::kSamplesLost, MakeSeriesLabels({{"source", source.numbers.host()}}), static_cast<double>(source.numbers.samples_lost()));
    families.Add(Metric::kSourceGaps, MakeSeriesLabels({{"source", source.numbers.host()}}), static_cast<double>(source.numbers.gaps()));

    std::set<SeriesLabels> told;
    Batch all;
    for (size_t i = 0; i < kMetrics; ++i) {
      const auto metric = static_cast<Metric>(i);
      for (const auto& [labels, value] : families.of(metric)) {
        const SeriesLabels series = WithConfigured(Named(metric, labels), samples.labels.get());
        told.insert(series);
        if (metric == Metric::kIncidentScore) {
          int64_t& last = source.incident_ms[series];
          if (time <= last) continue;  // a change has told more
          last = time;
        }
        all[series].emplace_back(time, value);
      }
    }
    for (const SeriesLabels& gone : source.told) {
      if (told.contains(gone)) continue;
      all[gone].emplace_back(time, kStale);
      if (const auto last = source.incident_ms.find(gone); last != source.incident_ms.end()) last->second = time;
    }
    source.told = std::move(told);
    std::erase_if(source.incident_ms, [&](const auto& entry) { return entry.second < time; });
    return InPieces(all);
  }

  Outcome JudgeSamples(const Response& response) override {
    Outcome outcome = JudgeHttp(response, 1);
    if (outcome.kind == Outcome::Kind::kRefused && IsOfTime(response.body)) {
      outcome.kind = Outcome::Kind::kItems;
      outcome.items = {ItemOutcome::kExpired};
      outcome.reasons = {outcome.reason};
    }
    return outcome;
  }

  void SetOpen(const v1::Source& source, std::span<const v1::Incident> open) override { SourceOf(source.feed_id()).numbers.SetOpen(open); }

 private:
  struct Source {
    SourceNumbers numbers;
    int64_t last_ms = 0;                           // of its samples
    std::map<SeriesLabels, int64_t> incident_ms;   // the last told of a series of incidents; none is older than last_ms
    std::set<SeriesLabels> told;                   // at last_ms, or by a change since
  };

  Source& SourceOf(const std::string& feed_id) {
    if (sources_.size() >= kMaxSources && !sources_.contains(feed_id)) sources_.clear();
    return sources_[feed_id];
  }

  // The samples that the findings bring, and the sources as they are after them.
  void Follow(std::span<const Finding> findings, std::map<std::string, Source>* drafts, Batch* batch) const {
    for (const Finding& finding : findings) {
      const auto known = sources_.find(finding.feed_id());
      Source& source = drafts->try_emplace(finding.feed_id(), known == sources_.end() ? Source() : known->second).first->second;
      const v1::Incident& incident = finding.incident();
      const bool again = finding.gap || (finding.change.sequence() != 0 && finding.change.sequence() <= source.numbers.last_sequence());
      const OpenIncidents& open = source.numbers.open();
      const auto before = open.find(incident.id());
      const std::optional<OpenIncident> was = before == open.end() ? std::nullopt : std::optional(before->second);
      const size_t others = open.size() - (was ? 1 : 0);
      source.numbers.Observe(finding);
      if (again) continue;
      const std::optional<OpenIncident> is = OpenAfter(incident);
      const auto tell = [&](const OpenIncident& state) {
        const SeriesLabels series =
            WithConfigured(Named(Metric::kIncidentScore, IncidentLabels(source.numbers.host(), state)), finding.labels.get());
        std::optional<double> highest;
        for (const auto& [id, other] : source.numbers.open()) {
          if (other.SameSeries(state)) highest = std::max(highest.value_or(other.score), other.score);
        }
        int64_t& last = source.incident_ms[series];
        last = std::max(Milliseconds(finding.change.time()), last + 1);
        (*batch)[series].emplace_back(last, highest.value_or(kStale));
        highest ? (void)source.told.insert(series) : (void)source.told.erase(series);
      };
      if (was && (!is || !was->SameSeries(*is))) tell(*was);
      if (is && (was || others < kLimits.incidents)) tell(*is);
    }
  }

  std::vector<Request> InPieces(const Batch& all) {
    std::vector<Request> requests;
    Batch piece;
    const auto close = [&] {
      absl::StatusOr<Request> request = RequestFor(piece);
      piece.clear();
      if (!request.ok()) return false;  // the key cannot be read, which the changes tell
      requests.push_back(*std::move(request));
      return true;
    };
    for (const auto& [series, samples] : all) {
      piece[series] = samples;
      if (piece.size() == kMaxSeries && !close()) return {};
    }
    if (!piece.empty() && !close()) return {};
    return requests;
  }

  absl::StatusOr<Request> RequestFor(const Batch& batch) {
    prometheus::WriteRequest message;
    for (const auto& [labels, samples] : batch) {
      prometheus::TimeSeries* series = message.add_timeseries();
      for (const auto& [name, value] : labels) {
        prometheus::Label* label = series->add_labels();
        label->set_name(name);
        label->set_value(value);
      }
      for (const auto& [time, value] : samples) {
        prometheus::Sample* sample = series->add_samples();
        sample->set_timestamp(time);
        sample->set_value(value);
      }
    }
    Request request;
    request.url = config_.url();
    request.headers = {{"Content-Type", "application/x-protobuf"},
                       {"Content-Encoding", "snappy"},  // in blocks, not framed; not the transport's to add
                       {"X-Prometheus-Remote-Write-Version", "0.1.0"},
                       {"User-Agent", "outlier-relay/" + version_}};
    const std::string plain = message.SerializeAsString();
    snappy::Compress(plain.data(), plain.size(), &request.body);
    if (bearer_token_.given()) {
      absl::StatusOr<std::string> token = bearer_token_.Read();
      if (!token.ok()) return token.status();
      request.headers.emplace_back("Authorization", "Bearer " + *token);
      request.secrets.push_back(*std::move(token));
    } else if (password_.given()) {
      absl::StatusOr<std::string> password = password_.Read();
      if (!password.ok()) return password.status();
      std::string basic = BasicAuthorization(config_.username(), *password);
      request.secrets = {*password, basic.substr(basic.find(' ') + 1)};
      request.headers.emplace_back("Authorization", std::move(basic));
    }
    return request;
  }

  const config::v1::PrometheusRemoteWrite config_;
  const std::string version_;
  SecretFile password_, bearer_token_;
  std::map<std::string, Source> sources_;  // by feed_id
};

}  // namespace

namespace sinks {

absl::StatusOr<AnySink> MakePrometheusRemoteWrite(const SinkContext& context) {
  const config::v1::PrometheusRemoteWrite& config = context.config.prometheus_remote_write();
  if (absl::Status status = CheckGiven("prometheus_remote_write.url", config.url()); !status.ok()) return status;
  if (absl::Status status = CheckUrl("prometheus_remote_write.url", config.url()); !status.ok()) return status;
  if (!config.bearer_token_file().empty() && !config.password_file().empty()) {
    return absl::InvalidArgumentError(
        "prometheus_remote_write: bearer_token_file and password_file are both given; one Authorization header is sent");
  }
  if (config.username().empty() != config.password_file().empty()) {
    return absl::InvalidArgumentError("prometheus_remote_write: username and password_file go together");
  }
  AnySink sink;
  sink.stream = std::make_unique<PrometheusRemoteWriteSink>(context);
  return sink;
}

}  // namespace sinks
}  // namespace outlier
