// What the requests of several sinks share: JSON that is always valid, texts cut to what an API takes, URLs, and what a finding is in
// a few words. Pure functions.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "userspace/delivery/finding.h"

namespace outlier {

using Json = nlohmann::ordered_json;  // keys stay in the order they are written in, so that bodies are deterministic

// One line; bytes that are no UTF-8 become U+FFFD. Numbers must be finite: JSON has no others.
std::string Dump(const Json& json);
// Nothing where it is no JSON; never throws.
Json ParseJson(std::string_view text);  // discarded() where malformed

// At most `characters` code points, the last one an ellipsis where something was cut. Valid UTF-8 in, valid UTF-8 out.
std::string Truncate(std::string_view text, size_t characters);
// At most `bytes` bytes, cut between characters.
std::string TruncateBytes(std::string_view text, size_t bytes);

// RFC 3986, unreserved characters stay.
std::string PercentEncode(std::string_view text);
// One slash between the two.
std::string JoinUrl(std::string_view base, std::string_view path);
// "Basic <base64>", of HTTP.
std::string BasicAuthorization(std::string_view user, std::string_view password);

// An absolute http:// or https:// URL with a host and without user:password@ (secrets belong in files). Else an error without the URL's secrets.
absl::Status CheckUrl(std::string_view key, std::string_view url);
// "elasticsearch.urls: needed" where empty.
absl::Status CheckGiven(std::string_view key, std::string_view value);

std::string SeverityWord(v1::Incident::Severity severity);     // "warning" .. "critical"
std::string KindWord(v1::IncidentChange::Kind kind);           // "opened" .. "feedback"

// What an incident's page says beneath its summary: one line a fact, most telling first: onset, what was observed and expected, suspects with
// evidence, cause of restart, coverage. Plain text for people.
std::vector<std::string> DetailLines(const v1::Incident& incident);
// The same facts as name and value, for systems that show tables ("first suspect" -> "backup.service (pid 4242)").
std::vector<std::pair<std::string, std::string>> Details(const v1::Incident& incident);

}  // namespace outlier
