// What the vendors' own event and metric APIs share: a finding as flat names and values, samples as gauges, requests of JSON. Pure functions.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace/delivery/exchange.h"
#include "userspace/delivery/finding.h"
#include "userspace/sinks/wire.h"

namespace outlier {

// Names with dots, in a fixed order, each once; values are texts of at most `text_bytes` bytes, finite numbers, or booleans. Empty ones are left out.
using Fields = std::vector<std::pair<std::string, Json>>;
Fields FieldsOf(const Finding& finding, size_t text_bytes);
// {"host": {"name": ...}} of {"host.name": ...}.
Json Nested(const Fields& fields);
// Of an incident, at most `most` of them, their texts bounded.
Json ContributionsOf(const v1::Incident& incident, size_t most);
Json SuspectsOf(const v1::Incident& incident, size_t most);

// The summary, or what can be said without one; of a gap, what is missing. One printable line, never empty.
std::string Headline(const Finding& finding);
// Lines for people, of DetailLines, of a silence; empty for a gap.
std::string DetailText(const Finding& finding);
// Whether there is nothing left to watch: no update or feedback of a resolved incident opens it again.
bool IsOver(const Finding& finding);

struct Gauge {
  std::string name;   // outlier.score; letters, digits, dots and underscores
  std::string unit;   // UCUM
  double value = 0;   // finite
  Labels dimensions;  // without the host
};
// Scores, states and signals of workloads, most anomalous first; budgets and counters of the host where its status is there.
std::vector<Gauge> GaugesOf(const Samples& samples);

Request JsonPost(std::string url, std::string body);
// As JudgeHttp, for requests that carry no items, such as one for a token: what is refused there waits for a person and costs no item.
Outcome JudgePreparation(const Response& response);
// Whether a refusal speaks of age: "event is older than 18 hours".
bool SaysTooOld(std::string_view body);
// Letters, digits, dots and hyphens: what becomes a part of an address. Empty is fine. Else "<key>: expected ... such as <example>".
absl::Status CheckHostPart(std::string_view key, std::string_view value, std::string_view example);
// `text`, or where it is longer, its beginning and a hash of all of it: still one for each.
std::string BoundedKey(const std::string& text, size_t bytes);

}  // namespace outlier
