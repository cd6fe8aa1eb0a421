// StreamCourier: carries every change that its route admits to a stream sink, in order, in batches, one batch under way.
//
// A batch is dealt with when each of its findings is delivered, a dead letter, or expired; only then do the cursors move. Findings that the
// server wants again go again, alone. What it refuses as a whole is halved until the one at fault is found. When one after the other is refused and
// nothing is delivered between, it is the sink that is wrong, not they: it is suspended.
// An incident, once admitted, is followed to its end, whatever its severity becomes.
#pragma once
#include <deque>
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
  void Resend(std::vector<relay::v1::DeadLetter> letters) override;

 private:
  struct Waiting {
    size_t source;
    Cursor cursor;                   // once it is dealt with; sequence 0 = moves nothing
    WallTime arrived;
    std::optional<Finding> finding;  // none: not for this sink
    size_t bytes;
    std::string unfollows;           // incident key: its end is dealt with when this is
  };
  // Findings that go in one request, and of which dead letters they came, if they did.
  struct Work {
    std::vector<Finding> findings;
    std::vector<std::string> letters;
  };

  Sink& sink() override { return *sink_; }
  void TakeEvent(FeedEvent event, WallTime now) override;
  std::optional<Request> NextOfKind(WallTime now) override;
  void ReceiveOfKind(const Response& response, WallTime now) override;
  WallTime WakeOfKind() const override;

  void Admit(FeedEvent event, WallTime now);
  bool FormBatch(WallTime now);
  bool BatchIsDue(WallTime now) const;
  std::optional<Request> EncodeFront(WallTime now);
  std::optional<Request> NextSamples(WallTime now);
  void Settle(const Outcome& outcome, WallTime now);
  void SettleItems(const Outcome& outcome, WallTime now);
  void Halve();
  void Bury(const std::string& reason, WallTime now);
  void FinishBatch(WallTime now);
  void Rank(const Cursor& cursor);                     // into entry_.cursors
  size_t MostItems() const;

  const std::unique_ptr<StreamSink> sink_;
  std::set<std::string> followed_;
  std::deque<Waiting> waiting_;
  size_t findings_waiting_ = 0, bytes_waiting_ = 0;
  std::deque<Work> work_;            // of the batch under way, the front first
  Entry entry_;                      // what finishing it will write
  std::deque<relay::v1::DeadLetter> resend_;
  double encoded_per_byte_ = 4.0;    // of a body over its messages, as seen
  int refused_in_a_row_ = 0;
  WallTime idle_since_;              // nothing but what is not for this sink has waited since
  std::deque<std::shared_ptr<const Samples>> samples_;
  std::deque<Request> sample_requests_;
  uint64_t samples_in_requests_ = 0;
  bool sending_samples_ = false;
};

}  // namespace outlier
