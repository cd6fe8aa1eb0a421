#include "userspace/sinks/bulk.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/sinks/documents.h"
#include "userspace/sinks/json_text.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

constexpr size_t kMostOfId = 512;  // bytes, of both systems
constexpr size_t kMostOfReason = 500;
constexpr std::string_view kBlocked = "cluster_block_exception";
constexpr std::string_view kChanges = "outlier.change", kScores = "outlier.score", kSignals = "outlier.signal", kHosts = "outlier.host";

// From the best to the worst.
enum class Fate { kDelivered, kRefused, kRetry, kSuspend };

struct Item {
  Fate fate = Fate::kDelivered;
  bool in_failure_store = false;
  std::string reason;  // of what was not delivered
};

const Json* Member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string TextOf(const Json* value) { return value != nullptr && value->is_string() ? value->get<std::string>() : std::string(); }

Fate FateOf(int64_t status, const std::string& type) {
  if (status >= 200 && status < 300) return Fate::kDelivered;
  // Of `create`: it is there already. Of `index` with an external version: a newer one is.
  if (status == 409) return Fate::kDelivered;
  // Read-only, by a person or by a disk that is nearly full; 403 or 429. Asking again soon helps no more than it does for rights.
  if (type == kBlocked) return Fate::kSuspend;
  if (status == 401 || status == 403 || status == 404) return Fate::kSuspend;
  if (status == 408 || status == 429 || status >= 500) return Fate::kRetry;
  return Fate::kRefused;
}

std::string_view AdviceOf(std::string_view type) {
  if (type == kBlocked) return "; free disk space or lift the block";
  if (type == "index_not_found_exception") return "; `outlier-relay setup` makes what is missing";
  return "";
}

// Of a request that was not taken as a whole; nothing where it was.
std::optional<Outcome> JudgeRequest(const Response& response) {
  Outcome outcome = JudgeHttp(response, 0);
  if (outcome.kind == Outcome::Kind::kItems) return std::nullopt;
  if (outcome.kind == Outcome::Kind::kRetry && response.answered()) {
    const Json answer = ParseJson(response.body);
    const Json* error = answer.is_discarded() ? nullptr : Member(answer, "error");
    if (error != nullptr && TextOf(Member(*error, "type")) == kBlocked) {
      outcome.kind = Outcome::Kind::kSuspend;
      outcome.reason += AdviceOf(kBlocked);
    }
  }
  return outcome;
}

// One of `items`: an object with one key, the operation. Nothing where it is something else.
std::optional<Item> ItemOf(const Json& json, std::string_view target) {
  if (!json.is_object() || json.empty()) return std::nullopt;
  const Json& result = json.begin().value();
  const Json* status = Member(result, "status");
  if (status == nullptr || !status->is_number_integer()) return std::nullopt;
  Item item;
  item.in_failure_store = TextOf(Member(result, "failure_store")) == "used";
  const int64_t code = status->get<int64_t>();
  if (code >= 200 && code < 300) return item;
  const Json* error = Member(result, "error");
  const std::string type = error == nullptr ? "" : TextOf(Member(*error, "type"));
  item.fate = FateOf(code, type);
  if (item.fate == Fate::kDelivered) return item;
  item.reason = fmt::format("{}: HTTP {} {}: {}{}", target, code, Printable(type, 100),
                            Printable(error == nullptr ? "" : TextOf(Member(*error, "reason")), kMostOfReason), AdviceOf(type));
  return item;
}

// The items of an answer, or nothing where it is not one.
const Json* ItemsOf(const Json& answer) {
  const Json* items = answer.is_discarded() ? nullptr : Member(answer, "items");
  return items != nullptr && items->is_array() ? items : nullptr;
}

}  // namespace

absl::Status BulkWriter::Add(const Finding& finding, WallTime now, std::string* body) {
  const std::string id = FindingKey(finding), incident = IncidentKey(finding.incident());
  const uint64_t sequence = finding.change.sequence();
  if (std::max(id.size(), incident.size()) > kMostOfId) {
    return absl::InvalidArgumentError(fmt::format("the identity of {} is longer than the {} bytes of a document's", Printable(id, 100), kMostOfId));
  }
  // A state that was lost with its journal may have any version up to that journal's last: the new ones share it, and the later wins.
  const bool rewound = finding.rewind && sequence <= finding.rewind->last;
  const uint64_t version = rewound ? finding.rewind->last : sequence;
  if (version > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::InvalidArgumentError(fmt::format("the sequence of {} is larger than a version can be", Printable(id, 100)));
  }
  WriteFinding(finding, now, &document_);
  JsonText json(body);
  json.Object([&] {
    json.Object("create", [&] {
      json.Joined("_index", "logs-", kChanges, "-", namespace_);
      json.Text("_id", id);
      if (require_data_stream_) json.Flag("require_data_stream", true);
    });
  });
  *body += '\n';
  AppendDataStream("logs", kChanges, namespace_, body);
  *body += document_;
  *body += '\n';
  if (finding.gap) return absl::OkStatus();
  json.Object([&] {
    json.Object("index", [&] {
      json.Text("_index", kIncidentsIndex);
      json.Text("_id", incident);
      json.Unsigned("version", version);
      json.Text("version_type", rewound ? "external_gte" : "external");
    });
  });
  *body += "\n{";
  *body += document_;
  *body += '\n';
  return absl::OkStatus();
}

