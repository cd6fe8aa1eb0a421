// A feed in the test's own process: what outlierctl would be told, without probes, models or a journal.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "outlier/v1/feed.grpc.pb.h"

namespace outlier::ctl {

class FakeFeed final : public v1::OutlierFeed::Service {
 public:
  FakeFeed();
  ~FakeFeed() override;
  const std::string& address() const { return address_; }
  const std::string& folder() const { return folder_; }

  void Start();
  void Stop();  // as a daemon that ends: streams break, the socket goes
  void Serve(int connection);  // a connected socket that somebody else accepted; owned from now on
  // Gives the next sequence and wakes the watchers.
  void Append(v1::IncidentChange change);
  void Compact(uint64_t oldest);  // sequences below are no longer held
  int watches() const;            // streams begun so far

  v1::Status status;
  std::vector<v1::WorkloadState> workloads;
  std::vector<v1::Incident> incidents;
  size_t page = 1000;  // incidents in one answer
  std::vector<std::string> recording;
  v1::ListIncidentsRequest last_list;
  v1::SubmitFeedbackRequest last_feedback;
  v1::ExportRecordingRequest last_export;

 private:
  grpc::Status Watch(grpc::ServerContext*, const v1::WatchRequest*, grpc::ServerWriter<v1::WatchResponse>*) override;
  grpc::Status ListIncidents(grpc::ServerContext*, const v1::ListIncidentsRequest*, v1::ListIncidentsResponse*) override;
  grpc::Status GetIncident(grpc::ServerContext*, const v1::GetIncidentRequest*, v1::Incident*) override;
  grpc::Status ListWorkloads(grpc::ServerContext*, const v1::ListWorkloadsRequest*, v1::ListWorkloadsResponse*) override;
  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::Status*) override;
  grpc::Status AcknowledgeIncident(grpc::ServerContext*, const v1::AcknowledgeIncidentRequest*, v1::IncidentChange*) override;
  grpc::Status SubmitFeedback(grpc::ServerContext*, const v1::SubmitFeedbackRequest*, v1::IncidentChange*) override;
  grpc::Status ExportRecording(grpc::ServerContext*, const v1::ExportRecordingRequest*, grpc::ServerWriter<v1::ExportRecordingResponse>*) override;

  std::string folder_;
  std::string address_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<v1::IncidentChange> changes_;
  uint64_t oldest_ = 1;
  int watches_ = 0;
  bool stopping_ = false;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace outlier::ctl
