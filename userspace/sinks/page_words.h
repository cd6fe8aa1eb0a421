// What the pagers share: a page in one line, in a few lines, and as a table; and how their servers mean their answers. Pure functions.
// Whatever a process calls itself is made Printable here.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace/sinks/sink.h"
#include "userspace/sinks/wire.h"

namespace outlier {

// "db-1: redis-server.service: resident memory 412 MiB, expected 96.4-118 MiB (+2 related)": what a telephone shows. One line, never empty.
std::string Headline(const Page& page, size_t characters);
// The same for a finding without a page.
std::string Headline(const Finding& finding, size_t characters);

// What is known, most telling first, a line a fact; then the summaries that the page speaks for. Of a digest: its text.
std::string Story(const Page& page, size_t characters);

// The same as names and values; no name twice, no value empty. At most a few dozen, however large the incident.
std::vector<std::pair<std::string, std::string>> Facts(const v1::Incident& incident);

// "resolved after 10 min: back to normal"; "acknowledged by ..."; "now critical (score 91)".
std::string ResolvedWords(const v1::Incident& incident);
std::string AcknowledgedWords(const v1::Incident& incident);
std::string SeverityWords(const v1::Incident& incident);

// The host's name, or words for one that is unknown: systems that need a source get one.
std::string HostWords(const v1::Incident& incident);

// Lines made Printable one by one.
std::string PrintableLines(std::string_view text);

// Labels of relay.yaml, printable, values of at most 256 characters.
std::vector<std::pair<std::string, std::string>> LabelsOf(const Finding& finding);

// Whether this update is told because severity rose.
bool Escalates(const v1::IncidentChange& change);

// The moment as given, but not before 1970 and not after `latest`: servers refuse what is to come, and a feed may hold anything.
WallTime Clamped(const google::protobuf::Timestamp& time, WallTime latest);

// As JudgeHttp; besides, what says that the account, the address or the way of asking is wrong suspends instead of using up the backlog:
// 402, 405, 406, 410, 415.
Outcome JudgeService(const Response& response, size_t items);

// Of an address that is a secret as a whole: itself, and its path, which alone is enough to post.
std::vector<std::string> SecretsOf(const std::string& url);

// "User-Agent: outlier-relay/0.1.0".
std::pair<std::string, std::string> UserAgent(const SinkContext& context);

}  // namespace outlier
