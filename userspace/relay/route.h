// Route: which incidents a sink is told of. Pure.
#pragma once
#include <string>

#include "absl/status/statusor.h"
#include "outlier/config/v1/relay.pb.h"
#include "outlier/relay/v1/admin.pb.h"
#include "userspace/delivery/finding.h"

namespace outlier {

// "major" -> MAJOR; a word of relay.yaml's schema.
v1::Incident::Severity SeverityOf(const std::string& word);
// "k=glob" each against all labels. INVALID_ARGUMENT names the one that has no '='.
absl::StatusOr<Labels> ParseLabels(const google::protobuf::RepeatedPtrField<std::string>& texts);
bool LabelsMatch(const Labels& wanted, const Labels& labels);

class Route {
 public:
  static absl::StatusOr<Route> Of(const config::v1::Route& config, const Labels& labels);
  bool Admits(const v1::Incident& incident) const;
  // Whether what it admits depends on more than who the incident is of: then an incident, once admitted, has to be followed by name.
  bool changes() const { return min_severity_ > v1::Incident::WARNING || !patterns_.empty(); }

 private:
  std::string workload_, host_;
  v1::Incident::Severity min_severity_ = v1::Incident::WARNING;
  std::vector<v1::Incident::Pattern> patterns_;
  bool labels_match_ = true;  // labels are the relay's, the same for all
};

// INVALID_ARGUMENT: "patterns[0]: ...".
absl::StatusOr<std::vector<v1::Incident::Pattern>> ParsePatterns(const google::protobuf::RepeatedPtrField<std::string>& words);

}  // namespace outlier