void BulkWriter::AddAction(std::string_view stream, std::string* body) const {
  JsonText json(body);
  json.Object([&] {
    json.Object("create", [&] {
      json.Joined("_index", "metrics-", stream, "-", namespace_);
      if (require_data_stream_) json.Flag("require_data_stream", true);
    });
  });
  *body += '\n';
}

std::vector<std::string> BulkWriter::Bodies(const Samples& samples, WallTime now, size_t most_bytes) const {
  std::vector<std::string> bodies;
  size_t last = 0;  // bytes of the last document, of which the next will have about as many
  const auto add = [&](std::string_view stream, auto append) {
    if (bodies.empty() || bodies.back().size() + last > most_bytes) bodies.emplace_back();
    std::string* body = &bodies.back();
    const size_t before = body->size();
    AddAction(stream, body);
    append(body);
    *body += '\n';
    last = body->size() - before;
  };
  for (const v1::WorkloadState& state : samples.sample.workloads()) {
    add(kScores, [&](std::string* body) { AppendScore(samples, state, namespace_, now, body); });
    for (const v1::SeriesValue& value : state.values()) {
      add(kSignals, [&](std::string* body) { AppendSignal(samples, state, value, namespace_, now, body); });
    }
  }
  if (samples.status) add(kHosts, [&](std::string* body) { AppendHost(samples, namespace_, now, body); });
  return bodies;
}

Outcome JudgeBulk(const Response& response, std::span<const Finding> findings) {
  if (auto outcome = JudgeRequest(response)) return *outcome;
  const Json answer = ParseJson(response.body);
  const Json* items = ItemsOf(answer);
  size_t operations = 0;
  for (const Finding& finding : findings) operations += finding.gap ? 1 : 2;
  const auto again = [&](std::string_view why) {
    return Outcome::Of(Outcome::Kind::kRetry, fmt::format("{}; its answer to _bulk {}", Describe(response), why));
  };
  if (items == nullptr) return again("is no JSON with `items`");
  if (items->size() != operations) return again(fmt::format("tells of {} operations of {}", items->size(), operations));

  Outcome outcome = Outcome::Delivered(findings.size());
  size_t next = 0, stored_as_failed = 0;
  for (size_t i = 0; i < findings.size(); ++i) {
    Item worst;
    for (const std::string_view target : {std::string_view("the stream of changes"), kIncidentsIndex}) {
      if (findings[i].gap && target == kIncidentsIndex) continue;
      std::optional<Item> item = ItemOf((*items)[next++], target);
      if (!item) return again("holds an operation without its status");
      if (item->fate == Fate::kSuspend) return Outcome::Of(Outcome::Kind::kSuspend, item->reason);
      stored_as_failed += item->in_failure_store;
      if (item->fate > worst.fate) worst = std::move(*item);
    }
    if (worst.fate == Fate::kDelivered) continue;
    outcome.items[i] = worst.fate == Fate::kRetry ? ItemOutcome::kRetry : ItemOutcome::kRefused;
    outcome.reasons.resize(findings.size());
    outcome.reasons[i] = std::move(worst.reason);
  }
  if (stored_as_failed > 0) {
    outcome.warning = fmt::format("{} documents went to the failure store: the mapping of the stream does not fit them", stored_as_failed);
  }
  return outcome;
}

Outcome JudgeBulkOfSamples(const Response& response) {
  if (auto outcome = JudgeRequest(response)) return *outcome;
  const Json answer = ParseJson(response.body);
  const Json* items = ItemsOf(answer);
  if (items == nullptr) return Outcome::Of(Outcome::Kind::kRetry, Describe(response) + "; its answer to _bulk is no JSON with `items`");
  Outcome outcome = Outcome::Delivered(1);
  size_t failed = 0;
  std::string first;
  for (const Json& json : *items) {
    const std::optional<Item> item = ItemOf(json, "a metrics stream");
    if (!item) return Outcome::Of(Outcome::Kind::kRetry, Describe(response) + "; its answer to _bulk holds an operation without its status");
    if (item->fate == Fate::kSuspend) return Outcome::Of(Outcome::Kind::kSuspend, item->reason);
    if (item->fate != Fate::kDelivered && failed++ == 0) first = item->reason;
  }
  if (failed > 0) outcome.warning = fmt::format("{} of {} samples were not taken: {}", failed, items->size(), first);
  return outcome;
}

}  // namespace outlier
