// Courier: decides what one sink is sent next, and what an answer means for cursors, pages and dead letters. No thread, no clock, no network:
// who drives it passes the time, carries the requests and brings the answers, so that a day's outage is tested in a second.
//
//   Take(event) ...  while HasRoom()
//   Next(now) -> request, or nothing until WakeAt() or news;  Receive(answer, now) once for each request
//
// What was dealt with is written to the ledger before anything further is sent; of a sink that knows repeats, within a moment. Where that fails (disk full)
// nothing further is sent and HasRoom() is false.
//
// A wall clock may be set. Waits, hold-downs and caps are measured on an axis that never goes back: wall time, and what it was set back by. Times of
// documents, silences and ages are wall time.
//
// A feed belongs to the source that brought it first, by the ledger: another source that says it is the same feed is not heard.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "userspace/delivery/feed_event.h"
#include "userspace/ledger/ledger.h"
#include "userspace/relay/retry.h"
#include "userspace/relay/route.h"
#include "userspace/relay/silences.h"
#include "userspace/sinks/sink.h"

namespace outlier {

struct CourierContext {
  config::v1::Sink config;
  std::string kind;
  Route route;
  std::vector<std::string> sources;        // addresses, by number
  std::shared_ptr<const Labels> labels;
  const Silences* silences = nullptr;
  Ledger* ledger = nullptr;
  size_t most_message_bytes = 1 << 20;     // of a batch, as they come over the wire; about three times that in memory
};

class Courier {
 public:
  explicit Courier(CourierContext context);
  virtual ~Courier() = default;

  // What kept the ledger from being read: then it must not run, it would page everybody anew.
  const absl::Status& loaded() const { return loaded_; }
  void Take(FeedEvent event, WallTime now);
  virtual bool HasRoom() const = 0;
  std::shared_ptr<const Request> Next(WallTime now);         // null: nothing is due
  void Receive(const Response& response, WallTime now);
  // Between Next and Receive: the request that will probably be next, made ready meanwhile; whoever drives it may compress it already. Null where
  // there is none, or not enough for one yet. Next gives out the same one, or another in its place.
  std::shared_ptr<Request> Ready(WallTime now) { return preparing_ ? nullptr : ReadyOfKind(Axis(now)); }
  virtual bool works_ahead() const { return false; }
  // What Ready gives may be sent before the answer to the one under way: SentAhead says that it was. Its answer is then the one that Receive
  // gets, where Next gives it out; where that gives another, the answer is nobody's, and what it carried goes again.
  virtual bool overlaps() const { return false; }
  virtual void SentAhead() {}
  WallTime WakeAt() const;                                   // WallTime::max() = only at news
  virtual void Offer(std::shared_ptr<const Samples> samples) { (void)samples; }
  virtual bool wants_samples() const { return false; }
  virtual void Resend(std::vector<relay::v1::DeadLetter> letters) = 0;
  void RetryNow(WallTime now);
  // What a person has to close by hand, for the sink of this name was another; "" = nothing. Until RetryNow while all is well.
  std::string LeftWords() const;
  relay::v1::SinkStatus Status(WallTime now) const;

 protected:
  struct SourceState {
    std::string feed_id;
    std::string host_name;
    uint64_t position = 0;       // committed
    bool written = false;        // that position of this feed stands in the ledger
    uint64_t last_sequence = 0;  // known to exist
    std::optional<WallTime> oldest_waiting;  // wall time
    bool connected = false;
    bool foreign = false;        // says that it is another's feed
    std::string message = "not connected yet";
  };
  // Of the kind of sink. All times are of the axis that never goes back; Wall() is the clock's.
  virtual Sink& sink() = 0;
  virtual void TakeEvent(FeedEvent event, WallTime now) = 0;
  virtual std::shared_ptr<Request> NextOfKind(WallTime now) = 0;
  virtual std::shared_ptr<Request> ReadyOfKind(WallTime now) { (void)now; return nullptr; }
  virtual void ReceiveOfKind(const Response& response, WallTime now) = 0;
  virtual WallTime WakeOfKind() const = 0;
  virtual void Housekeep(WallTime now) { (void)now; }        // whatever has to be done also while the sink cannot be reached
  virtual void TryNow() {}
  // Since when what should have been told of this source has not been; wall time.
  virtual std::optional<WallTime> OldestWaiting(size_t source) const { return sources_[source].oldest_waiting; }
  virtual void FillStatus(relay::v1::SinkStatus* status) const { (void)status; }

  // Written now, or kept and tried again before anything else: `entry` is taken either way.
  void Write(Entry entry, WallTime now);
  bool stalled() const { return unwritten_.has_value(); }
  const CourierContext& context() const { return context_; }
  const std::string& name() const { return context_.config.name(); }
  relay::v1::DeadLetter Letter(const Finding& finding, const std::string& reason, WallTime now) const;
  Finding FindingOf(const relay::v1::DeadLetter& letter) const;
  std::string RefusesEverything(int in_a_row, std::string_view of_what, const std::string& last) const;
  WallTime Wall(WallTime now) const { return now - set_back_; }
  WallTime AxisNow() const { return latest_; }
  void Loaded(const absl::Status& status) { loaded_.Update(status); }
  // What this sink holds, by incident key, as the ledger has it; a stream sink (null) holds nothing. What another kind of sink was told under its name
  // is left there, for a person, if it does not end by itself; it is this one's again when that kind comes back.
  std::map<std::string, relay::v1::Held> TakeHeld(const StateSink* sink);
  static void Sign(const StateSink& sink, const std::string& kind, relay::v1::Held* held);  // whose it is
  bool Left(const std::string& incident_key) const;
  // Those that are still there and were not asked for already.
  std::vector<relay::v1::DeadLetter> NewLetters(std::vector<relay::v1::DeadLetter> letters);

  Retry retry_;
  std::vector<SourceState> sources_;
  Counters counted_;             // of all time; written ones and those to be written
  uint64_t dead_letters_ = 0;
  std::string warning_;          // what the sink said last beside taking it
  std::set<std::string> asked_;  // ids of dead letters that are on their way

 private:
  void TakeBack(const StateSink& sink, relay::v1::Held* row, Entry* entry);
  void Leave(relay::v1::Held row, Entry* entry);
  void Flush(WallTime now);
  bool IsForeign(const FeedEvent& event);
  WallTime Axis(WallTime wall);
  const CourierContext context_;
  absl::Status loaded_;
  WallTime latest_;
  std::chrono::nanoseconds set_back_{0};
  std::optional<Entry> unwritten_;
  WallTime write_again_;
  std::string stalled_because_;
  bool preparing_ = false;
  std::vector<relay::v1::Held> left_;
};

std::unique_ptr<Courier> MakeCourier(CourierContext context, AnySink sink);

}  // namespace outlier
