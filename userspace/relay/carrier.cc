#include "userspace/relay/carrier.h"

#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kMailboxBytes = 2 << 20;
constexpr size_t kMostEvents = 1000;                         // taken at once
constexpr auto kLongestWait = std::chrono::seconds(5);       // the wall clock may be set
constexpr auto kLeastWait = std::chrono::milliseconds(1);
constexpr size_t kMostSamples = 8;

}  // namespace

Carrier::Carrier(std::unique_ptr<Courier> courier, std::unique_ptr<Transport> transport, std::function<WallTime()> now,
                 std::function<void(const std::string&)> warn)
    : courier_(std::move(courier)),
      transport_(std::move(transport)),
      now_(std::move(now)),
      warn_(std::move(warn)),
      wants_samples_(courier_->wants_samples()),
      mailbox_(kMailboxBytes) {
  Publish(now_());
}

Carrier::~Carrier() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

void Carrier::Stop() {
  stopping_ = true;
  mailbox_.Close();
  transport_->Abort();
}

void Carrier::Start() {
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
    if (courier_->HasRoom()) {
      for (FeedEvent& event : mailbox_.Take(kMostEvents, std::chrono::steady_clock::now())) courier_->Take(std::move(event), now);
    }
    if (auto request = courier_->Next(now)) {
      const Response response = transport_->Send(*request);
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
    // Without room only time helps; the mailbox fills and holds the source up.
    for (FeedEvent& event : mailbox_.Take(courier_->HasRoom() ? kMostEvents : 0, until)) courier_->Take(std::move(event), now_());
  }
}

}  // namespace outlier
