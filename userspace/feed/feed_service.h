// FeedService: package outlier.v1 as gRPC's synchronous API has it: one thread a call.
//
// Synchronous, for a stream then is a plain loop whose Write blocks on its own subscriber only; calls are bounded (64
// streams and as many short calls as gRPC has threads left), so threads are too.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>

#include "outlier/v1/feed.grpc.pb.h"
#include "userspace/feed/sample_fanout.h"
#include "userspace/feed/server.h"

namespace outlier {

inline constexpr int kMaxFeedStreams = 64;

class FeedService final : public v1::OutlierFeed::Service {
 public:
  FeedService(const FeedServerOptions& options, const Journal* journal, LiveView* view);

  void ChangesAppended(uint64_t lost);
  bool wants_samples() const { return samples_.wanted(); }
  void PublishSample(const v1::SampleResponse& sample) { samples_.Publish(sample); }
  void Stop();  // all streams end with UNAVAILABLE

  grpc::Status WatchSamples(grpc::ServerContext*, const v1::WatchSamplesRequest*, grpc::ServerWriter<v1::SampleResponse>*) override;
  grpc::Status ExportRecording(grpc::ServerContext*, const v1::ExportRecordingRequest*,
                               grpc::ServerWriter<v1::ExportRecordingResponse>*) override;
  grpc::Status ListIncidents(grpc::ServerContext*, const v1::ListIncidentsRequest*, v1::ListIncidentsResponse*) override;
  grpc::Status GetIncident(grpc::ServerContext*, const v1::GetIncidentRequest*, v1::Incident*) override;
  grpc::Status ListWorkloads(grpc::ServerContext*, const v1::ListWorkloadsRequest*, v1::ListWorkloadsResponse*) override;
  grpc::Status QuerySeries(grpc::ServerContext*, const v1::QuerySeriesRequest*, v1::QuerySeriesResponse*) override;
  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::Status*) override;
  grpc::Status AcknowledgeIncident(grpc::ServerContext*, const v1::AcknowledgeIncidentRequest*, v1::IncidentChange*) override;
  grpc::Status SubmitFeedback(grpc::ServerContext*, const v1::SubmitFeedbackRequest*, v1::IncidentChange*) override;

 private:
  class StreamSlot;
  // Writes what it sends as bytes: changes go as they lie in the journal, where they were read once already, and are not taken apart again.
  using Watcher = grpc::ServerSplitStreamer<v1::WatchRequest, grpc::ByteBuffer>;
  grpc::Status WatchBytes(grpc::ServerContext* context, Watcher* stream);
  grpc::Status Submit(Command::Kind kind, const std::string& id, const std::string& author, grpc::ServerContext* context,
                      v1::IncidentChange* change);
  absl::Status CheckStart(const v1::WatchRequest& request) const;
  // Until there is something after `position`, `until`, or a short while (to notice who went away). False when stopping.
  bool WaitForChanges(uint64_t position, std::chrono::steady_clock::time_point until);
  grpc::ByteBuffer HeartbeatAt(uint64_t position) const;

  const FeedServerOptions options_;
  const Journal& journal_;
  LiveView& view_;
  SampleFanout samples_;
  std::atomic<int> streams_{0};
  std::atomic<uint64_t> lost_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> stopping_{false};
};

// Status codes are the same numbers.
grpc::Status ToGrpc(const absl::Status& status);
// INVALID_ARGUMENT names the field when the duration is negative or malformed.
absl::StatusOr<int64_t> DurationNs(const google::protobuf::Duration& duration, std::string_view field);

}  // namespace outlier
