// Elasticsearch 8 and 9, OpenSearch 2 and 3: one sink, two dialects.
#include <algorithm>
#include <cctype>
#include <cstdio>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "absl/strings/escaping.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/sinks/bulk.h"
#include "userspace/sinks/search_setup.h"
#include "userspace/sinks/sink.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

constexpr size_t kMostBytes = 64 << 20;  // both take 100 MB
constexpr size_t kBatchOfSamples = 1 << 20;
constexpr size_t kLeastPerFinding = 4 << 10, kMostPerFinding = 32 << 10;  // bytes to make room for
constexpr size_t kMostOfNamespace = 100;
constexpr auto kPruneEvery = std::chrono::minutes(60), kFirstPrune = std::chrono::minutes(15);
constexpr size_t kPrunedAtOnce = 10'000;
constexpr std::string_view kCurrent = "outlier-incidents";
constexpr std::string_view kOurTemplates = "*outlier*";  // all of their names, and perhaps others
constexpr std::string_view kManagedBy = "outlier-relay";

enum class Dialect { kElasticsearch, kOpenSearch };

std::string_view KeyOf(Dialect dialect) { return dialect == Dialect::kElasticsearch ? "elasticsearch" : "opensearch"; }
std::string_view NameOf(Dialect dialect) { return dialect == Dialect::kElasticsearch ? "Elasticsearch" : "OpenSearch"; }

// What the two messages of relay.proto have in common.
struct Settings {
  Dialect dialect = Dialect::kElasticsearch;
  std::vector<std::string> urls;
  std::string api_key_file, setup_api_key_file, username, password_file, stream_namespace, retention_by;
  std::chrono::nanoseconds retention{0};
  std::chrono::nanoseconds resolved_kept{0};  // in the index of current incidents; 0 = for ever
  bool compress = true;
  size_t most_bytes_of_samples = kBatchOfSamples;
};

template <class Config>
void Take(const Config& config, Settings* settings) {
  settings->urls.assign(config.urls().begin(), config.urls().end());
  settings->api_key_file = config.api_key_file();
  settings->username = config.username();
  settings->password_file = config.password_file();
  settings->stream_namespace = config.namespace_().empty() ? "default" : config.namespace_();
  settings->retention_by = config.retention_by();
  settings->resolved_kept = std::chrono::nanoseconds(config.resolved_retention());
  settings->retention = std::chrono::nanoseconds(config.retention());
}

absl::Status Check(const Settings& s) {
  const std::string_view key = KeyOf(s.dialect);
  const auto wrong = [&](std::string_view field, std::string_view what) { return absl::InvalidArgumentError(fmt::format("{}.{}: {}", key, field, what)); };
  if (s.urls.empty()) return wrong("urls", "needed, but not given");
  for (const std::string& url : s.urls) {
    if (absl::Status status = CheckUrl(fmt::format("{}.urls", key), url); !status.ok()) return status;
    if (url.find_first_of("?#") != std::string::npos) return wrong("urls", "expected the address of a server, without ? and #");
  }
  if (!s.api_key_file.empty() && !(s.username.empty() && s.password_file.empty())) {
    return wrong("api_key_file", "either a key or a name with a password, not both");
  }
  if (s.username.empty() != s.password_file.empty()) return wrong(s.username.empty() ? "username" : "password_file", "needed, because the other of the two is given");
  if (s.username.find(':') != std::string::npos) return wrong("username", "a name in HTTP's basic authentication holds no colon");
  // It becomes the last part of the names of data streams.
  constexpr std::string_view kForbidden = "\\/*?\"<>|,#:- ";
  const bool fine = s.stream_namespace.size() <= kMostOfNamespace && s.stream_namespace.find_first_of(kForbidden) == std::string::npos &&
                    std::all_of(s.stream_namespace.begin(), s.stream_namespace.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f && !std::isupper(c); });
  if (!fine) {
    return wrong("namespace", fmt::format("`{}` cannot end the name of a data stream: at most {} characters, no capitals, no white space, none of {}",
                                          Printable(s.stream_namespace, 120), kMostOfNamespace, kForbidden));
  }
  return absl::OkStatus();
}

