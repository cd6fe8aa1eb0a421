// Observer: follows all sources for the relay's own use: the numbers of /metrics, and which workloads have an incident, whose signals are worth
// sending. Thread-safe; a thread of its own reads its mailbox.
#pragma once
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "userspace/exposition/exposition.h"
#include "userspace/sources/mailbox.h"

namespace outlier {

class Observer {
 public:
  explicit Observer(Exposition* exposition, std::shared_ptr<const Labels> labels);
  ~Observer();
  void Stop();  // does not wait
  Mailbox& mailbox() { return mailbox_; }
  // Whether this workload of this feed has an open incident, or had one within the last ten minutes before `now`.
  bool Troubled(const std::string& feed_id, const v1::Workload& workload, WallTime now) const;

 private:
  static constexpr auto kAftermath = std::chrono::minutes(10);
  struct Trouble {
    std::set<std::string> open;      // incident ids
    WallTime until;                  // where none is open
  };
  void Run();
  void Take(const FeedEvent& event);
  void Note(const v1::Incident& incident);
  void Forget(const std::string& feed_id, const std::vector<v1::Incident>& open);
  static std::string Key(const std::string& feed_id, const v1::Workload& workload);

  Exposition* const exposition_;
  const std::shared_ptr<const Labels> labels_;
  Mailbox mailbox_;
  mutable std::mutex mutex_;
  std::map<std::string, Trouble> troubles_;  // guarded by mutex_
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace outlier
