// StreamCourier: carries every change that its route admits to a stream sink, in order, in batches, one batch under way. Where the sink lets it, the next
// one is written meanwhile. Where the sink knows a change that it had before (search engines, by its id, and the newer of two by its sequence), the next
// one is also sent meanwhile, and several batches in a row are written to the ledger at once, and while the next is under way: a crash, or a failure of the
// batch before, repeats them, and nothing comes of it.
//
// A batch is dealt with when each of its findings is delivered, a dead letter, or expired; only then do the cursors move. Findings that the
// server wants again go again, alone. What it refuses as a whole is halved until the one at fault is found. When kAllRefused in a row are refused and
// nothing is delivered between, it may be the sink that is wrong, not they: one of another incident is tried, and where that is refused, too, the
// sink is suspended and all of them wait, to be tried slowly. A person's word (RetryNow) makes dead letters of what is refused then.
//
// An incident, once admitted, is followed to its end, whatever its severity becomes. Where its source can no longer tell the end (compacted away while
// the relay was not there, a new journal), the end is told from what the source says is open, under a sequence that was lost.
//
// To a sink that is not told of what a silence covers, the opening of an incident that is still open when its silence ends is told then, as it is by
// then; and an end only where an opening was.
#pragma once
#include <deque>
#include <map>
#include <set>

#include "userspace/relay/courier.h"

namespace outlier {

class StreamCourier : public Courier {
 public:
  static constexpr int kAllRefused = 20;   // single findings in a row

  StreamCourier(CourierContext context, std::unique_ptr<StreamSink> sink);
  bool HasRoom() const override;
  void Offer(std::shared_ptr<const Samples> samples) override;
  bool wants_samples() const override { return sink_->limits().samples; }
  bool works_ahead() const override { return sink_->limits().works_ahead; }
  bool overlaps() const override { return works_ahead() && knows_repeats(); }
  void SentAhead() override { next_->sent = true; }
  void Resend(std::vector<relay::v1::DeadLetter> letters) override;

 private:
  static constexpr size_t kMostWaiting = 20'000;      // findings and places
  static constexpr size_t kMostFollowed = 20'000;  // incidents; of more than that, every end is admitted instead

  struct Kept {
    std::string change;              // what is kept of it, a serialised IncidentChange
    bool quiet = false;              // its opening was not told
  };
  struct Waiting {
    size_t source;
    std::optional<Cursor> cursor;    // once it is dealt with
    WallTime arrived;
    std::optional<Finding> finding;  // none: not for this sink
    size_t bytes;                    // of its message; 0 = not known
    std::optional<std::pair<std::string, Kept>> follows;  // incident key: begins when this is dealt with
    std::string unfollows;           // incident key: ends when this is dealt with
  };
  // Findings that go in one request, and of which dead letters they came, if they did.
  struct Work {
    std::vector<Finding> findings;
    size_t bytes = 0;                // of their messages; 0 = not known, of a part
    std::vector<std::string> letters;
  };
  // The batch after the one under way, and its request as long as nothing has happened that makes it another.
  struct NextBatch {
    std::deque<Work> work;
    Entry entry;
    std::map<std::string, Kept> begun;
    std::vector<std::optional<WallTime>> oldest;  // of its findings, by source
    std::shared_ptr<Request> request;
    WallTime made;
    bool sent = false;             // before its turn
  };
  struct Doubted {
    Finding finding;
    std::string letter, reason;
  };
  // Of a source that has told of a gap and not yet what is open: what was lost, but for what came all the same. Until then no cursor moves.
  struct OpenGap {
    uint64_t first = 0, last = 0;
    std::set<uint64_t> seen;
    uint64_t reached = 0;
  };
  enum class Doubt { kNone, kFirst, kProbe };  // kFirst: the first of the batch goes alone; kProbe: it was refused, and the probe is on its way

  Sink& sink() override { return *sink_; }
  void TakeEvent(FeedEvent event, WallTime now) override;
  std::shared_ptr<Request> NextOfKind(WallTime now) override;
  std::shared_ptr<Request> ReadyOfKind(WallTime now) override;
  void ReceiveOfKind(const Response& response, WallTime now) override;
  WallTime WakeOfKind() const override;
  void TryNow() override;
  void Housekeep(WallTime now) override;

