// FeedServer: package outlier.v1 over gRPC, with health and reflection. One stream a subscriber, each reading the journal at
// its own pace: a slow subscriber keeps only its own place. At most 64 streams; further ones get RESOURCE_EXHAUSTED.
// Thread-safe. Stopping waits for a LiveView::Submit under way, so a view that stops must let its waiters go.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "userspace/feed/journal.h"
#include "userspace/feed/live_view.h"

namespace outlier {

struct FeedServerOptions {
  std::string address;  // unix:///path, made with mode 0660 and group `outlierd` where that group exists
  absl::Duration heartbeat = absl::Seconds(5);
  // Export of the flight recorder: since (0 = all), sink returns false to stop.
  std::function<absl::Status(absl::Duration since, const std::function<bool(std::string_view)>& sink)> export_recording;
};

class FeedServer {
 public:
  // INVALID_ARGUMENT for an address that is not a Unix socket, UNAVAILABLE when another program answers there. A socket
  // file that nobody answers on is replaced. Not serving (health) until SetServing(true).
  static absl::StatusOr<std::unique_ptr<FeedServer>> Start(const FeedServerOptions& options, const Journal* journal, LiveView* view);
  virtual ~FeedServer() = default;                 // stops within 1 s, removes the socket
  virtual void SetServing(bool serving) = 0;       // gRPC health, "" and "outlier.v1.OutlierFeed"
  virtual void ChangesAppended(uint64_t last_sequence, uint64_t lost) = 0;  // wakes the subscribers
  virtual bool wants_samples() const = 0;                                   // whether anybody reads samples
  virtual void PublishSample(const v1::SampleResponse& sample) = 0;         // best effort
};

}  // namespace outlier
