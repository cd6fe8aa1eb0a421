// StateCourier: keeps what a state sink (pager, Alertmanager) holds as open equal to what should be open there: incidents that are open at
// their source, that the route admits, that no silence covers, and that are not held back.
//
// Nothing new is decided about a source before its reader has caught up: after an outage a pager gets the latest state, not the history. What
// opened and resolved meanwhile is told in one digest. At most one thing about an incident is under way. A resolution goes to whoever was told of the
// opening, whatever route and silences say by then; "told" begins before the first request leaves (the ledger has it as uncertain), so that neither
// a crash nor a lost answer leaves a page that nobody ends.
// Held back, and counted: pages beyond max_pages_per_hour, and new incidents of a workload whose last one resolved less than hold_down ago, until
// they have lasted as long themselves or are worse. An incident that is related to one already paged, and no worse, rides on that page, unless a silence
// keeps that page from being told of it.
// Cursors stand before what a digest still has to tell; all else is read off the open incidents and the ledger after a restart.
//
// An incident is looked at when something about it, a related one, a silence, or the hour's cap has changed, or when its time has come: what is open
// and quiet costs nothing.
#pragma once
#include <deque>
#include <map>
#include <set>
#include <tuple>

#include "userspace/relay/courier.h"

namespace outlier {

class StateCourier : public Courier {
 public:
  static constexpr int kAllRefused = 5;          // pages in a row: then it is the sink that is wrong
  static constexpr size_t kMostKnown = 50'000;   // open incidents, of major and critical ones twice as many; what opens beyond is counted as withheld
  static constexpr size_t kMostWhole = 2'000;    // beyond it they are held without most of what explains them

  StateCourier(CourierContext context, std::unique_ptr<StateSink> sink);
  bool HasRoom() const override { return !stalled(); }
  void Resend(std::vector<relay::v1::DeadLetter> letters) override;

 private:
  using Rank = std::tuple<int, int, WallTime, std::string>;  // of the action, of the severity, onset, key: the first goes first
  struct Known {
    size_t source = 0;
    v1::IncidentChange latest;
    WallTime first_seen;
    bool admitted = false;                     // at some time in its life
    bool withheld = false;                     // counted as such
    bool capped = false, capped_told = false;
    bool again = false;                        // a person wants it said again
    std::optional<v1::Incident::Severity> refused_at;  // how bad it was when the sink refused it for good
    std::optional<Rank> ready;                 // its place in ready_
    std::optional<WallTime> due;               // its place in due_
    bool examined = false;                     // since its source had caught up
    std::optional<WallTime> waits_since;       // its place in waiting_
  };
  struct Plan {
    std::optional<Page::Action> action;
    std::optional<WallTime> look_at;           // when time alone may change it
  };
  struct Missed {                              // opened and resolved without anybody being told
    size_t source = 0;
    uint64_t sequence = 0;
    WallTime resolved;
    std::string summary;
    v1::Source host;
    WallTime waits_since;                      // wall time
  };
  struct Over {                                // told to be over, and said again for a while
    Page page;
    WallTime next, until;
  };
  struct Flap {
    WallTime resolved;
    v1::Incident::Severity severity = v1::Incident::SEVERITY_UNSPECIFIED;
  };

  Sink& sink() override { return *sink_; }
  void TakeEvent(FeedEvent event, WallTime now) override;
  std::shared_ptr<Request> NextOfKind(WallTime now) override;
  void ReceiveOfKind(const Response& response, WallTime now) override;
  WallTime WakeOfKind() const override;
  void Housekeep(WallTime now) override;
  void TryNow() override;
  std::optional<WallTime> OldestWaiting(size_t source) const override;
  void FillStatus(relay::v1::SinkStatus* status) const override;

  // What the sources say.
  void TakeChange(const FeedEvent& event, WallTime now);
  void TakeOpenNow(const FeedEvent& event, WallTime now);
  void TakeRewind(const std::string& feed_id);
  // Null for what is none of this sink's business, and where there are too many.
  Known* Admit(const std::string& key, size_t source, const v1::Incident& incident, bool opens, WallTime now);
  void SetLatest(const std::string& key, Known* known, const v1::IncidentChange& change);
  void ResolveGone(const std::string& feed_id, const std::set<std::string>& open, uint64_t sequence, const std::string& why, WallTime now);
  void ResolveHeld(const std::string& key, uint64_t sequence, const std::string& why, WallTime now);
  void ResolveOrphans(WallTime now);
  void Miss(const std::string& key, const Known& known, WallTime now);
  void NoteFlap(const Known& known, v1::Incident::Severity severity, WallTime now);
  std::chrono::nanoseconds CursorInterval() const;
  void Forget(const std::string& key);

