#include "userspace/transport/grpc.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/duration.pb.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <thread>

#include "outlier/v1/feed.grpc.pb.h"
#include "tests/transport/certificates.h"
#include "userspace/transport/transport.h"

namespace outlier {
namespace {

using Failure = Response::Failure;
using std::chrono::steady_clock;

// Some unary service of messages: the transport carries bytes and does not know which.
class Service : public v1::OutlierFeed::Service {
 public:
  std::function<grpc::Status(grpc::ServerContext*, const v1::GetIncidentRequest&, v1::Incident*)> handler;
  grpc::Status GetIncident(grpc::ServerContext* context, const v1::GetIncidentRequest* request, v1::Incident* incident) override {
    for (const auto& [name, value] : context->client_metadata()) metadata[std::string(name.data(), name.size())] = std::string(value.data(), value.size());
    return handler(context, *request, incident);
  }
  std::map<std::string, std::string> metadata;
};

class GrpcTransportTest : public testing::Test {
 protected:
  void Serve(std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials()) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("localhost:0", credentials, &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  ~GrpcTransportTest() override {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
  }
  static config::v1::Connection Connection(int64_t timeout_ms = 20'000) {
    config::v1::Connection connection;
    connection.set_timeout(timeout_ms * 1'000'000);
    return connection;
  }
  Request Call(bool tls = false) const {
    Request request;
    request.protocol = Request::Protocol::kGrpc;
    request.url = fmt::format("{}localhost:{}", tls ? "https://" : "http://", port_);
    request.grpc_method = "/outlier.v1.OutlierFeed/GetIncident";
    v1::GetIncidentRequest message;
    message.set_id("i1");
    request.body = message.SerializeAsString();
    return request;
  }
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  CertificateFolder folder_;
};

TEST_F(GrpcTransportTest, CarriesBytesAndMetadata) {
  Serve();
  service_.handler = [](grpc::ServerContext* context, const v1::GetIncidentRequest& request, v1::Incident* incident) {
    context->AddTrailingMetadata("x-trailer", "7");
    incident->set_id(request.id() + "!");
    return grpc::Status::OK;
  };
  config::v1::Connection connection = Connection();
  connection.add_headers("X-Fixed: of relay.yaml");
  GrpcTransport transport(connection, "outlier-relay/test");
  Request request = Call();
  request.headers = {{"Api-Key", "k"}};
  request.compress = true;
  const Response response = transport.Send(request);
  ASSERT_TRUE(response.answered()) << response.failure_text;
  EXPECT_EQ(response.status, 0);
  v1::Incident incident;
  ASSERT_TRUE(incident.ParseFromString(response.body));
  EXPECT_EQ(incident.id(), "i1!");
  EXPECT_EQ(response.Header("x-trailer"), "7");
  EXPECT_EQ(service_.metadata["api-key"], "k");
  EXPECT_EQ(service_.metadata["x-fixed"], "of relay.yaml") << "connection.headers are for gRPC, too";
  EXPECT_NE(service_.metadata["user-agent"].find("outlier-relay/test"), std::string::npos);
}

TEST_F(GrpcTransportTest, ReadsWhenToTryAgainFromTheDetails) {
  Serve();
  service_.handler = [](grpc::ServerContext*, const v1::GetIncidentRequest&, v1::Incident*) {
    // google.rpc.Status with a google.rpc.RetryInfo of 90.5 s, field by field.
    google::protobuf::Duration delay;
    delay.set_seconds(90);
    delay.set_nanos(500'000'000);
    const std::string bytes = delay.SerializeAsString();
    google::protobuf::Any any;
    any.set_type_url("type.googleapis.com/google.rpc.RetryInfo");
    any.set_value(std::string("\x0a") + static_cast<char>(bytes.size()) + bytes);
    const std::string detail = any.SerializeAsString();
    std::string details = std::string("\x08\x08\x12\x04slow\x1a", 9) + static_cast<char>(detail.size()) + detail;
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "slow", details);
  };
  GrpcTransport transport(Connection(), "t");
  const Response response = transport.Send(Call());
  EXPECT_EQ(response.status, 8);
  const Outcome outcome = JudgeGrpc(response, 1);
  EXPECT_EQ(outcome.kind, Outcome::Kind::kRetry);
  EXPECT_EQ(outcome.retry_after, std::chrono::milliseconds(90'500));
}

TEST_F(GrpcTransportTest, DetailsThatAreNoneAreNothing) {
  Serve();
  for (const std::string& details : {std::string("\xff\xff\xff"), std::string(1000, '\x1a'), std::string("\x1a\xff\xff\xff\xff\x0f", 6)}) {
    service_.handler = [&](grpc::ServerContext*, const v1::GetIncidentRequest&, v1::Incident*) { return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "slow", details); };
    GrpcTransport transport(Connection(), "t");
    const Response response = transport.Send(Call());
    EXPECT_EQ(JudgeGrpc(response, 1).kind, Outcome::Kind::kSplit);
  }
}

TEST_F(GrpcTransportTest, ATimeOutAndANobodyAreTriedAgain) {
  Serve();
  std::mutex mutex;
  std::condition_variable over;
  bool done = false;
  service_.handler = [&](grpc::ServerContext*, const v1::GetIncidentRequest&, v1::Incident*) {
    std::unique_lock lock(mutex);
    over.wait(lock, [&] { return done; });
    return grpc::Status::OK;
  };
  EXPECT_EQ(JudgeGrpc(GrpcTransport(Connection(300), "t").Send(Call()), 1).kind, Outcome::Kind::kRetry);
  GrpcTransport transport(Connection(600'000), "t");
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    transport.Abort();
  });
  const auto begun = steady_clock::now();
  EXPECT_EQ(transport.Send(Call()).failure, Failure::kReset);
  EXPECT_EQ(transport.Send(Call()).failure, Failure::kReset);
  EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(5));
  other.join();
  {
    const std::lock_guard lock(mutex);
    done = true;
  }
  over.notify_all();
  server_->Shutdown(std::chrono::system_clock::now());
  EXPECT_EQ(JudgeGrpc(GrpcTransport(Connection(), "t").Send(Call()), 1).kind, Outcome::Kind::kRetry);
}

TEST_F(GrpcTransportTest, TrustsItsOwnAuthorityAndACertificateThatDoesNotDoSuspends) {
  const Certificate authority = MakeCertificate({.name = "authority", .authority = true}), other = MakeCertificate({.name = "other", .authority = true});
  const Certificate leaf = MakeCertificate({}, &authority);
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back({leaf.KeyPem(), leaf.Pem()});
  Serve(grpc::SslServerCredentials(options));
  service_.handler = [](grpc::ServerContext*, const v1::GetIncidentRequest&, v1::Incident*) { return grpc::Status::OK; };
  config::v1::Connection connection = Connection();
  connection.set_ca_file(folder_.Write("ca.pem", other.Pem()));
  GrpcTransport transport(connection, "t");
  const Response refused = transport.Send(Call(true));
  EXPECT_EQ(refused.failure, Failure::kTls) << refused.status << " " << refused.failure_text;
  EXPECT_EQ(JudgeGrpc(refused, 1).kind, Outcome::Kind::kSuspend);
  folder_.Write("ca.pem", authority.Pem());
  EXPECT_EQ(transport.Send(Call(true)).status, 0) << "the file is read again";
  connection.set_ca_file("/nowhere/ca.pem");
  EXPECT_EQ(GrpcTransport(connection, "t").Send(Call(true)).failure, Failure::kLocal);
  connection.clear_ca_file();
  connection.set_ca_trusted_fingerprint(authority.Fingerprint());
  const Response pinned = GrpcTransport(connection, "t").Send(Call(true));
  EXPECT_EQ(pinned.failure, Failure::kLocal);
  EXPECT_NE(pinned.failure_text.find("ca_file"), std::string::npos) << "what is not checked must not look as if it were";
}

TEST_F(GrpcTransportTest, SecretsShowInNoTextAndAnOddKeyDoesNotEndTheProgram) {
  Serve();
  service_.handler = [](grpc::ServerContext*, const v1::GetIncidentRequest&, v1::Incident*) { return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "bad key s3cret"); };
  GrpcTransport transport(Connection(), "t");
  Request request = Call();
  request.secrets = {"s3cret"};
  EXPECT_EQ(Describe(transport.Send(request)).find("s3cret"), std::string::npos);
  for (const std::string& value : {std::string("a\nb"), std::string("\xc3\xa4"), std::string("a\0b", 3)}) {
    request.headers = {{"api-key", value}};
    EXPECT_EQ(transport.Send(request).failure, Failure::kLocal);
  }
  request.headers = {{"odd name", "x"}};
  EXPECT_EQ(transport.Send(request).failure, Failure::kLocal);
}

}  // namespace
}  // namespace outlier
