// A courier in virtual time: feeds whose readers are played, a server that does as a test says, a real ledger in a temporary folder, and a
// model of what the server holds. A crash is the end of courier and ledger at any step; what comes after starts from the file alone.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tests/courier/fake_feed.h"
#include "tests/courier/scripted_sinks.h"
#include "userspace/relay/courier.h"

namespace outlier {

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
    sink.kind = kind;
    if (state_) {
      sink.state = std::make_unique<ScriptedPager>(&pager);
    } else {
      sink.stream = std::make_unique<ScriptedStream>(&stream);
    }
    courier_ = MakeCourier({config_, kind, *route, addresses_, labels_, silences_.get(), ledger_.get()}, std::move(sink));
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
  std::string kind = "scripted";
  StreamServer stream;
  PagerServer pager;
  std::function<void()> on_request;
  std::function<bool()> overtakes;  // what is sent ahead arrives before what it was sent ahead of
  std::function<bool()> hangs;      // what nobody waits for any more keeps the second connection busy
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
    if (!courier().overlaps()) return;
    if (ahead_ && ahead_->request.expired() && !(hangs && hangs())) {
      ++forgotten;
      ahead_.reset();
    }
    if (ahead_) return;  // its turn is still to come, or it hangs, though nobody waits for it
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
