#include "userspace/relay/route.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {

v1::Incident::Severity SeverityOf(const std::string& word) {
  std::string name = word;
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  v1::Incident::Severity severity = v1::Incident::SEVERITY_UNSPECIFIED;
  v1::Incident::Severity_Parse(name, &severity);
  return severity;
}

absl::StatusOr<Labels> ParseLabels(const google::protobuf::RepeatedPtrField<std::string>& texts) {
  Labels labels;
  for (int i = 0; i < texts.size(); ++i) {
    const size_t equals = texts[i].find('=');
    if (equals == 0 || equals == std::string::npos) {
      return absl::InvalidArgumentError(fmt::format("labels[{}]: expected key=value, found \"{}\"", i, Printable(texts[i], 80)));
    }
    labels.emplace_back(texts[i].substr(0, equals), texts[i].substr(equals + 1));
  }
  return labels;
}

bool LabelsMatch(const Labels& wanted, const Labels& labels) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& want) {
    return std::any_of(labels.begin(), labels.end(), [&](const auto& have) { return have.first == want.first && GlobMatch(want.second, have.second); });
  });
}

absl::StatusOr<std::vector<v1::Incident::Pattern>> ParsePatterns(const google::protobuf::RepeatedPtrField<std::string>& words) {
  std::vector<v1::Incident::Pattern> patterns;
  for (int i = 0; i < words.size(); ++i) {
    v1::Incident::Pattern pattern;
    if (!v1::Incident::Pattern_Parse(words[i], &pattern) || pattern == v1::Incident::PATTERN_UNSPECIFIED) {
      return absl::InvalidArgumentError(fmt::format("patterns[{}]: \"{}\" is no pattern; allowed: SPIKE, STEP, DRIFT, SILENCE, COUNT, SHAPE", i, Printable(words[i], 40)));
    }
    patterns.push_back(pattern);
  }
  return patterns;
}

absl::StatusOr<Route> Route::Of(const config::v1::Route& config, const Labels& labels) {
  Route route;
  route.workload_ = config.workload();
  route.host_ = config.host();
  route.min_severity_ = SeverityOf(config.min_severity());
  auto patterns = ParsePatterns(config.patterns());
  if (!patterns.ok()) return patterns.status();
  route.patterns_ = *std::move(patterns);
  const auto wanted = ParseLabels(config.labels());
  if (!wanted.ok()) return wanted.status();
  route.labels_match_ = LabelsMatch(*wanted, labels);
  return route;
}

bool Route::Admits(const v1::Incident& incident) const {
  return labels_match_ && incident.severity() >= min_severity_ && GlobMatch(workload_, incident.workload().name()) &&
         GlobMatch(host_, incident.source().host_name()) &&
         (patterns_.empty() || std::find(patterns_.begin(), patterns_.end(), incident.pattern()) != patterns_.end());
}

}  // namespace outlier
