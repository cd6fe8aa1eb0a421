#include "userspace/outlier_relay/admin_service.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/base/unix_socket.h"

namespace outlier {
namespace {

constexpr int kMaxRequestBytes = 256 << 10;
constexpr size_t kMostLetters = 1000;

grpc::Status ToGrpc(const absl::Status& status) { return {static_cast<grpc::StatusCode>(status.code()), MessageOf(status)}; }

class AdminService final : public relay::v1::RelayAdmin::Service {
 public:
  AdminService(Relay* relay, std::function<WallTime()> now) : relay_(*relay), now_(std::move(now)) {}

  grpc::Status ListSinks(grpc::ServerContext*, const relay::v1::ListSinksRequest*, relay::v1::ListSinksResponse* response) override {
    for (const relay::v1::SinkStatus& sink : relay_.Sinks()) *response->add_sinks() = sink;
    return grpc::Status::OK;
  }
  grpc::Status RetrySink(grpc::ServerContext*, const relay::v1::RetrySinkRequest* request, relay::v1::SinkStatus* response) override {
    return Answer(relay_.RetrySink(request->name()), response);
  }
  grpc::Status ListDeadLetters(grpc::ServerContext*, const relay::v1::ListDeadLettersRequest* request, relay::v1::ListDeadLettersResponse* response) override {
    auto letters = relay_.ledger().DeadLetters(request->sink(), request->limit() == 0 ? kMostLetters : request->limit());
    if (!letters.ok()) return ToGrpc(letters.status());
    for (relay::v1::DeadLetter& letter : *letters) *response->add_dead_letters() = std::move(letter);
    return grpc::Status::OK;
  }
  grpc::Status ResendDeadLetters(grpc::ServerContext*, const relay::v1::ResendDeadLettersRequest* request, relay::v1::ResendDeadLettersResponse* response) override {
    const std::vector<std::string> ids(request->ids().begin(), request->ids().end());
    const auto count = relay_.Resend(request->sink(), ids);
    if (!count.ok()) return ToGrpc(count.status());
    response->set_resent(*count);
    return grpc::Status::OK;
  }
  grpc::Status ListSilences(grpc::ServerContext*, const relay::v1::ListSilencesRequest* request, relay::v1::ListSilencesResponse* response) override {
    for (const relay::v1::Silence& silence : relay_.silences().List(request->expired(), now_())) *response->add_silences() = silence;
    return grpc::Status::OK;
  }
  grpc::Status AddSilence(grpc::ServerContext*, const relay::v1::AddSilenceRequest* request, relay::v1::Silence* response) override {
    return Answer(relay_.silences().Add(request->silence(), now_()), response);
  }
  grpc::Status ExpireSilence(grpc::ServerContext*, const relay::v1::ExpireSilenceRequest* request, relay::v1::Silence* response) override {
    return Answer(relay_.silences().Expire(request->id(), now_()), response);
  }

 private:
  template <class T>
  static grpc::Status Answer(absl::StatusOr<T> result, T* response) {
    if (!result.ok()) return ToGrpc(result.status());
    *response = *std::move(result);
    return grpc::Status::OK;
  }
  Relay& relay_;
  const std::function<WallTime()> now_;
};

class GrpcAdminServer : public AdminServer {
 public:
  GrpcAdminServer(std::string path, Relay* relay, std::function<WallTime()> now) : path_(std::move(path)), service_(relay, std::move(now)) {}
  absl::Status Listen() {
    if (const absl::Status status = ClearSocketPath(path_); !status.ok()) return status;
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
    builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
    builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
    builder.RegisterService(&service_);
    int bound = 0;
    builder.AddListeningPort("unix:" + path_, grpc::InsecureServerCredentials(), &bound);
    const mode_t before = umask(0117);  // from the first moment on nobody else may connect
    server_ = builder.BuildAndStart();
    umask(before);
    if (server_ == nullptr || bound == 0) return absl::UnavailableError(fmt::format("cannot listen on {}: the socket could not be bound", Printable(path_)));
    struct stat status;
    if (stat(path_.c_str(), &status) == 0) inode_ = status.st_ino;
    server_->GetHealthCheckService()->SetServingStatus(true);
    return RestrictSocket(path_);
  }
  ~GrpcAdminServer() override {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
    server_->Wait();
    struct stat status;
    if (stat(path_.c_str(), &status) == 0 && status.st_ino == inode_) unlink(path_.c_str());
  }

 private:
  const std::string path_;
  AdminService service_;
  std::unique_ptr<grpc::Server> server_;
  ino_t inode_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Start(const std::string& address, Relay* relay, std::function<WallTime()> now) {
  auto path = SocketPath(address);
  if (!path.ok()) return path.status();
  auto server = std::make_unique<GrpcAdminServer>(*std::move(path), relay, std::move(now));
  if (const absl::Status status = server->Listen(); !status.ok()) return status;
  return server;
}

}  // namespace outlier
