#include <gmock/gmock.h>
#include <grpc/grpc.h>
#include <grpcpp/generic/generic_stub.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fstream>

#include "tests/feed/server_fixture.h"

namespace outlier {
namespace {

class Server : public FeedServerTest {
 protected:
  // Sends raw bytes as the request of a unary call.
  grpc::Status Raw(const std::string& method, const std::string& bytes) {
    grpc::GenericStub stub(NewChannel());
    grpc::CompletionQueue queue;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    const grpc::Slice slice(bytes);
    grpc::ByteBuffer request(&slice, 1), response;
    auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&response, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status;
  }
  grpc::Status Health(const std::string& service, std::string* answer) {
    grpc::GenericStub stub(NewChannel());
    grpc::CompletionQueue queue;
    grpc::ClientContext context;
    std::string bytes;
    if (!service.empty()) bytes = std::string("\x0a") + static_cast<char>(service.size()) + service;
    const grpc::Slice slice(bytes);
    grpc::ByteBuffer request(&slice, 1), response;
    auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&response, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    std::vector<grpc::Slice> slices;
    response.Dump(&slices);
    answer->clear();
    for (const grpc::Slice& s : slices) answer->append(reinterpret_cast<const char*>(s.begin()), s.size());
    return status;
  }
};

// Else the end of the daemon would wait for a thread of the library, now and then for ten seconds.
TEST_F(Server, ItsEndLeavesTheLibraryRunning) {
  stub_.reset();
  server_.reset();
  EXPECT_NE(grpc_is_initialized(), 0);
}

TEST_F(Server, ListsIncidentsNewestFirstPageByPage) {
  AppendMany(250);
  v1::ListIncidentsRequest request;
  request.set_page_size(100);
  std::vector<std::string> ids;
  for (int pages = 1;; ++pages) {
    grpc::ClientContext context;
    v1::ListIncidentsResponse response;
    ASSERT_TRUE(stub_->ListIncidents(&context, request, &response).ok());
    EXPECT_LE(response.incidents_size(), 100);
    for (const auto& incident : response.incidents()) ids.push_back(incident.id());
    if (response.next_page_token().empty()) {
      EXPECT_EQ(pages, 3);
      break;
    }
    request.set_page_token(response.next_page_token());
  }
  ASSERT_EQ(ids.size(), 250u);
  for (int i = 0; i < 250; ++i) EXPECT_EQ(ids[i], "id-" + std::to_string(249 - i));
}

TEST_F(Server, APageOfLargeIncidentsStaysWithinWhatClientsAccept) {
  auto change = MakeChange("", v1::IncidentChange::OPENED, 1);
  change.mutable_incident()->set_summary(std::string(20 << 10, 's'));
  for (int i = 0; i < 400; ++i) {
    change.mutable_incident()->set_id("big-" + std::to_string(i));
    Append(change);
  }
  v1::ListIncidentsRequest request;
  int seen = 0;
  do {
    grpc::ClientContext context;
    v1::ListIncidentsResponse response;
    const grpc::Status status = stub_->ListIncidents(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    seen += response.incidents_size();
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(seen, 400);
}

TEST_F(Server, ABadPageTokenOrDurationNamesItsField) {
  v1::ListIncidentsRequest request;
  request.set_page_token("'; DROP TABLE changes; --");
  grpc::ClientContext a, b;
  v1::ListIncidentsResponse response;
  grpc::Status status = stub_->ListIncidents(&a, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("page_token"), std::string::npos);
  request.clear_page_token();
  request.mutable_since()->set_seconds(-1);
  status = stub_->ListIncidents(&b, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("since"), std::string::npos);
}

TEST_F(Server, GetsAnIncidentByIdOrUniquePrefix) {
  Append(MakeChange("abcdef01", v1::IncidentChange::OPENED, 1));
  Append(MakeChange("abcdff02", v1::IncidentChange::OPENED, 1));
  const auto get = [&](const std::string& id, v1::Incident* incident) {
    grpc::ClientContext context;
    v1::GetIncidentRequest request;
    request.set_id(id);
    return stub_->GetIncident(&context, request, incident).error_code();
  };
  v1::Incident incident;
  EXPECT_EQ(get("abcdef01", &incident), grpc::StatusCode::OK);
  EXPECT_EQ(get("abcde", &incident), grpc::StatusCode::OK);
  EXPECT_EQ(incident.id(), "abcdef01");
  EXPECT_EQ(get("abcd", &incident), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(get("abc", &incident), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(get("zzzz", &incident), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(get("", &incident), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(Server, AcknowledgementAndFeedbackReachTheEngineWithTheIncident) {
  Append(MakeChange("abcdef01", v1::IncidentChange::OPENED, 1));
  v1::AcknowledgeIncidentRequest acknowledge;
  acknowledge.set_id("abcdef");
  acknowledge.set_author("on\ncall");
  v1::IncidentChange change;
  grpc::ClientContext a, b, c, d;
  ASSERT_TRUE(stub_->AcknowledgeIncident(&a, acknowledge, &change).ok());
  EXPECT_EQ(change.kind(), v1::IncidentChange::ACKNOWLEDGED);
  v1::SubmitFeedbackRequest feedback;
  feedback.set_id("abcdef01");
  feedback.set_verdict(v1::SubmitFeedbackRequest::FALSE_ALARM);
  ASSERT_TRUE(stub_->SubmitFeedback(&b, feedback, &change).ok());
  const auto commands = view_.commands();
  ASSERT_EQ(commands.size(), 2u);
  EXPECT_EQ(commands[0].incident_id, "abcdef01");
  EXPECT_EQ(commands[0].author, "on\\x0acall");
  EXPECT_EQ(commands[1].kind, Command::Kind::kFalseAlarm);
  v1::Incident held;
  ASSERT_TRUE(held.ParseFromString(commands[1].incident));
  EXPECT_EQ(held.id(), "abcdef01");
  feedback.set_verdict(v1::SubmitFeedbackRequest::VERDICT_UNSPECIFIED);
  EXPECT_EQ(stub_->SubmitFeedback(&c, feedback, &change).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  acknowledge.set_id("unknown");
  EXPECT_EQ(stub_->AcknowledgeIncident(&d, acknowledge, &change).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(Server, WorkloadsSeriesAndStatusComeFromTheView) {
  grpc::ClientContext a, b, c;
  v1::ListWorkloadsRequest workloads;
  workloads.mutable_filter()->set_min_severity(v1::Incident::CRITICAL);
  v1::ListWorkloadsResponse listed;
  ASSERT_TRUE(stub_->ListWorkloads(&a, workloads, &listed).ok());
  ASSERT_EQ(listed.workloads_size(), 1);
  EXPECT_EQ(listed.workloads(0).workload().name(), "redis");
  v1::QuerySeriesRequest query;
  query.set_workload("redis");
  query.set_signal("process.cpu.utilization");
  v1::QuerySeriesResponse series;
  ASSERT_TRUE(stub_->QuerySeries(&b, query, &series).ok());
  EXPECT_EQ(series.series(0).signal(), "process.cpu.utilization");
  AppendMany(2);
  v1::Status status;
  ASSERT_TRUE(stub_->GetStatus(&c, {}, &status).ok());
  EXPECT_EQ(status.ticks(), 42u);
  EXPECT_EQ(status.last_sequence(), 2u);
}

TEST_F(Server, SeriesOfNoWorkloadAreAnErrorThatNamesTheField) {
  grpc::ClientContext a, b;
  v1::QuerySeriesResponse series;
  v1::QuerySeriesRequest query;
  const grpc::Status nameless = stub_->QuerySeries(&a, query, &series);
  EXPECT_EQ(nameless.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(nameless.error_message(), testing::HasSubstr("workload"));
  query.set_workload("no such");
  EXPECT_EQ(stub_->QuerySeries(&b, query, &series).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(Server, ARecordingIsStreamedInChunks) {
  grpc::ClientContext context;
  v1::ExportRecordingRequest request;
  request.mutable_since()->set_seconds(600);
  auto reader = stub_->ExportRecording(&context, request);
  std::string all;
  v1::ExportRecordingResponse response;
  while (reader->Read(&response)) all += response.chunk();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(all, "chunk600chunk600chunk600");
}

TEST_F(Server, InvalidTextAndHugeRequestsAreRefusedAndTheServerLives) {
  const std::string method = "/outlier.v1.OutlierFeed/GetIncident";
  EXPECT_FALSE(Raw(method, std::string("\x0a\x03\xff\xfe\xfd", 5)).ok());
  EXPECT_FALSE(Raw(method, "\xff\xff\xff\xff\xff").ok());
  std::string huge(1 << 20, 'a');
  EXPECT_EQ(Raw(method, huge).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Raw("/outlier.v1.OutlierFeed/NoSuchCall", "").error_code(), grpc::StatusCode::UNIMPLEMENTED);
  grpc::ClientContext context;
  v1::Status status;
  EXPECT_TRUE(stub_->GetStatus(&context, {}, &status).ok());
}

TEST_F(Server, HealthFollowsSetServingAndReflectionIsThere) {
  const std::string serving("\x08\x01", 2), not_serving("\x08\x02", 2);
  std::string answer;
  for (const std::string& service : {std::string(), std::string("outlier.v1.OutlierFeed")}) {
    ASSERT_TRUE(Health(service, &answer).ok());
    EXPECT_EQ(answer, serving);
  }
  server_->SetServing(false);
  for (const std::string& service : {std::string(), std::string("outlier.v1.OutlierFeed")}) {
    ASSERT_TRUE(Health(service, &answer).ok());
    EXPECT_EQ(answer, not_serving);
  }
  EXPECT_NE(Raw("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "").error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(Server, TheSocketIsForOwnerAndGroupOnly) {
  struct stat status;
  ASSERT_EQ(stat((folder_ / "run/feed.sock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0660u);
}

TEST_F(Server, AnAddressInUseIsLeftAloneAndAStaleSocketIsReplaced) {
  const auto second = FeedServer::Start(options_, journal_.get(), &view_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable) << second.status();
  grpc::ClientContext context;
  v1::Status status;
  EXPECT_TRUE(stub_->GetStatus(&context, {}, &status).ok());

  server_.reset();
  const std::string path = folder_ / "run/feed.sock";
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  close(fd);  // nobody listens: as a killed daemon leaves it
  Restart();
  grpc::ClientContext again;
  EXPECT_TRUE(stub_->GetStatus(&again, {}, &status).ok());
}

TEST_F(Server, WhatIsNotASocketIsNeverRemoved) {
  options_.address = "unix://" + folder_ / "precious";
  std::ofstream(folder_ / "precious") << "text";
  EXPECT_EQ(FeedServer::Start(options_, journal_.get(), &view_).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "precious"));
}

TEST_F(Server, TcpIsRefusedForLackOfMutualTls) {
  for (const char* address : {"127.0.0.1:0", "dns:///localhost:50051", "unix-abstract:x", "unix://relative", ""}) {
    options_.address = address;
    EXPECT_EQ(FeedServer::Start(options_, journal_.get(), &view_).status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
}

}  // namespace
}  // namespace outlier
