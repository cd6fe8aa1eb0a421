// One incident for people: in full (`show`), and reasoned about (`explain`).
#pragma once
#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "outlier/v1/feed.pb.h"
#include "userspace/outlierctl/context.h"
#include "userspace/outlierctl/feed_connection.h"

namespace outlier::ctl {

// All pages, newest first; since_ns = 0 means all that is kept.
absl::StatusOr<std::vector<v1::Incident>> FetchIncidents(FeedConnection& feed, const v1::Filter& filter, int64_t since_ns);
// NOT_FOUND when there is none with this id or unique beginning of an id.
absl::StatusOr<v1::Incident> FetchIncident(FeedConnection& feed, const std::string& id);

// The operand ID, as every command takes it that is about one incident.
void AddIncidentId(CLI::App& command, std::string* id);

void PrintIncident(Context& context, const v1::Incident& incident);

// "opened, critical (score 91): redis-server: ..." with the context's clock, one line.
std::string ChangeLine(const Context& context, const v1::IncidentChange& change);

// Sentences, one paragraph each: what, why each contribution counts, restart, suspects, what was not seen, judgement.
std::vector<std::string> ExplainIncident(const Context& context, const v1::Incident& incident);

}  // namespace outlier::ctl
