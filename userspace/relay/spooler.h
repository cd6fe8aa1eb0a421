// Spooler: rescues what a source is about to forget while a sink still needs it. The source's journal is the buffer; only when the oldest change
// that a sink has not dealt with has reached kNear of the time that the source keeps it is everything from there on copied into the ledger, once
// for all sinks, and read from there. Freed as cursors pass. Beyond `max_size` nothing more is copied: the sink will then record a gap.
// A thread of its own, idle but for a look a minute.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "outlier/config/v1/relay.pb.h"
#include "outlier/v1/feed.grpc.pb.h"
#include "userspace/delivery/finding.h"
#include "userspace/ledger/ledger.h"

namespace outlier {

struct SpoolerOptions {
  std::vector<std::string> sources;
  config::v1::SourceTls tls;
  uint64_t max_size = 0;
  std::chrono::milliseconds look_every{60'000};
  std::function<std::vector<relay::v1::SinkStatus>()> sinks;
  std::function<void(const std::string&)> warn;
};

class Spooler {
 public:
  static constexpr double kNear = 0.7;
  Spooler(SpoolerOptions options, Ledger* ledger);
  ~Spooler();
  Spooler(const Spooler&) = delete;
  Spooler& operator=(const Spooler&) = delete;

 private:
  class CallUnderWay;
  void Run();
  void Look(const std::string& source, const std::vector<relay::v1::SinkStatus>& sinks);
  void ForgetFeeds(const std::vector<relay::v1::SinkStatus>& sinks);
  void Copy(v1::OutlierFeed::Stub* stub, const std::string& source, const std::string& feed_id, uint64_t after, uint64_t up_to);
  const SpoolerOptions options_;
  Ledger* const ledger_;
  std::mutex mutex_;
  std::condition_variable wake_;
  grpc::ClientContext* under_way_ = nullptr;  // guarded by mutex_
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace outlier
