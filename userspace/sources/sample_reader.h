// SampleReader: workload scores and signals of one source, for all sinks together. Best effort: gaps are counted, nothing is resumed.
// Once a minute also the status of the host. On a thread of its own.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "outlier/config/v1/relay.pb.h"
#include "outlier/v1/feed.grpc.pb.h"
#include "userspace/delivery/finding.h"

namespace outlier {

struct SampleReaderOptions {
  std::string address;
  config::v1::SourceTls tls;
  int64_t resolution_ns = 0;
  std::shared_ptr<const Labels> labels;
  std::function<void(Samples)> on_samples;               // of the reader's thread
  std::function<void(const v1::Status&)> on_status;
  std::function<void(bool connected, const std::string& message)> on_state;  // where it is another than before
  std::function<void(uint64_t ticks)> on_lost;
};

class SampleReader {
 public:
  explicit SampleReader(SampleReaderOptions options);
  ~SampleReader();             // within a second
  void Stop();                 // does not wait; thread-safe
  SampleReader(const SampleReader&) = delete;
  SampleReader& operator=(const SampleReader&) = delete;

 private:
  void Run();
  grpc::Status ReadOnce(v1::OutlierFeed::Stub* stub);
  grpc::Status Ask(v1::OutlierFeed::Stub* stub, v1::Status* host);
  void Tell(bool connected, const std::string& message);
  std::optional<std::pair<bool, std::string>> told_;
  const SampleReaderOptions options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  grpc::ClientContext* under_way_ = nullptr;  // guarded by mutex_
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace outlier