// What a server says of itself at GET /.
struct Identity {
  Dialect dialect = Dialect::kElasticsearch;
  std::string version;  // "8.19.21"
  int major = 0, minor = 0;
  bool serverless = false;

  bool CanRequireDataStreams() const {  // added in 8.13
    return dialect == Dialect::kElasticsearch && (serverless || major > 8 || (major == 8 && minor >= 13));
  }
  bool TooOld() const { return !serverless && major < (dialect == Dialect::kElasticsearch ? 8 : 2); }
};

std::optional<Identity> IdentityOf(const std::string& body) {
  const Json json = ParseJson(body);
  if (!json.is_object() || !json.contains("version") || !json["version"].is_object()) return std::nullopt;
  const Json& version = json["version"];
  const auto text = [&](const char* key) { return version.contains(key) && version[key].is_string() ? version[key].get<std::string>() : std::string(); };
  Identity identity;
  identity.version = Printable(text("number"), 40);
  if (std::sscanf(identity.version.c_str(), "%d.%d", &identity.major, &identity.minor) != 2) return std::nullopt;
  identity.dialect = text("distribution") == "opensearch" ? Dialect::kOpenSearch : Dialect::kElasticsearch;
  identity.serverless = text("build_flavor") == "serverless";
  return identity;
}

class SearchSink : public StreamSink {
 public:
  explicit SearchSink(Settings settings)
      : settings_(std::move(settings)),
        writer_(settings_.stream_namespace),
        api_key_(settings_.api_key_file),
        setup_api_key_(settings_.setup_api_key_file.empty() ? settings_.api_key_file : settings_.setup_api_key_file),
        password_(settings_.password_file) {}

  Limits limits() const override {
    Limits limits;
    limits.max_bytes = kMostBytes;
    limits.samples = true;
    limits.history = true;
    limits.works_ahead = limits.knows_repeats = true;
    return limits;
  }

  std::optional<Preparation> Prepare(WallTime now) override {
    if (stage_ == Stage::kReady) return Prune(now);
    const bool version = stage_ == Stage::kAskVersion;
    const std::string path =
        version ? "" : fmt::format("_index_template/{}?filter_path=index_templates.name,index_templates.index_template._meta", kOurTemplates);
    absl::StatusOr<Request> request = RequestTo("GET", path, &api_key_);
    if (!request.ok()) return std::nullopt;  // Encode says what is wrong with the key
    return Preparation{std::move(*request), version ? fmt::format("ask {} for its version", url()) : fmt::format("ask {} whether it is set up", url())};
  }

