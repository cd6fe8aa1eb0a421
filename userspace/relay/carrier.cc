#include "userspace/relay/carrier.h"

#include <algorithm>
#include <condition_variable>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kMostEvents = 16;                           // taken at once: so many more than there is room for
constexpr auto kLongestWait = std::chrono::seconds(5);       // the wall clock may be set
constexpr auto kLeastWait = std::chrono::milliseconds(1);
constexpr size_t kMostSamples = 8;

}  // namespace

// Makes the next request ready while the carrier's own thread waits for an answer. Begin and End come in turns, and between them the courier is this
// thread's: so the answer finds the thread that waits for it awake, and the next request goes without waking another one.
class Carrier::Ahead {
 public:
  explicit Ahead(Carrier* carrier) : carrier_(*carrier), thread_([this] { Run(); }) {}
  ~Ahead() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Ahead(const Ahead&) = delete;
  Ahead& operator=(const Ahead&) = delete;

  void Begin() {
    {
      const std::lock_guard lock(mutex_);
      working_ = true;
      ended_ = false;
    }
    changed_.notify_all();
  }
  void End() {
    std::unique_lock lock(mutex_);
    ended_ = true;
    if (!working_) return;  // as it is with a backlog
    carrier_.mailbox_.Wake();
    changed_.wait(lock, [&] { return !working_; });
  }

 private:
  bool ended() {
    const std::lock_guard lock(mutex_);
    return ended_;
  }
  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopping_ || working_; });
      if (!working_) return;
      lock.unlock();
      while (!ended() && !carrier_.PrepareNext()) {
      }
      lock.lock();
      working_ = false;
      changed_.notify_all();
    }
  }
  Carrier& carrier_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool working_ = false, ended_ = false, stopping_ = false;  // guarded by mutex_
  std::thread thread_;
};

Carrier::Carrier(std::unique_ptr<Courier> courier, std::unique_ptr<Transport> transport, std::function<WallTime()> now,
                 std::function<void(const std::string&)> warn, size_t mailbox_bytes)
    : courier_(std::move(courier)),
      transport_(std::move(transport)),
      now_(std::move(now)),
      warn_(std::move(warn)),
      wants_samples_(courier_->wants_samples()),
      mailbox_(mailbox_bytes) {
  Publish(now_());
}

Carrier::~Carrier() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

void Carrier::Stop() {
  stopping_ = true;
  mailbox_.Close();  // ends a wait for events, too
  transport_->Abort();
}

void Carrier::Start() {
  if (courier_->works_ahead()) ahead_ = std::make_unique<Ahead>(this);
  thread_ = std::thread([this] { Run(); });
}

void Carrier::Offer(std::shared_ptr<const Samples> samples) {
  {
    const std::lock_guard lock(mutex_);
    if (samples_.size() >= kMostSamples) {  // the thread waits for an answer
      samples_lost_ += static_cast<uint64_t>(samples_.front()->sample.workloads_size());
      samples_.pop_front();
    }
    samples_.push_back(std::move(samples));
  }
  mailbox_.Wake();
}

void Carrier::RetryNow() {
  {
    const std::lock_guard lock(mutex_);
    retry_now_ = true;
  }
  mailbox_.Wake();
}

void Carrier::Resend(std::vector<relay::v1::DeadLetter> letters) {
  {
    const std::lock_guard lock(mutex_);
    for (relay::v1::DeadLetter& letter : letters) {
      std::string id = letter.id();
      letters_.try_emplace(std::move(id), std::move(letter));
    }
  }
  mailbox_.Wake();
}

relay::v1::SinkStatus Carrier::Status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void Carrier::TakeWishes() {
  std::deque<std::shared_ptr<const Samples>> samples;
  std::map<std::string, relay::v1::DeadLetter> letters;
  bool retry_now = false;
  {
    const std::lock_guard lock(mutex_);
    samples.swap(samples_);
    letters.swap(letters_);
    std::swap(retry_now, retry_now_);
  }
  for (auto& one : samples) courier_->Offer(std::move(one));
  if (retry_now) courier_->RetryNow(now_());
  if (letters.empty()) return;
  std::vector<relay::v1::DeadLetter> in_order;
  for (auto& [id, letter] : letters) in_order.push_back(std::move(letter));
  std::stable_sort(in_order.begin(), in_order.end(), [](const auto& a, const auto& b) { return a.change().sequence() < b.change().sequence(); });
  courier_->Resend(std::move(in_order));
}

void Carrier::Publish(WallTime now) {
  relay::v1::SinkStatus status = courier_->Status(now);
  status.set_samples_lost(status.samples_lost() + samples_lost_);
  if (status.state() != told_) {
    told_ = status.state();
    warn_(status.state() == relay::v1::SinkStatus::DELIVERING
              ? fmt::format("sink {} delivers again", status.name())
              : fmt::format("sink {} ({}) {}: {}", status.name(), status.kind(), relay::v1::SinkStatus::State_Name(status.state()), Printable(status.message(), 500)));
  }
  const std::lock_guard lock(mutex_);
  status_ = std::move(status);
}

void Carrier::Run() {
  while (!stopping_) {
    TakeWishes();
    WallTime now = now_();
    // As much as a batch takes. The rest waits where its bytes are counted, and holds its source up.
    while (courier_->HasRoom() && TakeEvents(std::chrono::steady_clock::now()) == kMostEvents) {
    }
    if (auto request = courier_->Next(now)) {
      const Response response = Send(*request);
      if (stopping_) return;  // not an answer of the sink
      now = now_();
      courier_->Receive(response, now);
      Publish(now);
      continue;
    }
    Publish(now);
    const WallTime wake = courier_->WakeAt();
    std::chrono::nanoseconds wait = kLeastWait;
    if (wake > now) wait = wake == WallTime::max() ? kLongestWait : std::clamp<std::chrono::nanoseconds>(wake - now, kLeastWait, kLongestWait);
    const auto until = std::chrono::steady_clock::now() + wait;
    TakeEvents(until);
  }
}

// Without room only time helps; the mailbox fills and holds the source up.
size_t Carrier::TakeEvents(std::chrono::steady_clock::time_point until) {
  std::vector<FeedEvent> events = mailbox_.Take(courier_->HasRoom() ? kMostEvents : 0, until);
  if (events.empty()) return 0;
  const WallTime now = now_();
  for (FeedEvent& event : events) courier_->Take(std::move(event), now);
  return events.size();
}

Response Carrier::Send(const Request& request) {
  if (!ahead_) return transport_->Send(request);
  ahead_->Begin();
  Response response = transport_->Send(request);
  ahead_->End();
  return response;
}

// One step; true when there is nothing more to do until the answer comes.
bool Carrier::PrepareNext() {
  if (stopping_) return true;
  if (Request* next = courier_->Ready(now_())) {
    CompressAhead(next);
    return true;
  }
  TakeEvents(std::chrono::steady_clock::now() + kLongestWait);
  return false;
}

}  // namespace outlier
