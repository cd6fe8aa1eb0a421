// StateCourier: keeps what a state sink (pager, Alertmanager) holds as open equal to what should be open there: incidents that are open at
// their source, that the route admits, that no silence covers, and that are not held back.
//
// Nothing is decided about a source before its reader has caught up: after an outage a pager gets the latest state, not the history. What
// opened and resolved meanwhile is told in one digest. At most one thing about an incident is under way. A resolution goes to whoever was told of the
// opening, whatever route and silences say by then.
// Held back, and counted: pages beyond max_pages_per_hour, and new incidents of a workload whose last one resolved less than hold_down ago, until
// they have lasted as long themselves or are worse. An incident that is related to one already paged, and no worse, rides on that page.
// Cursors stand before what a digest still has to tell; all else is read off the open incidents and the ledger after a restart.
#pragma once
#include <deque>
#include <map>
#include <set>

#include "userspace/relay/courier.h"

namespace outlier {

class StateCourier : public Courier {
 public:
  StateCourier(CourierContext context, std::unique_ptr<StateSink> sink);
  bool HasRoom() const override { return !stalled() && known_.size() < kMostKnown; }
  void Resend(std::vector<relay::v1::DeadLetter> letters) override;

 private:
  static constexpr size_t kMostKnown = 50'000;  // incidents; beyond it the source waits

  struct Known {
    size_t source = 0;
    v1::IncidentChange latest;
    WallTime first_seen;
    bool withheld = false;                     // counted as such
    std::optional<v1::Incident::Severity> refused_at;  // how bad it was when the sink refused it for good
  };
  struct Missed {                              // opened and resolved without anybody being told
    size_t source = 0;
    uint64_t sequence = 0;
    WallTime resolved;
    std::string summary;
    v1::Source host;
  };
  struct Flap {
    WallTime resolved;
    v1::Incident::Severity severity;
  };

  Sink& sink() override { return *sink_; }
  void TakeEvent(FeedEvent event, WallTime now) override;
  std::optional<Request> NextOfKind(WallTime now) override;
  void ReceiveOfKind(const Response& response, WallTime now) override;
  WallTime WakeOfKind() const override;
  void FillStatus(relay::v1::SinkStatus* status) const override;

  void TakeChange(const FeedEvent& event, WallTime now);
  void TakeOpenNow(const FeedEvent& event, WallTime now);
  void ResolveGone(const std::string& feed_id, const std::set<std::string>& open, size_t source, const std::string& why, WallTime now);
  void Miss(const Known& known);

  std::vector<Page> Choose(WallTime now);
  std::optional<Page> PageOf(const std::string& key, Known& known, WallTime now);
  bool MayOpen(const std::string& key, Known& known, WallTime now);
  bool Capped(WallTime now);
  bool HeldDown(const Known& known, WallTime now) const;
  std::string LeadOf(const std::string& key, const v1::Incident& incident) const;  // held incident whose page speaks for it; "" = none
  std::vector<std::string> RelatedTo(const std::string& key) const;
  Page MakePage(Page::Action action, const std::string& key, const Known& known, WallTime now) const;
  std::optional<Page> Digest(WallTime now);
  void WithholdOnce(Known& known);
  void PagesDone(WallTime now);
  void PageRefused(const Page& page, const std::string& reason, WallTime now, Entry* entry);
  void AddCursors(Entry* entry);

  const std::unique_ptr<StateSink> sink_;
  std::map<std::string, Known> known_;                 // open, or resolved and still to be told; by incident key
  std::map<std::string, relay::v1::Held> held_;
  std::vector<bool> caught_up_;
  std::vector<uint64_t> read_to_;
  std::deque<Missed> missed_;
  uint64_t missed_more_ = 0;                           // beyond what is named
  std::deque<WallTime> opened_at_;                     // pages of the last hour
  std::map<std::string, Flap> flaps_;                  // by source and workload
  std::deque<relay::v1::DeadLetter> resend_;
  std::vector<Page> pages_;                            // under way
  std::deque<Request> letters_;                        // of them, still to be sent
  bool all_needed_ = true, any_delivered_ = false;
  std::string last_reason_;
  size_t most_pages_ = SIZE_MAX;                       // a request; 1 after one with several was refused
  std::optional<WallTime> digest_told_;
  bool cursors_moved_ = false;
  WallTime cursors_written_;
  std::optional<WallTime> look_again_;         // when time alone may change what should be open
  Entry counted_only_;
};

}  // namespace outlier
