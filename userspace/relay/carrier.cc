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

// Carries one request at a time.
class Carrier::Sender {
 public:
  Sender(Transport* transport, Mailbox* mailbox) : transport_(*transport), mailbox_(*mailbox), thread_([this] { Run(); }) {}
  ~Sender() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  // Where it is free.
  void Begin(std::shared_ptr<const Request> request) {
    {
      const std::lock_guard lock(mutex_);
      carried_ = request;
      request_ = std::move(request);
      response_.reset();
    }
    changed_.notify_all();
  }
  // It is under way, or its answer is here.
  bool Has(const std::shared_ptr<const Request>& request) {
    const std::lock_guard lock(mutex_);
    return carried_.lock() == request;
  }
  bool busy() {
    const std::lock_guard lock(mutex_);
    return request_ != nullptr;
  }
  // Neither under way nor an answer that somebody still waits for.
  bool free() {
    const std::lock_guard lock(mutex_);
    return request_ == nullptr && carried_.expired();
  }
  Response Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return request_ == nullptr; });
    carried_.reset();
    return *std::exchange(response_, std::nullopt);
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopping_ || request_ != nullptr; });
      if (request_ == nullptr) return;
      const Request& request = *request_;
      lock.unlock();
      Response response = transport_.Send(request);
      lock.lock();
      response_ = std::move(response);
      request_.reset();
      if (carried_.expired()) response_.reset();
      changed_.notify_all();
      mailbox_.Wake();
    }
  }
  Transport& transport_;
  Mailbox& mailbox_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<const Request> request_;  // until it is answered; guarded by mutex_, as are the next three
  std::weak_ptr<const Request> carried_;    // until its answer is taken; once the courier forgets it, nobody will
  std::optional<Response> response_;
  bool stopping_ = false;
  std::thread thread_;
};

Carrier::Carrier(std::unique_ptr<Courier> courier, std::vector<std::unique_ptr<Transport>> transports, std::function<WallTime()> now,
                 std::function<void(const std::string&)> warn, size_t mailbox_bytes)
    : courier_(std::move(courier)),
      transports_(std::move(transports)),
      now_(std::move(now)),
      warn_(std::move(warn)),
      wants_samples_(courier_->wants_samples()),
      mailbox_(mailbox_bytes) {
  Publish(now_());
}

Carrier::~Carrier() {
  Stop();
  if (thread_.joinable()) thread_.join();
  senders_.clear();  // one may still be under way, and wakes the mailbox
}

void Carrier::Stop() {
  stopping_ = true;
  mailbox_.Close();  // ends a wait for events, too
  for (const auto& transport : transports_) transport->Abort();
}

void Carrier::Start() {
  for (const auto& transport : transports_) {
    if (courier_->works_ahead()) senders_.push_back(std::make_unique<Sender>(transport.get(), &mailbox_));
  }
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
  const std::pair told(status.state(), status.has_retry_time());  // suspended, and then for good, is news
  if (told != told_) {
    told_ = told;
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
    TakeWhatFits();
    if (auto request = courier_->Next(now)) {
      const Response response = Send(request);
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

void Carrier::TakeWhatFits() {
  while (courier_->HasRoom() && TakeEvents(std::chrono::steady_clock::now()) == kMostEvents) {
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

Response Carrier::Send(const std::shared_ptr<const Request>& request) {
  if (senders_.empty()) return transports_.front()->Send(*request);
  Sender* const sender = SenderOf(request);
  // Also where its answer is here already: the next is under way before that is looked at.
  TakeWhatFits();
  for (;;) {
    if (const auto next = courier_->Ready(now_())) {
      PrepareNext(next);
      break;
    }
    if (stopping_ || !sender->busy()) break;
    TakeEvents(std::chrono::steady_clock::now() + kLongestWait);
  }
  return sender->Wait();
}

void Carrier::PrepareNext(const std::shared_ptr<Request>& next) {
  if (std::any_of(senders_.begin(), senders_.end(), [&](const auto& sender) { return sender->Has(next); })) return;
  CompressAhead(next.get());
  if (courier_->overlaps() && SenderOf(next) != nullptr) courier_->SentAhead();
}

Carrier::Sender* Carrier::SenderOf(const std::shared_ptr<const Request>& request) {
  for (const auto& sender : senders_) {
    if (sender->Has(request)) return sender.get();
  }
  for (const auto& sender : senders_) {
    if (!sender->free()) continue;
    sender->Begin(request);
    return sender.get();
  }
  return nullptr;
}

}  // namespace outlier
