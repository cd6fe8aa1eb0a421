#include "userspace/feed/feed_service.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/feed/filter.h"

namespace outlier {
namespace {

constexpr size_t kMaxIdBytes = 256;
constexpr size_t kMaxAuthorBytes = 256;
constexpr size_t kMaxNameBytes = 4096;
constexpr int kDefaultPage = 1000;
constexpr int kMaxPage = 10000;
constexpr int kPageStep = 64;
constexpr size_t kMaxPageBytes = 2 << 20;  // gRPC clients take 4 MiB unless told otherwise
constexpr absl::Duration kSubmitTimeout = absl::Seconds(10);

absl::Status CheckLength(const std::string& text, std::string_view field, size_t limit) {
  if (text.size() <= limit) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: {} bytes, at most {} are allowed", field, text.size(), limit));
}

}  // namespace

FeedService::FeedService(const FeedServerOptions& options, const Journal* journal, LiveView* view) : options_(options), journal_(*journal), view_(*view) {
  constexpr int kWatch = 0;  // the first method of the service; what is served under the wrong one, every test of Watch would show
  MarkMethodStreamed(kWatch, new grpc::internal::SplitServerStreamingHandler<v1::WatchRequest, grpc::ByteBuffer>(
                                 [this](grpc::ServerContext* context, Watcher* stream) { return WatchBytes(context, stream); }));
}

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

absl::StatusOr<int64_t> DurationNs(const google::protobuf::Duration& duration, std::string_view field) {
  constexpr int64_t kMaxSeconds = 9'000'000'000;  // of what int64 nanoseconds hold
  if (duration.seconds() < 0 || duration.nanos() < 0 || duration.nanos() > 999'999'999 || duration.seconds() > kMaxSeconds) {
    return absl::InvalidArgumentError(fmt::format("{}: not a duration between 0 and {} s", field, kMaxSeconds));
  }
  return duration.seconds() * 1'000'000'000 + duration.nanos();
}

void FeedService::ChangesAppended(uint64_t lost) {
  lost_ = lost;
  {
    const std::lock_guard lock(mutex_);  // no stream may be between its look and its sleep
  }
  wake_.notify_all();
}

void FeedService::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
}

grpc::Status FeedService::ListIncidents(grpc::ServerContext*, const v1::ListIncidentsRequest* request, v1::ListIncidentsResponse* response) {
  if (const absl::Status status = CheckFilter(request->filter()); !status.ok()) return ToGrpc(status);
  const auto since = DurationNs(request->since(), "since");
  if (!since.ok()) return ToGrpc(since.status());
  const int64_t changed_since = *since == 0 ? std::numeric_limits<int64_t>::min() : absl::ToUnixNanos(absl::Now()) - *since;
  const int page = request->page_size() == 0 ? kDefaultPage : static_cast<int>(std::min<uint32_t>(request->page_size(), kMaxPage));
  std::string token = request->page_token();
  size_t bytes = 0;
  do {
    const int step = std::min(kPageStep, page - response->incidents_size());
    auto incidents = journal_.Incidents(request->filter(), changed_since, step, token, response->mutable_next_page_token());
    if (!incidents.ok()) return ToGrpc(incidents.status());
    for (v1::Incident& incident : *incidents) {
      bytes += incident.ByteSizeLong();
      *response->add_incidents() = std::move(incident);
    }
    token = response->next_page_token();
  } while (!token.empty() && response->incidents_size() < page && bytes < kMaxPageBytes);
  return grpc::Status::OK;
}

grpc::Status FeedService::GetIncident(grpc::ServerContext*, const v1::GetIncidentRequest* request, v1::Incident* response) {
  if (request->id().empty()) return {grpc::StatusCode::INVALID_ARGUMENT, "id: must not be empty"};
  if (const absl::Status status = CheckLength(request->id(), "id", kMaxIdBytes); !status.ok()) return ToGrpc(status);
  auto incident = journal_.Get(request->id());
  if (!incident.ok()) return ToGrpc(incident.status());
  *response = *std::move(incident);
  return grpc::Status::OK;
}

