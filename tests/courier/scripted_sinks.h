// Sinks whose servers do as a test says, and keep what they hold.
#pragma once
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "userspace/sinks/sink.h"

namespace outlier {

// What a sink's server says to one request, and what it makes of it.
enum class Says { kTakes, kUnavailable, kUnauthorized, kTooLarge, kRefuses, kLost /* takes it; the answer never comes */, kNoConnection, kGone };

inline Response Answer(Says says) {
  Response response;
  switch (says) {
    case Says::kTakes: response.status = 200; break;
    case Says::kUnavailable: response.status = 503; break;
    case Says::kUnauthorized: response.status = 401; break;
    case Says::kTooLarge: response.status = 413; break;
    case Says::kRefuses: response.status = 400; break;
    case Says::kLost: response.failure = Response::Failure::kTimeout; break;
    case Says::kGone: response.status = 410; break;
    case Says::kNoConnection: response.failure = Response::Failure::kConnect; break;
  }
  if (!response.answered()) response.failure_text = "timed out";
  return response;
}

struct StreamServer {
  static constexpr const char* kPreparation = "prepare";
  static constexpr const char* kSamples = "samples";
  struct Taken {
    std::string key, incident;
    v1::IncidentChange change;
    std::optional<Gap> gap;
    WallTime at;
    bool silenced;
  };
  std::function<Says(const std::vector<Finding>&, WallTime)> says = [](const auto&, WallTime) { return Says::kTakes; };
  // Where it takes a request: item by item; none = all delivered.
  std::function<ItemOutcome(const Finding&, WallTime)> item;
  std::function<void(Response*)> adorn;
  StreamSink::Limits limits;
  std::function<bool(const Finding&)> wants;  // none = all
  std::function<absl::Status()> encode_fails;
  std::optional<Outcome> preparation;  // asked for before all else, until it is delivered
  int prepared = 0;
  bool deduplicates = true;      // by FindingKey
  size_t requests_of_samples = 0;             // that a tick of samples takes
  std::function<Outcome(size_t)> on_samples;  // by the number of the request, from 0; none = taken
  size_t samples_received = 0;

  std::vector<Taken> taken;      // in order, duplicates too
  std::vector<size_t> requests;  // items of each
  std::map<std::string, int> times;
  std::vector<std::vector<Finding>> sent;

  Response Receive(const Request& request, WallTime now) {
    if (request.body == kPreparation) return Answer(Says::kTakes);
    if (request.body == kSamples) {
      ++samples_received;
      return Answer(Says::kTakes);
    }
    const std::vector<Finding>& findings = sent.at(std::stoul(request.body));
    requests.push_back(findings.size());
    const Says what = says(findings, now);
    Response response = Answer(what);
    if (what == Says::kTakes || what == Says::kLost) {
      for (const Finding& finding : findings) {
        const ItemOutcome outcome = item ? item(finding, now) : ItemOutcome::kDelivered;
        response.body += static_cast<char>('0' + static_cast<int>(outcome));
        if (outcome != ItemOutcome::kDelivered) continue;
        taken.push_back({FindingKey(finding), IncidentKey(finding.incident()), finding.change, finding.gap, now, finding.silence.has_value()});
        ++times[FindingKey(finding)];
      }
    }
    if (adorn) adorn(&response);
    return response;
  }
};

class ScriptedStream : public StreamSink {
 public:
  explicit ScriptedStream(StreamServer* server) : server_(server) {}
  Limits limits() const override { return server_->limits; }
  bool Wants(const Finding& finding) const override { return !server_->wants || server_->wants(finding); }
  std::optional<Preparation> Prepare(WallTime) override {
    if (!server_->preparation) return std::nullopt;
    Preparation preparation;
    preparation.request.body = StreamServer::kPreparation;
    return preparation;
  }
  Outcome Prepared(const Response&, WallTime) override {
    ++server_->prepared;
    const Outcome outcome = *server_->preparation;
    if (outcome.kind == Outcome::Kind::kItems) server_->preparation.reset();
    return outcome;
  }
  absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime) override {
    if (server_->encode_fails) {
      if (absl::Status status = server_->encode_fails(); !status.ok()) return status;
    }
    server_->sent.emplace_back(findings.begin(), findings.end());
    Request request;
    request.body = std::to_string(server_->sent.size() - 1) + "\n";
    for (const Finding& finding : findings) request.body += finding.change.SerializeAsString();
    return request;
  }
  Outcome Judge(const Response& response, std::span<const Finding> findings) override {
    Outcome outcome = JudgeHttp(response, findings.size());
    if (response.status == 410) outcome.kind = Outcome::Kind::kEnded;
    if (outcome.kind == Outcome::Kind::kItems) {
      for (size_t i = 0; i < outcome.items.size() && i < response.body.size(); ++i) outcome.items[i] = static_cast<ItemOutcome>(response.body[i] - '0');
    }
    return outcome;
  }
  std::vector<Request> EncodeSamples(const Samples&, WallTime) override {
    Request request;
    request.body = StreamServer::kSamples;
    return std::vector<Request>(server_->requests_of_samples, request);
  }
  Outcome JudgeSamples(const Response&) override { return server_->on_samples ? server_->on_samples(server_->samples_received - 1) : Outcome::Delivered(1); }

