#include "tests/outlierctl/fake_feed.h"

#include <fcntl.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>

#include <grpcpp/server_posix.h>

namespace outlier::ctl {
namespace {

grpc::Status Find(const std::vector<v1::Incident>& incidents, const std::string& id, v1::Incident* found) {
  for (const v1::Incident& i : incidents) {
    if (i.id().rfind(id, 0) != 0) continue;
    *found = i;
    return grpc::Status::OK;
  }
  return grpc::Status(grpc::StatusCode::NOT_FOUND, "no incident has this id");
}

}  // namespace

FakeFeed::FakeFeed() {
  char name[] = "/tmp/outlierctl-test.XXXXXX";
  folder_ = mkdtemp(name);
  address_ = "unix://" + folder_ + "/sock";
  Start();
}

FakeFeed::~FakeFeed() {
  Stop();
  std::filesystem::remove_all(folder_);
}

void FakeFeed::Start() {
  stopping_ = false;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

void FakeFeed::Stop() {
  if (!server_) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  server_->Wait();
  server_.reset();
}

void FakeFeed::Serve(int connection) {
  fcntl(connection, F_SETFL, fcntl(connection, F_GETFL) | O_NONBLOCK);
  grpc::AddInsecureChannelFromFd(server_.get(), connection);
}

void FakeFeed::Append(v1::IncidentChange change) {
  std::lock_guard lock(mutex_);
  change.set_sequence(changes_.size() + 1);
  changes_.push_back(std::move(change));
  changed_.notify_all();
}

void FakeFeed::Compact(uint64_t oldest) {
  std::lock_guard lock(mutex_);
  oldest_ = oldest;
}

int FakeFeed::watches() const {
  std::lock_guard lock(mutex_);
  return watches_;
}

grpc::Status FakeFeed::Watch(grpc::ServerContext* context, const v1::WatchRequest* request, grpc::ServerWriter<v1::WatchResponse>* writer) {
  std::unique_lock lock(mutex_);
  ++watches_;
  if (request->start_after() != 0 && request->start_after() + 1 < oldest_) {
    return grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "start_after is compacted away; the oldest held is " + std::to_string(oldest_));
  }
  v1::WatchResponse response;
  response.set_feed_id("feed-1");
  writer->Write(response);
  for (uint64_t next = request->start_after();;) {
    for (; next < changes_.size(); ++next) {
      *response.mutable_change() = changes_[next];
      if (!writer->Write(response)) return grpc::Status::OK;
    }
    response.mutable_heartbeat()->set_last_sequence(next);
    writer->Write(response);
    // Cancellation wakes nobody, so it is looked for.
    changed_.wait_for(lock, std::chrono::milliseconds(20), [&] { return stopping_ || next < changes_.size(); });
    if (stopping_) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "stopping");
    if (context->IsCancelled()) return grpc::Status::CANCELLED;
  }
}

grpc::Status FakeFeed::ListIncidents(grpc::ServerContext*, const v1::ListIncidentsRequest* request, v1::ListIncidentsResponse* response) {
  last_list = *request;
  const size_t begin = request->page_token().empty() ? 0 : std::stoul(request->page_token());
  for (size_t k = begin; k < std::min(begin + page, incidents.size()); ++k) *response->add_incidents() = incidents[k];
  if (begin + page < incidents.size()) response->set_next_page_token(std::to_string(begin + page));
  return grpc::Status::OK;
}

grpc::Status FakeFeed::GetIncident(grpc::ServerContext*, const v1::GetIncidentRequest* request, v1::Incident* response) {
  return Find(incidents, request->id(), response);
}

grpc::Status FakeFeed::ListWorkloads(grpc::ServerContext*, const v1::ListWorkloadsRequest*, v1::ListWorkloadsResponse* response) {
  for (const v1::WorkloadState& w : workloads) *response->add_workloads() = w;
  return grpc::Status::OK;
}

grpc::Status FakeFeed::GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::Status* response) {
  *response = status;
  return grpc::Status::OK;
}

grpc::Status FakeFeed::AcknowledgeIncident(grpc::ServerContext*, const v1::AcknowledgeIncidentRequest* request, v1::IncidentChange* response) {
  response->set_sequence(7);
  response->set_kind(v1::IncidentChange::ACKNOWLEDGED);
  return Find(incidents, request->id(), response->mutable_incident());
}

grpc::Status FakeFeed::SubmitFeedback(grpc::ServerContext*, const v1::SubmitFeedbackRequest* request, v1::IncidentChange* response) {
  last_feedback = *request;
  response->set_kind(v1::IncidentChange::FEEDBACK);
  const grpc::Status status = Find(incidents, request->id(), response->mutable_incident());
  response->mutable_incident()->set_feedback(request->verdict() == v1::SubmitFeedbackRequest::USEFUL ? "useful" : "false_alarm");
  return status;
}

grpc::Status FakeFeed::ExportRecording(grpc::ServerContext*, const v1::ExportRecordingRequest* request, grpc::ServerWriter<v1::ExportRecordingResponse>* writer) {
  last_export = *request;
  for (const std::string& chunk : recording) {
    v1::ExportRecordingResponse response;
    response.set_chunk(chunk);
    writer->Write(response);
  }
  return grpc::Status::OK;
}

}  // namespace outlier::ctl