grpc::Status FeedService::ListWorkloads(grpc::ServerContext*, const v1::ListWorkloadsRequest* request, v1::ListWorkloadsResponse* response) {
  if (const absl::Status status = CheckWorkloadFilter(request->filter()); !status.ok()) return ToGrpc(status);
  for (v1::WorkloadState& workload : view_.Workloads()) {
    if (Matches(request->filter(), workload)) *response->add_workloads() = std::move(workload);
  }
  return grpc::Status::OK;
}

grpc::Status FeedService::QuerySeries(grpc::ServerContext*, const v1::QuerySeriesRequest* request, v1::QuerySeriesResponse* response) {
  if (request->workload().empty()) return {grpc::StatusCode::INVALID_ARGUMENT, "workload: must not be empty"};
  absl::Status status = CheckLength(request->workload(), "workload", kMaxNameBytes);
  if (status.ok()) status = CheckLength(request->signal(), "signal", kMaxNameBytes);
  if (status.ok()) status = DurationNs(request->since(), "since").status();
  if (!status.ok()) return ToGrpc(status);
  *response = view_.Query(*request);
  if (!response->series().empty()) return grpc::Status::OK;
  const auto workloads = view_.Workloads();
  const bool known = std::any_of(workloads.begin(), workloads.end(), [&](const v1::WorkloadState& w) { return w.workload().name() == request->workload(); });
  return known ? grpc::Status::OK : grpc::Status(grpc::StatusCode::NOT_FOUND, fmt::format("workload: there is no {}", Printable(request->workload(), 80)));
}

grpc::Status FeedService::GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::Status* response) {
  *response = view_.GetStatus();
  response->set_last_sequence(journal_.last_sequence());
  return grpc::Status::OK;
}

grpc::Status FeedService::Submit(Command::Kind kind, const std::string& id, const std::string& author, grpc::ServerContext* context,
                                 v1::IncidentChange* change) {
  if (id.empty()) return {grpc::StatusCode::INVALID_ARGUMENT, "id: must not be empty"};
  absl::Status status = CheckLength(id, "id", kMaxIdBytes);
  if (status.ok()) status = CheckLength(author, "author", kMaxAuthorBytes);
  if (!status.ok()) return ToGrpc(status);
  const auto incident = journal_.Get(id);
  if (!incident.ok()) return ToGrpc(incident.status());
  Command command;
  command.kind = kind;
  command.incident_id = incident->id();
  command.author = Printable(author, kMaxAuthorBytes);
  command.incident = incident->SerializeAsString();
  const absl::Duration left = absl::FromChrono(context->deadline()) - absl::Now();
  auto submitted = view_.Submit(std::move(command), std::min(kSubmitTimeout, std::max(left, absl::ZeroDuration())));
  if (!submitted.ok()) return ToGrpc(submitted.status());
  *change = *std::move(submitted);
  return grpc::Status::OK;
}

grpc::Status FeedService::AcknowledgeIncident(grpc::ServerContext* context, const v1::AcknowledgeIncidentRequest* request,
                                              v1::IncidentChange* response) {
  return Submit(Command::Kind::kAcknowledge, request->id(), request->author(), context, response);
}

grpc::Status FeedService::SubmitFeedback(grpc::ServerContext* context, const v1::SubmitFeedbackRequest* request, v1::IncidentChange* response) {
  switch (request->verdict()) {
    case v1::SubmitFeedbackRequest::FALSE_ALARM:
      return Submit(Command::Kind::kFalseAlarm, request->id(), request->author(), context, response);
    case v1::SubmitFeedbackRequest::USEFUL:
      return Submit(Command::Kind::kUseful, request->id(), request->author(), context, response);
    default:
      return {grpc::StatusCode::INVALID_ARGUMENT, "verdict: must be FALSE_ALARM or USEFUL"};
  }
}

}  // namespace outlier