  // What should be said.
  void Touch(const std::string& key);                                    // look at it, and at what is related to it
  void TouchSource(size_t source);
  void TouchAll();
  void Refresh(WallTime now);
  void Examine(const std::string& key, WallTime now);
  Plan PlanOf(const std::string& key, Known* known, WallTime now);
  Plan PlanOpening(const std::string& key, Known* known, WallTime now);
  Plan PlanOfTold(const std::string& key, const Known& known, const relay::v1::Held& there, WallTime now) const;
  bool Capped(WallTime now);
  bool HeldDown(const Known& known, WallTime now) const;
  std::vector<std::string> Related(const std::string& key, const v1::Incident& incident) const;
  bool Rides(const std::string& key, const v1::Incident& incident, WallTime now) const;  // a held incident's page speaks for it
  std::vector<std::string> RidersOf(const std::string& key) const;         // summaries
  Page MakePage(Page::Action action, const std::string& key, const Known& known) const;
  bool DigestDue(WallTime now) const;
  // When what a digest has to tell from now on should be told; wall time.
  WallTime DigestAt(WallTime now) const;
  void SetWaits(const std::string& key, Known* known, std::optional<WallTime> since);
  Page Digest(WallTime now);
  void DigestTold(WallTime now);
  std::vector<Page> Choose(WallTime now);
  void WithholdOnce(Known* known);

  // What was said.
  bool WriteIntents(WallTime now);
  void DropIntents();
  void PutHeld(Entry* entry, const relay::v1::Held& held);
  // Of one of several servers: what all together said, once each was asked.
  std::optional<Outcome> OfAll(const Outcome& outcome, const std::string& server);
  void PagesDone(WallTime now);
  void PageRefused(const Page& page, const std::string& reason, WallTime now, Entry* entry);
  void Resolved(const std::string& key, WallTime now, Entry* entry);
  void AddCursors(Entry* entry);
  void GoOnSaying(const Page& page, WallTime now);  // that it is over

  const std::unique_ptr<StateSink> sink_;
  std::map<std::string, Known> known_;                 // open, or resolved and still to be told; by incident key
  std::map<std::string, std::set<std::string>> named_by_;  // keys that name this one as related
  std::map<std::string, relay::v1::Held> held_;
  std::set<std::string> resolved_;                     // of held_: those that are over, kept until no replay can bring them back
  std::set<std::string> dirty_;
  std::set<Rank> ready_;
  std::set<std::pair<WallTime, std::string>> due_;
  std::set<std::tuple<size_t, WallTime, std::string>> waiting_;  // source, since when it should have been told (wall time), key: what is not yet
  std::set<std::string> capped_;
  size_t capped_untold_ = 0;
  uint64_t silences_seen_ = 0;
  WallTime silences_looked_, silences_change_;         // wall time
  std::vector<bool> caught_up_;
  std::vector<uint64_t> read_to_;
  std::deque<Missed> missed_;
  uint64_t missed_more_ = 0;                           // beyond what is named
  std::deque<WallTime> opened_at_;                     // pages of the last hour
  bool opened_known_ = false;                          // those of the ledger among them
  std::map<std::string, Over> over_;                   // by incident key; not over a restart
  std::map<uint64_t, Flap> flaps_;                     // by source and workload
  std::map<std::string, std::vector<std::string>> letters_of_;  // dead letters that are said again; by incident key
  std::vector<Page> pages_;                            // under way
  std::vector<std::string> intents_;                   // of them: written as uncertain for this request
  bool may_have_arrived_ = false;
  std::deque<Request> letters_;                        // of them, still to be sent
  bool all_needed_ = true, any_delivered_ = false;
  size_t servers_ = 1;                                 // that each get it, where not all are needed
  std::vector<std::string> failed_;                    // of them, this time, and why
  std::optional<Outcome> mildest_;                     // of what those said: again rather than suspended rather than refused
  std::string failing_;                                // whom the last request that was taken did not reach
  size_t alone_ = 0;                                   // pages to send one by one, after a request with several was refused
  int refused_in_a_row_ = 0;
  std::set<std::string> doubted_;                      // refused while it may have been the sink
  std::optional<WallTime> digest_told_;
  bool cursors_moved_ = false;
  WallTime cursors_written_;
  Entry counted_only_;
};

}  // namespace outlier