 private:
  StreamServer* const server_;
};

struct PagerServer {
  struct Said {
    Page::Action action;
    std::string key;       // of the page
    std::string incident;  // "" = a digest
    v1::Incident::Severity severity;
    std::string text;
    std::vector<std::string> related;
    WallTime at;
    std::string page_key;
    bool quiet = false;    // of a digest
    size_t peer = 0;
  };
  std::function<Says(const Page&, WallTime)> says = [](const Page&, WallTime) { return Says::kTakes; };
  size_t peers = 1;        // of several each gets every page, and one that takes it is enough
  std::function<Says(size_t, const Page&, WallTime)> peer_says;  // none = as `says`
  StateSink::Capabilities capabilities{.acknowledge = true, .update = true};
  std::function<void(Response*)> adorn;

  std::vector<Said> said;                  // what it took
  std::map<std::string, Said> open;        // by page key
  std::set<std::string> resolved;          // page keys
  std::vector<std::string> violations;     // a trigger after its resolve
  int asked = 0;
  std::vector<std::vector<Page>> sent;

  Response Receive(const Request& request, WallTime now) {
    size_t rest = 0;
    const std::vector<Page>& pages = sent.at(std::stoul(request.body, &rest));
    const size_t peer = std::stoul(request.body.substr(rest));
    ++asked;
    Says what = Says::kTakes;
    for (const Page& page : pages) {
      const Says one = peer_says ? peer_says(peer, page, now) : says(page, now);
      if (one != Says::kTakes) what = one;
    }
    if (what == Says::kTakes || what == Says::kLost) {
      for (const Page& page : pages) Take(page, now, peer);
    }
    Response response = Answer(what);
    if (adorn) adorn(&response);
    return response;
  }
  size_t Count(Page::Action action) const {
    return static_cast<size_t>(std::count_if(said.begin(), said.end(), [&](const Said& one) { return one.action == action; }));
  }
  size_t Count(Page::Action action, const std::string& id) const {
    return static_cast<size_t>(std::count_if(said.begin(), said.end(), [&](const Said& one) { return one.action == action && one.key == id; }));
  }
  // The ids of what is open there.
  std::set<std::string> OpenIds() const {
    std::set<std::string> ids;
    for (const auto& [key, one] : open) ids.insert(one.key);
    return ids;
  }

 private:
  void Take(const Page& page, WallTime now, size_t peer) {
    const v1::Incident& incident = page.finding.incident();
    const bool digest = page.action == Page::Action::kDigest;
    Said one{page.action, incident.id(), digest ? "" : IncidentKey(incident), incident.severity(), page.text, page.related, now, page.key, digest && page.digest_quiet, peer};
    if (page.key.empty() || page.key.size() > 128) violations.push_back("key of " + std::to_string(page.key.size()) + " bytes");
    switch (page.action) {
      case Page::Action::kOpen:
      case Page::Action::kUpdate:
      case Page::Action::kRepeat:
        if (incident.state() == v1::Incident::RESOLVED) {
          if (open.contains(page.key) || !resolved.contains(page.key)) violations.push_back("told again to be over, and never told: " + page.key);
          break;
        }
        if (resolved.contains(page.key)) violations.push_back("a trigger after its resolve: " + page.key);
        if (page.action == Page::Action::kOpen && open.contains(page.key)) one.text = "again";
        open[page.key] = one;
        break;
      case Page::Action::kResolve:
        open.erase(page.key);
        resolved.insert(page.key);
        break;
      default: break;
    }
    said.push_back(std::move(one));
  }
};

class ScriptedPager : public StateSink {
 public:
  explicit ScriptedPager(PagerServer* server) : server_(server) {}
  Capabilities capabilities() const override { return server_->capabilities; }
  absl::StatusOr<Letters> Encode(std::span<const Page> pages, WallTime) override {
    server_->sent.emplace_back(pages.begin(), pages.end());
    Letters letters;
    letters.all_needed = server_->peers == 1;
    for (size_t peer = 0; peer < server_->peers; ++peer) {
      letters.requests.emplace_back();
      letters.requests.back().url = "http://am-" + std::to_string(peer) + ":9093/api/v2/alerts";
      letters.requests.back().body = std::to_string(server_->sent.size() - 1) + " " + std::to_string(peer);
    }
    return letters;
  }
  Outcome Judge(const Response& response, std::span<const Page> pages) override { return JudgeHttp(response, pages.size()); }

 private:
  PagerServer* const server_;
};

}  // namespace outlier