  void Admit(FeedEvent event, WallTime now);
  // Of a sink that opens after a silence: whether it is told of this change, and as what. `followed`: before it.
  bool TellsOfQuiet(const std::string& key, bool followed, Finding* finding, Waiting* waiting, WallTime now);
  void BeQuiet(const std::string& key, const v1::IncidentChange& change);
  // That it is open, as it was last heard of.
  Finding OpeningOf(const v1::IncidentChange& latest, const google::protobuf::Timestamp& time) const;
  void Enqueue(Waiting waiting, WallTime now);
  // Ends what is followed of this feed and not among `open`, under sequences from `first` to `last` (0 = without end) that were not `seen`.
  void EndGone(size_t source, const std::string& feed_id, const std::set<std::string>& open, const std::string& why, const OpenGap& gap, WallTime now);
  WallTime WakeForWaiting() const;
  bool FormBatch(WallTime now);
  bool BatchIsDue(WallTime now) const;
  bool FillsABatch() const;
  void TakeNextBatch(WallTime now);
  std::shared_ptr<Request> EncodeFront(WallTime now);
  absl::StatusOr<Request> Encode(const Work& work, WallTime now);
  bool TooLarge(const Work& work, const Request& request) const;
  std::shared_ptr<Request> NextSamples(WallTime now);
  void Settle(const Outcome& outcome, WallTime now);
  void SettleItems(const Outcome& outcome, WallTime now);
  void SettleSamples(const Outcome& outcome, WallTime now);
  void Halve();
  void Refused(const std::string& reason, WallTime now);
  void Believe(WallTime now);                          // what is in doubt was refused for good
  void BeginDoubt(const std::string& reason, WallTime now);
  void PutBack();                                      // what is in doubt, before the rest
  void DropExpired(WallTime now);
  void LoseSamples(uint64_t samples);
  void FinishBatch(WallTime now);
  void WriteFinished(WallTime now);
  bool knows_repeats() const { return sink_->limits().knows_repeats; }
  void Rank(const Cursor& cursor);                     // into entry_.cursors
  size_t MostItems() const;

  const std::unique_ptr<StreamSink> sink_;
  std::map<std::string, std::string> followed_;         // incident key -> what is kept of it, a serialised IncidentChange: there may be many
  bool unfollowed_some_ = false;                        // there were more
  std::map<std::string, v1::IncidentChange> quiet_;     // of followed_, those whose opening was not told, as they are by now
  std::vector<bool> caught_up_;                         // by source
  uint64_t silences_seen_ = 0;                          // 0 = look at all that are quiet
  WallTime silences_looked_, silences_change_;          // wall time
  std::vector<std::optional<OpenGap>> gaps_;            // by source
  std::deque<Waiting> waiting_;
  size_t findings_waiting_ = 0, bytes_waiting_ = 0;
  std::deque<Work> work_;            // of the batch under way, the front first
  std::deque<Work> dealt_with_;      // to be freed while the next is under way: that takes as long as to read its answer
  Entry entry_;                      // what finishing it will write
  Entry finished_;                   // of batches that were dealt with, and are to be written with the next
  WallTime written_;
  std::map<std::string, Kept> begun_;  // of followed_, those that begin with this batch and do not end with it
  std::optional<NextBatch> next_;
  std::shared_ptr<Request> ready_;   // of the whole front, made ahead
  std::deque<relay::v1::DeadLetter> resend_;
  double encoded_per_byte_ = 4.0;    // of a body over its messages, as seen
  int refused_in_a_row_ = 0;
  std::vector<Doubted> doubted_;     // of this batch, refused since something was delivered
  Doubt doubt_ = Doubt::kNone;
  bool word_given_ = false;          // for this batch
  std::vector<std::optional<WallTime>> oldest_taken_;  // of what FormBatch took last, by source
  WallTime idle_since_;              // nothing but what is not for this sink has waited since
  std::deque<std::shared_ptr<const Samples>> samples_;
  std::deque<Request> sample_requests_;
  uint64_t samples_in_requests_ = 0;
  bool sending_samples_ = false;
};

}  // namespace outlier
