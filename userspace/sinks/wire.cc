#include "userspace/sinks/wire.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "absl/strings/escaping.h"
#include "userspace/base/text.h"
#include "userspace/stream/incident_text.h"

namespace outlier {
namespace {

bool Continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// The number of bytes that the first `characters` code points take.
size_t BytesOf(std::string_view text, size_t characters) {
  size_t i = 0;
  for (; i < text.size() && characters > 0; --characters) {
    for (++i; i < text.size() && Continues(text[i]);) ++i;
  }
  return i;
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return text;
}

std::string SuspectWords(const v1::Suspect& suspect) {
  std::string words = Printable(suspect.workload().name(), 200);
  if (suspect.process().pid() != 0) words += fmt::format(" (pid {})", suspect.process().pid());
  return words;
}

}  // namespace

std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json ParseJson(std::string_view text) { return Json::parse(text.begin(), text.end(), nullptr, false); }

std::string Truncate(std::string_view text, size_t characters) {
  if (BytesOf(text, characters) == text.size()) return std::string(text);
  return characters == 0 ? "" : std::string(text.substr(0, BytesOf(text, characters - 1))) + "…";
}

std::string TruncateBytes(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  while (bytes > 0 && Continues(text[bytes])) --bytes;
  return std::string(text.substr(0, bytes));
}

std::string PercentEncode(std::string_view text) {
  std::string out;
  for (const unsigned char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    plain ? out += static_cast<char>(c) : out += fmt::format("%{:02X}", c);
  }
  return out;
}

std::string JoinUrl(std::string_view base, std::string_view path) {
  while (!base.empty() && base.back() == '/') base.remove_suffix(1);
  while (!path.empty() && path.front() == '/') path.remove_prefix(1);
  return fmt::format("{}/{}", base, path);
}

std::string BasicAuthorization(std::string_view user, std::string_view password) {
  const std::string both = fmt::format("{}:{}", user, password);
  return "Basic " + absl::Base64Escape(both);
}

absl::Status CheckUrl(std::string_view key, std::string_view url) {
  const bool tls = url.starts_with("https://");
  if (!tls && !url.starts_with("http://")) return absl::InvalidArgumentError(fmt::format("{}: expected an address that begins with https:// or http://", key));
  const std::string_view rest = url.substr(tls ? 8 : 7);
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  if (authority.empty() || authority.front() == ':') return absl::InvalidArgumentError(fmt::format("{}: the address names no host", key));
  if (authority.find('@') != std::string_view::npos) {
    return absl::InvalidArgumentError(fmt::format("{}: no name or password in the address; there are keys for files that hold them", key));
  }
  for (const char c : url) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return absl::InvalidArgumentError(fmt::format("{}: the address holds white space or control characters", key));
  }
  return absl::OkStatus();
}

absl::Status CheckGiven(std::string_view key, std::string_view value) {
  return value.empty() ? absl::InvalidArgumentError(fmt::format("{}: needed, but not given", key)) : absl::OkStatus();
}

std::string SeverityWord(v1::Incident::Severity severity) {
  return severity == v1::Incident::SEVERITY_UNSPECIFIED ? "warning" : Lower(v1::Incident::Severity_Name(severity));
}

std::string KindWord(v1::IncidentChange::Kind kind) { return Lower(v1::IncidentChange::Kind_Name(kind)); }

std::vector<std::pair<std::string, std::string>> Details(const v1::Incident& incident) {
  std::vector<std::pair<std::string, std::string>> details;
  details.emplace_back("host", Printable(incident.source().host_name(), 256));
  details.emplace_back("workload", Printable(incident.workload().name(), 256));
  details.emplace_back("since", Rfc3339(incident.onset_time()));
  details.emplace_back("score", fmt::format("{:.0f} ({})", incident.score(), SeverityWord(incident.severity())));
  for (const v1::Contribution& contribution : incident.contributions()) {
    details.emplace_back(SignalWords(contribution), ObservedAndExpected(contribution));
  }
  if (incident.has_restart()) {
    const v1::Restart& restart = incident.restart();
    details.emplace_back("restarts", fmt::format("{}, {}", restart.count(), Lower(v1::Restart::Cause_Name(restart.cause()))));
  }
  for (int i = 0; i < incident.suspects_size(); ++i) {
    const v1::Suspect& suspect = incident.suspects(i);
    std::string words = SuspectWords(suspect);
    if (suspect.evidence_size() > 0) words += ": " + Printable(suspect.evidence(0), 500);
    details.emplace_back(i == 0 ? "first suspect" : "suspect", words);
  }
  const v1::Coverage& coverage = incident.coverage();
  if (coverage.events_lost() > 0) details.emplace_back("events lost", fmt::format("{}", coverage.events_lost()));
  if (coverage.probes_missing_size() > 0) {
    std::vector<std::string> missing;
    for (const std::string& probe : coverage.probes_missing()) missing.push_back(Printable(probe, 64));
    details.emplace_back("not observed by", fmt::format("{}", fmt::join(missing, ", ")));
  }
  return details;
}

std::vector<std::string> DetailLines(const v1::Incident& incident) {
  std::vector<std::string> lines;
  for (const auto& [name, value] : Details(incident)) lines.push_back(fmt::format("{}: {}", name, value));
  return lines;
}

}  // namespace outlier
