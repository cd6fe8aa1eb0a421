// A courier in virtual time: feeds whose readers are played, a server that does as a test says, a real ledger in a temporary folder, and a
// model of what the server holds. A crash is the end of courier and ledger at any step; what comes after starts from the file alone.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "userspace/relay/courier.h"

namespace outlier {

inline constexpr WallTime kStart{std::chrono::seconds(1'800'000'000)};
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

class Folder {
 public:
  Folder() {  // in memory where there is such a place: thousands of synchronous commits
    std::string name = std::string(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + "/outlier-courier-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// A journal, and what the reader of it says: as FeedReader does.
class FakeFeed {
 public:
  FakeFeed(size_t number, std::string id) : number_(number), id_(std::move(id)) {}

  const std::string& id() const { return id_; }
  uint64_t last() const { return journal_.size(); }
  const std::vector<v1::IncidentChange>& journal() const { return journal_; }
  const std::map<std::string, v1::Incident>& open() const { return open_; }
  bool up = true;

  const v1::IncidentChange& Add(v1::IncidentChange::Kind kind, const std::string& id, WallTime now, v1::Incident::Severity severity = v1::Incident::MAJOR,
                                const std::function<void(v1::Incident*)>& tweak = {}) {
    v1::Incident incident;
    if (const auto it = open_.find(id); it != open_.end()) {
      incident = it->second;
    } else {
      incident.set_id(id);
      incident.mutable_source()->set_feed_id(id_);
      incident.mutable_source()->set_host_name(fmt::format("host-{}", number_));
      incident.mutable_workload()->set_name("w-" + id);
      incident.mutable_workload()->set_kind(v1::Workload::SYSTEMD_UNIT);
      incident.set_pattern(v1::Incident::STEP);
      *incident.mutable_onset_time() = *incident.mutable_opened_time() = ToTimestamp(now);
    }
    incident.set_severity(severity);
    incident.set_state(v1::Incident::OPEN);
    incident.set_summary(fmt::format("{} is {} at {}", id, v1::Incident::Severity_Name(severity), journal_.size() + 1));
    *incident.mutable_updated_time() = ToTimestamp(now);
    if (kind == v1::IncidentChange::ACKNOWLEDGED) incident.set_acknowledged(true);
    if (kind == v1::IncidentChange::RESOLVED) {
      incident.set_state(v1::Incident::RESOLVED);
      *incident.mutable_resolved_time() = ToTimestamp(now);
    }
    if (tweak) tweak(&incident);
    if (incident.state() == v1::Incident::OPEN) {
      open_[id] = incident;
    } else {
      open_.erase(id);
    }
    v1::IncidentChange change;
    change.set_sequence(journal_.size() + 1);
    change.set_kind(kind);
    *change.mutable_time() = ToTimestamp(now);
    *change.mutable_incident() = incident;
    journal_.push_back(std::move(change));
    return journal_.back();
  }
  const v1::IncidentChange& Open(const std::string& id, WallTime now, v1::Incident::Severity severity = v1::Incident::MAJOR,
                                 const std::function<void(v1::Incident*)>& tweak = {}) {
    return Add(v1::IncidentChange::OPENED, id, now, severity, tweak);
  }
  const v1::IncidentChange& Update(const std::string& id, WallTime now, v1::Incident::Severity severity = v1::Incident::MAJOR) {
    return Add(v1::IncidentChange::UPDATED, id, now, severity);
  }
  const v1::IncidentChange& Resolve(const std::string& id, WallTime now) {
    const auto it = open_.find(id);
    return Add(v1::IncidentChange::RESOLVED, id, now, it == open_.end() ? v1::Incident::MAJOR : it->second.severity());
  }
  // The state folder is wiped: another journal, nothing open.
  void Wipe(std::string id) {
    id_ = std::move(id);
    journal_.clear();
    open_.clear();
    kept_from_ = 1;
    connected_ = false;
  }
  // What was resolved is dropped up to here; what is open is kept in parts.
  void Compact(uint64_t kept_from) {
    kept_from_ = kept_from;
    connected_ = false;
  }
  // Put back to an older state.
  void Rewind(uint64_t last) {
    journal_.resize(last);
    open_.clear();
    for (const auto& change : journal_) {
      if (change.incident().state() == v1::Incident::OPEN) {
        open_[change.incident().id()] = change.incident();
      } else {
        open_.erase(change.incident().id());
      }
    }
    connected_ = false;
  }

  void Resume(const std::vector<Cursor>& cursors, const std::string& address, bool from_now) {
    connected_ = listed_ = false;
    told_ = true;
    reader_feed_.clear();
    position_ = 0;
    for (const Cursor& cursor : cursors) {
      if (cursor.source != address) continue;
      reader_feed_ = cursor.feed_id;
      position_ = cursor.sequence;
    }
    if (reader_feed_.empty() && from_now) {
      reader_feed_ = id_;
      position_ = last();
    }
  }
  // The next thing that the reader has to say, if any.
  std::optional<FeedEvent> Next(WallTime now) {
    FeedEvent event;
    event.source = number_;
    event.feed_id = reader_feed_;
    event.time = now;
    event.host.set_feed_id(id_);
    event.host.set_host_name(fmt::format("host-{}", number_));
    if (!up) {
      if (!connected_) return std::nullopt;
      connected_ = false;
      event.kind = FeedEvent::Kind::kDisconnected;
      event.message = "cannot watch it: gone";
      return event;
    }
    if (!connected_) {
      if (!reader_feed_.empty() && reader_feed_ != id_) {
        event.kind = FeedEvent::Kind::kGap;
        event.host.set_feed_id(reader_feed_);
        event.gap = {position_ + 1, 0, 0, "feed_replaced"};
        if (std::exchange(gap_told_, true)) {
          gap_told_ = false;
          event = {};
          event.source = number_;
          event.kind = FeedEvent::Kind::kReplaced;
          event.old_feed_id = std::exchange(reader_feed_, id_);
          event.feed_id = id_;
          position_ = 0;
        }
        return event;
      }
      if (position_ > last()) {
        event.kind = FeedEvent::Kind::kGap;
        event.gap = {last() + 1, position_, 0, "journal_rewound"};
        position_ = last();
        return event;
      }
      if (position_ != 0 && position_ + 1 < kept_from_ && !std::exchange(gap_told_, true)) {
        event.kind = FeedEvent::Kind::kGap;
        event.gap = {position_ + 1, kept_from_ - 1, 0, "compacted"};
        return event;
      }
      gap_told_ = false;
      connected_ = true;
      listed_ = false;
      told_ = false;
      reader_feed_ = event.feed_id = id_;
      event.kind = FeedEvent::Kind::kConnected;
      event.sequence = position_;
      return event;
    }
    while (position_ < last()) {
      const v1::IncidentChange& change = journal_[position_++];
      if (change.sequence() < kept_from_ && !open_.contains(change.incident().id())) continue;
      event.kind = FeedEvent::Kind::kChange;
      event.change = change;
      told_ = false;
      return event;
    }
    if (!std::exchange(told_, true)) {
      event.kind = FeedEvent::Kind::kCaughtUp;
      event.sequence = position_;
      return event;
    }
    if (!std::exchange(listed_, true)) {
      event.kind = FeedEvent::Kind::kOpenNow;
      event.sequence = position_;
      for (const auto& [id, incident] : open_) event.open.push_back(incident);
      return event;
    }
    return std::nullopt;
  }
  void Disconnect() { connected_ = false; }

 private:
  const size_t number_;
  std::string id_;
  std::vector<v1::IncidentChange> journal_;
  std::map<std::string, v1::Incident> open_;
  uint64_t kept_from_ = 1;
  std::string reader_feed_;
  uint64_t position_ = 0;
  bool connected_ = false, listed_ = false, told_ = true, gap_told_ = false;
};

// What a sink's server says to one request, and what it makes of it.
enum class Says { kTakes, kUnavailable, kUnauthorized, kTooLarge, kRefuses, kLost /* takes it; the answer never comes */, kNoConnection };

inline Response Answer(Says says) {
  Response response;
  switch (says) {
    case Says::kTakes: response.status = 200; break;
    case Says::kUnavailable: response.status = 503; break;
    case Says::kUnauthorized: response.status = 401; break;
    case Says::kTooLarge: response.status = 413; break;
    case Says::kRefuses: response.status = 400; break;
    case Says::kLost: response.failure = Response::Failure::kTimeout; break;
    case Says::kNoConnection: response.failure = Response::Failure::kConnect; break;
  }
  if (!response.answered()) response.failure_text = "timed out";
  return response;
}

struct StreamServer {
  static constexpr const char* kPreparation = "prepare";
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
  std::function<absl::Status()> encode_fails;
  std::optional<Outcome> preparation;  // asked for before all else, until it is delivered
  int prepared = 0;
  bool deduplicates = true;      // by FindingKey

  std::vector<Taken> taken;      // in order, duplicates too
  std::vector<size_t> requests;  // items of each
  std::map<std::string, int> times;
  std::vector<std::vector<Finding>> sent;

  Response Receive(const Request& request, WallTime now) {
    if (request.body == kPreparation) return Answer(Says::kTakes);
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
    if (outcome.kind == Outcome::Kind::kItems) {
      for (size_t i = 0; i < outcome.items.size() && i < response.body.size(); ++i) outcome.items[i] = static_cast<ItemOutcome>(response.body[i] - '0');
    }
    return outcome;
  }
  std::vector<Request> EncodeSamples(const Samples&, WallTime) override { return {}; }

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
  };
  std::function<Says(const Page&, WallTime)> says = [](const Page&, WallTime) { return Says::kTakes; };
  StateSink::Capabilities capabilities{.acknowledge = true, .update = true};
  std::function<void(Response*)> adorn;

  std::vector<Said> said;                  // what it took
  std::map<std::string, Said> open;        // by page key
  std::set<std::string> resolved;          // page keys
  std::vector<std::string> violations;     // a trigger after its resolve
  int asked = 0;
  std::vector<std::vector<Page>> sent;

  Response Receive(const Request& request, WallTime now) {
    const std::vector<Page>& pages = sent.at(std::stoul(request.body));
    ++asked;
    Says what = Says::kTakes;
    for (const Page& page : pages) {
      const Says one = says(page, now);
      if (one != Says::kTakes) what = one;
    }
    if (what == Says::kTakes || what == Says::kLost) {
      for (const Page& page : pages) Take(page, now);
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
  void Take(const Page& page, WallTime now) {
    const v1::Incident& incident = page.finding.incident();
    Said one{page.action, incident.id(), page.action == Page::Action::kDigest ? "" : IncidentKey(incident), incident.severity(), page.text, page.related, now, page.key};
    if (page.key.empty() || page.key.size() > 128) violations.push_back("key of " + std::to_string(page.key.size()) + " bytes");
    switch (page.action) {
      case Page::Action::kOpen:
      case Page::Action::kUpdate:
      case Page::Action::kRepeat:
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
    letters.requests.emplace_back();
    letters.requests.back().body = std::to_string(server_->sent.size() - 1);
    return letters;
  }
  Outcome Judge(const Response& response, std::span<const Page> pages) override { return JudgeHttp(response, pages.size()); }

 private:
  PagerServer* const server_;
};

// What a loader of relay.yaml fills in.
inline config::v1::Sink DefaultSink(const std::string& name) {
  config::v1::Sink sink;
  sink.set_name(name);
  sink.mutable_route()->set_min_severity("warning");
  config::v1::Delivery& delivery = *sink.mutable_delivery();
  delivery.set_max_batch(1 << 20);
  delivery.set_max_items(2000);
  delivery.set_linger(200'000'000);
  delivery.set_compression("gzip");
  delivery.set_first_backoff(1'000'000'000);
  delivery.set_max_backoff(300'000'000'000);
  delivery.set_suspended_retry(60'000'000'000);
  config::v1::Paging& paging = *sink.mutable_paging();
  paging.set_send_resolved(true);
  paging.set_max_pages_per_hour(60);
  paging.set_hold_down(300'000'000'000);
  paging.set_group_related(true);
  return sink;
}

class Bench {
 public:
  explicit Bench(bool state, size_t feeds = 1) : state_(state), config_(DefaultSink("oncall")) {
    for (size_t i = 0; i < feeds; ++i) {
      addresses_.push_back(fmt::format("unix:///run/{}/feed.sock", i));
      feeds_.push_back(std::make_unique<FakeFeed>(i, fmt::format("feed{}", i)));
    }
  }
  FakeFeed& feed(size_t i = 0) { return *feeds_[i]; }
  config::v1::Sink& config() { return config_; }
  Courier& courier() {
    if (!courier_) Start();
    return *courier_;
  }
  Ledger& ledger() {
    if (!ledger_) Start();
    return *ledger_;
  }
  Silences& silences() {
    if (!silences_) Start();
    return *silences_;
  }
  relay::v1::SinkStatus Status() { return courier().Status(now); }

  void Start() {
    std::vector<std::string> messages;
    auto ledger = Ledger::Open(folder_ / "relay.db", &messages);
    ASSERT_TRUE(ledger.ok()) << ledger.status();
    ledger_ = *std::move(ledger);
    silences_ = std::make_unique<Silences>(ledger_.get(), *labels_);
    ASSERT_TRUE(silences_->Load().ok());
    const auto route = Route::Of(config_.route(), *labels_);
    ASSERT_TRUE(route.ok()) << route.status();
    AnySink sink;
    sink.kind = "scripted";
    if (state_) {
      sink.state = std::make_unique<ScriptedPager>(&pager);
    } else {
      sink.stream = std::make_unique<ScriptedStream>(&stream);
    }
    courier_ = MakeCourier({config_, "scripted", *route, addresses_, labels_, silences_.get(), ledger_.get()}, std::move(sink));
    const auto cursors = ledger_->Cursors(config_.name());
    ASSERT_TRUE(cursors.ok());
    for (size_t i = 0; i < feeds_.size(); ++i) feeds_[i]->Resume(*cursors, addresses_[i], state_);
  }
  // The relay dies; what it had not written is gone.
  void Crash() {
    ahead_.reset();
    courier_.reset();
    silences_.reset();
    ledger_.reset();
  }
  void Restart() {
    Crash();
    Start();
  }

  // Reads what there is, as far as there is room. True when something was read.
  bool Read(size_t most = 1000) {
    Courier& to = courier();
    bool read = false;
    for (auto& feed : feeds_) {
      for (size_t i = 0; i < most && to.HasRoom(); ++i) {
        auto event = feed->Next(now);
        if (!event) break;
        to.Take(*std::move(event), now);
        read = true;
      }
    }
    return read;
  }
  // One request, if one is due. `answered` false: it dies before the answer.
  bool Send(bool answered = true) {
    auto request = courier().Next(now);
    if (!request) return false;
    std::optional<Response> response;
    if (ahead_ && ahead_->request.lock() == request) response = std::exchange(ahead_, std::nullopt)->response;
    if (!response && !(overtakes && overtakes())) response = Serve(*request);
    if (courier().works_ahead()) {  // meanwhile
      Read();
      if (const auto next = courier().Ready(now)) SendAhead(next);
    }
    if (!response) response = Serve(*request);
    if (on_request) on_request();
    if (answered) courier().Receive(*response, now);
    return true;
  }
  // Until this time: whatever is due is done when it is due; time jumps between.
  void Run(std::chrono::nanoseconds how_long, const std::function<void()>& meanwhile = {}) {
    const WallTime until = now + how_long;
    for (int idle = 0;;) {
      bool did = Read();
      while (Send()) did = true;
      if (!did) did = Read();  // there may be room again, as after a write that failed before
      if (meanwhile) meanwhile();
      if (did) {
        idle = 0;
        continue;
      }
      const WallTime wake = courier().WakeAt();
      if (wake <= now) {
        ASSERT_LT(++idle, 3) << "it asks to be woken at once, and has nothing to do: a busy loop";
        continue;
      }
      idle = 0;
      const WallTime next = std::min(wake, until);
      if (next >= until) {
        now = until;
        Read();
        while (Send()) {
        }
        return;
      }
      now = next;
      ++wakes;
    }
  }

  WallTime now = kStart;
  StreamServer stream;
  PagerServer pager;
  std::function<void()> on_request;
  std::function<bool()> overtakes;  // what is sent ahead arrives before what it was sent ahead of
  int forgotten = 0;                // sent ahead, and nobody wanted the answer
  uint64_t wakes = 0;
  std::string database() const { return folder_ / "relay.db"; }

 private:
  // What was sent before its turn, and what the server said.
  struct Ahead {
    std::weak_ptr<const Request> request;
    Response response;
  };
  Response Serve(const Request& request) { return state_ ? pager.Receive(request, now) : stream.Receive(request, now); }
  void SendAhead(const std::shared_ptr<const Request>& request) {
    if (!courier().overlaps() || (ahead_ && !ahead_->request.expired())) return;
    if (ahead_) ++forgotten;
    courier().SentAhead();
    ahead_ = Ahead{request, Serve(*request)};
  }
  const bool state_;
  Folder folder_;
  config::v1::Sink config_;
  std::shared_ptr<const Labels> labels_ = std::make_shared<const Labels>(Labels{{"site", "ams"}});
  std::vector<std::string> addresses_;
  std::vector<std::unique_ptr<FakeFeed>> feeds_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Silences> silences_;
  std::unique_ptr<Courier> courier_;
  std::optional<Ahead> ahead_;
};

}  // namespace outlier
