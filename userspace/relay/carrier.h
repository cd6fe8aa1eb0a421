// Carrier: one sink's thread. Drives its courier with the wall clock, its mailbox and its transport, so that a sink that hangs holds up
// nobody else. Where the courier works ahead, requests are carried by a second thread, and the next one is written and compressed meanwhile; where it
// overlaps them, the next one is also sent meanwhile, by a third thread over a connection of its own.
#pragma once
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "userspace/relay/courier.h"
#include "userspace/sources/mailbox.h"
#include "userspace/transport/transport.h"

namespace outlier {

class Carrier {
 public:
  static constexpr size_t kMostMailboxBytes = 2 << 20;

  // Transports: one, or two where the courier overlaps requests.
  Carrier(std::unique_ptr<Courier> courier, std::vector<std::unique_ptr<Transport>> transports, std::function<WallTime()> now,
          std::function<void(const std::string&)> warn, size_t mailbox_bytes = kMostMailboxBytes);
  ~Carrier();                                   // ends the request under way; within a second
  void Stop();                                  // the same, but does not wait; thread-safe
  void Start();
  Mailbox& mailbox() { return mailbox_; }
  bool wants_samples() const { return wants_samples_; }
  // Thread-safe.
  void Offer(std::shared_ptr<const Samples> samples);
  void RetryNow();
  void Resend(std::vector<relay::v1::DeadLetter> letters);
  relay::v1::SinkStatus Status() const;

 private:
  class Sender;
  void Run();
  // As much as a batch takes. The rest waits where its bytes are counted, and holds its source up.
  void TakeWhatFits();
  // What has come, as far as the courier has room; waits until `until` for something.
  size_t TakeEvents(std::chrono::steady_clock::time_point until);
  Response Send(const std::shared_ptr<const Request>& request);
  // Who carries this one: who has it already, or else one that is free. The request under way always finds one; null where the next does not.
  Sender* SenderOf(const std::shared_ptr<const Request>& request);
  void PrepareNext(const std::shared_ptr<Request>& next);
  void TakeWishes();
  void Publish(WallTime now);
  std::unique_ptr<Courier> courier_;
  const std::vector<std::unique_ptr<Transport>> transports_;
  std::vector<std::unique_ptr<Sender>> senders_;        // none where nothing can be done while a request is under way
  const std::function<WallTime()> now_;
  const std::function<void(const std::string&)> warn_;
  const bool wants_samples_;
  Mailbox mailbox_;
  mutable std::mutex mutex_;
  // Wishes of other threads; guarded by mutex_. Bounded, for a request may hang for minutes.
  std::deque<std::shared_ptr<const Samples>> samples_;
  std::map<std::string, relay::v1::DeadLetter> letters_;  // by id
  bool retry_now_ = false;
  relay::v1::SinkStatus status_;                        // guarded by mutex_
  std::pair<relay::v1::SinkStatus::State, bool> told_ = {relay::v1::SinkStatus::DELIVERING, false};  // and whether it is tried again by itself
  std::atomic<uint64_t> samples_lost_ = 0;              // never offered to the courier
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace outlier