  Outcome Prepared(const Response& response, WallTime) override {
    if (std::exchange(pruning_, false)) return Pruned(response);
    return stage_ == Stage::kAskTemplates ? TemplatesTold(response) : VersionTold(response);
  }

  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime now) override {
    absl::StatusOr<Request> request = BulkRequest();
    if (!request.ok()) return request;
    request->body.reserve(findings.size() * bytes_per_finding_);  // else much of the time goes into making room and copying
    for (const Finding& finding : findings) {
      if (absl::Status status = writer_.Add(finding, now, &request->body); !status.ok()) return status;
    }
    if (!findings.empty()) bytes_per_finding_ = std::clamp<size_t>(request->body.size() / findings.size() * 9 / 8, kLeastPerFinding, kMostPerFinding);
    return request;
  }

  Outcome Judge(const Response& response, std::span<const Finding> findings) override {
    Notice(response);
    return JudgeBulk(response, findings);
  }

  std::vector<Request> EncodeSamples(const Samples& samples, WallTime now) override {
    std::vector<Request> requests;
    const absl::StatusOr<Request> head = BulkRequest();
    if (!head.ok()) return requests;  // samples are best effort; the next change says what is wrong with the key
    for (std::string& body : writer_.Bodies(samples, now, settings_.most_bytes_of_samples)) {
      requests.push_back(*head);
      requests.back().body = std::move(body);
    }
    return requests;
  }

  Outcome JudgeSamples(const Response& response) override {
    Notice(response);
    return JudgeBulkOfSamples(response);
  }

  std::optional<Preparation> Check() override {
    absl::StatusOr<Request> request = RequestTo("GET", "", &api_key_);
    if (!request.ok()) return std::nullopt;
    return Preparation{std::move(*request), fmt::format("ask {} for its version", url())};
  }

  absl::Status Checked(const Response& response) override {
    const Outcome outcome = JudgeHttp(response, 0);
    if (outcome.kind != Outcome::Kind::kItems) return absl::UnavailableError(outcome.reason);
    const std::optional<Identity> identity = IdentityOf(response.body);
    if (!identity) return absl::FailedPreconditionError(NotOurs(response));
    if (identity->dialect != settings_.dialect) return absl::FailedPreconditionError(Mismatch(*identity));
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<SetupStep>> Setup() override {
    const auto installations = SearchInstallations(KeyOf(settings_.dialect), settings_.retention_by, settings_.retention);
    if (!installations.ok()) return installations.status();
    std::vector<SetupStep> steps;
    for (const SearchInstallation& installation : *installations) {
      absl::StatusOr<Request> request = RequestTo(installation.method, installation.path, &setup_api_key_);
      if (!request.ok()) return request.status();
      request->headers.emplace_back("Content-Type", "application/json");
      request->body = installation.body;
      SetupStep step;
      step.request = std::move(*request);
      step.what = installation.what;
      step.optional = installation.optional;
      if (installation.path.find("/_ism/") != std::string::npos) {  // one that is there is changed by its own sequence number only
        Request look = step.request;
        look.method = "GET";
        look.body.clear();
        step.look = std::move(look);
        step.instead = [put = step.request](const Response& there) -> std::optional<Request> {
          const Json json = ParseJson(there.body);
          const auto number = [&](const char* key) { return json.is_object() && json.contains(key) && json[key].is_number_integer() ? json[key].get<int64_t>() : -1; };
          if (number("_seq_no") < 0 || number("_primary_term") < 0) return std::nullopt;
          Request request = put;
          request.url += fmt::format("?if_seq_no={}&if_primary_term={}", number("_seq_no"), number("_primary_term"));
          return request;
        };
      }
      steps.push_back(std::move(step));
    }
    return steps;
  }

 private:
  enum class Stage { kAskVersion, kAskTemplates, kReady };

  const std::string& url() const { return settings_.urls[url_]; }

  absl::StatusOr<Request> RequestTo(std::string_view method, std::string_view path, SecretFile* api_key) {
    Request request;
    request.method = method;
    request.url = JoinUrl(url(), path);
    request.headers.emplace_back("Accept", "application/json");
    if (api_key->given() || password_.given()) {
      SecretFile* file = api_key->given() ? api_key : &password_;
      absl::StatusOr<std::string> secret = file->Read();
      if (!secret.ok()) return secret.status();
      if (secret->find_first_of("\r\n\t ") != std::string::npos && file == api_key) {
        return absl::FailedPreconditionError(fmt::format("cannot use API key {}: it holds white space; put the key alone into the file", Printable(file->path())));
      }
      // The servers hand a key out as id and key, and as both encoded.
      std::string value = *secret;
      if (file == &password_) {
        value = BasicAuthorization(settings_.username, *secret);
      } else {
        value = "ApiKey " + (secret->find(':') == std::string::npos ? *secret : absl::Base64Escape(*secret));
      }
      request.secrets = {*secret, value.substr(value.find(' ') + 1)};
      request.headers.emplace_back("Authorization", std::move(value));
    }
    return request;
  }

  absl::StatusOr<Request> BulkRequest() {
    absl::StatusOr<Request> request = RequestTo("POST", fmt::format("_bulk?filter_path={}", kBulkFilterPath), &api_key_);
    if (!request.ok()) return request;
    request->headers.emplace_back("Content-Type", "application/x-ndjson");
    request->compress = settings_.compress;
    return request;
  }

  // The index of current incidents ages by nothing else: what is open has to stay. Some at a time; the rest an hour later.
  std::optional<Preparation> Prune(WallTime now) {
    if (settings_.resolved_kept.count() <= 0) return std::nullopt;
    if (!prune_at_) prune_at_ = now + kFirstPrune;  // a relay that is being started has better things to do
    if (now < *prune_at_) return std::nullopt;
    prune_at_ = now + kPruneEvery;
    absl::StatusOr<Request> request = RequestTo("POST", fmt::format("{}/_delete_by_query?conflicts=proceed&ignore_unavailable=true&max_docs={}", kCurrent, kPrunedAtOnce), &api_key_);
    if (!request.ok()) return std::nullopt;
    request->headers.emplace_back("Content-Type", "application/json");
    const Json resolved = {{"term", {{"outlier.incident.state", "RESOLVED"}}}};
    const Json old = {{"range", {{"outlier.incident.resolved_time", {{"lt", Rfc3339(now - settings_.resolved_kept)}}}}}};
    request->body = Dump(Json{{"query", {{"bool", {{"filter", Json::array({resolved, old})}}}}}});
    pruning_ = true;
    return Preparation{std::move(*request), fmt::format("remove incidents that were resolved long ago from {}", kCurrent)};
  }

  // Nothing waits for it: it is tried again in an hour.
  Outcome Pruned(const Response& response) {
    Outcome outcome = JudgeHttp(response, 0);
    if (outcome.kind == Outcome::Kind::kItems || (response.answered() && response.status == 404)) return Outcome::Delivered(0);
    const std::string why = outcome.reason;
    outcome = Outcome::Delivered(0);
    outcome.warning = fmt::format("cannot remove incidents that were resolved long ago from {}: {}; allow the key `read` and `delete` there, or set resolved_retention: 0", kCurrent, why);
    return outcome;
  }

  // A server that cannot be reached, or answers that it is broken, is left for the next; whoever that is, it is asked who it is.
  void Notice(const Response& response) {
    if (response.answered() && response.status < 500) return;
    url_ = (url_ + 1) % settings_.urls.size();
    stage_ = Stage::kAskVersion;
  }

  Outcome VersionTold(const Response& response) {
    Outcome outcome = JudgeHttp(response, 0);
    // A key that may write and nothing else cannot ask; whether it may write, the first batch shows.
    const bool forbidden = response.answered() && response.status == 403;
    if (outcome.kind != Outcome::Kind::kItems && !forbidden) {
      Notice(response);
      return outcome;
    }
    Identity identity;
    identity.dialect = settings_.dialect;
    outcome = Outcome::Delivered(0);
    if (forbidden) {
      outcome.warning = fmt::format("{} does not tell its version to this key ({}); taken for {} as configured", url(), Describe(response), NameOf(identity.dialect));
    } else if (const auto told = IdentityOf(response.body)) {
      identity = *told;
      if (identity.dialect != settings_.dialect) outcome.warning = Mismatch(identity);
      else if (identity.TooOld()) outcome.warning = fmt::format("{} is {} {}, older than what this was made for", url(), NameOf(identity.dialect), identity.version);
    } else {
      return Outcome::Of(Outcome::Kind::kSuspend, NotOurs(response));
    }
    writer_.set_require_data_stream(identity.CanRequireDataStreams());
    stage_ = Stage::kAskTemplates;
    warning_of_version_ = outcome.warning;
    return outcome;
  }

  // Without them the first document would make an index with guessed mappings, or, of the template for logs that Elasticsearch comes with, a data stream
  // with wrong ones, which no setup could mend later.
  Outcome TemplatesTold(const Response& response) {
    Outcome outcome = JudgeHttp(response, 0);
    const bool forbidden = response.answered() && response.status == 403;  // to ask
    const bool none = response.answered() && response.status == 404;
    if (outcome.kind != Outcome::Kind::kItems && !forbidden && !none) {
      Notice(response);
      return outcome;
    }
    outcome = Outcome::Delivered(0);
    if (forbidden) {
      outcome.warning = fmt::format("{}{}{} does not tell this key whether it is set up ({}); allow it `monitor`, or see to it that `outlier-relay setup` "
                                    "was run, else what is written gets guessed mappings",
                                    warning_of_version_, warning_of_version_.empty() ? "" : "; ", url(), Describe(response));
    } else {
      const absl::StatusOr<std::string> missing = TemplatesMissingIn(response.body);
      if (!missing.ok()) return Outcome::Of(Outcome::Kind::kSuspend, MessageOf(missing.status()));
      if (!missing->empty()) {
        return Outcome::Of(Outcome::Kind::kSuspend,
                           fmt::format("{} has no index template {} of outlier-relay; `outlier-relay setup` installs what is missing", url(), *missing));
      }
    }
    stage_ = Stage::kReady;
    return outcome;
  }

  // By name; one that somebody else made under a name of ours is none of ours.
  absl::StatusOr<std::string> TemplatesMissingIn(const std::string& body) const {
    const auto installations = SearchInstallations(KeyOf(settings_.dialect), "none", {});
    if (!installations.ok()) return installations.status();
    std::vector<std::string> there;
    const Json json = ParseJson(body);
    const Json* templates = json.is_object() && json.contains("index_templates") ? &json["index_templates"] : nullptr;
    for (size_t i = 0; templates != nullptr && templates->is_array() && i < templates->size(); ++i) {
      const Json& one = (*templates)[i];
      const auto says = [&](const char* where) {
        const Json::json_pointer path(where);
        return one.contains(path) && one.at(path).is_string() ? one.at(path).get<std::string>() : std::string();
      };
      if (says("/index_template/_meta/managed_by") == kManagedBy) there.push_back(says("/name"));
    }
    std::vector<std::string> missing;
    for (const SearchInstallation& installation : *installations) {
      constexpr std::string_view kAt = "/_index_template/";
      if (!installation.path.starts_with(kAt)) continue;
      const std::string name = installation.path.substr(kAt.size());
      if (std::find(there.begin(), there.end(), name) == there.end()) missing.push_back(name);
    }
    return fmt::format("{}", fmt::join(missing, ", "));
  }

  std::string NotOurs(const Response& response) const {
    return fmt::format("{} answers, but not as {} does; is the address right? {}", url(), NameOf(settings_.dialect), Describe(response));
  }
  std::string Mismatch(const Identity& identity) const {
    return fmt::format("{} is {} {}, but configured as `{}`; configure it as `{}`, or `outlier-relay setup` installs what it does not understand", url(),
                       NameOf(identity.dialect), identity.version, KeyOf(settings_.dialect), KeyOf(identity.dialect));
  }

  const Settings settings_;
  BulkWriter writer_;
  SecretFile api_key_, setup_api_key_, password_;
  size_t url_ = 0;
  Stage stage_ = Stage::kAskVersion;
  std::string warning_of_version_;
  std::optional<WallTime> prune_at_;
  bool pruning_ = false;
  size_t bytes_per_finding_ = kLeastPerFinding;  // of the last body, and some
};

absl::StatusOr<AnySink> Make(const SinkContext& context, Settings settings) {
  if (absl::Status status = Check(settings); !status.ok()) return status;
  const config::v1::Delivery& delivery = context.config.delivery();
  settings.compress = delivery.compression() != "none";
  if (delivery.max_batch() > 0) settings.most_bytes_of_samples = static_cast<size_t>(delivery.max_batch());
  AnySink sink;
  sink.stream = std::make_unique<SearchSink>(std::move(settings));
  return sink;
}

}  // namespace

namespace sinks {

absl::StatusOr<AnySink> MakeElasticsearch(const SinkContext& context) {
  Settings settings;
  Take(context.config.elasticsearch(), &settings);
  settings.setup_api_key_file = context.config.elasticsearch().setup_api_key_file();
  if (settings.retention_by.empty()) settings.retention_by = "lifecycle";
  return Make(context, std::move(settings));
}

absl::StatusOr<AnySink> MakeOpenSearch(const SinkContext& context) {
  Settings settings;
  settings.dialect = Dialect::kOpenSearch;
  Take(context.config.opensearch(), &settings);
  if (settings.retention_by.empty()) settings.retention_by = "ism";
  return Make(context, std::move(settings));
}

}  // namespace sinks
}  // namespace outlier
