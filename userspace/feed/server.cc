#include "userspace/feed/server.h"

#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/feed/feed_service.h"
#include "userspace/base/unix_socket.h"

namespace outlier {
namespace {

constexpr const char* kServiceName = "outlier.v1.OutlierFeed";
constexpr int kShortCalls = 32;                  // beside the streams
constexpr int kMaxRequestBytes = 64 << 10;       // the largest honest request is a filter
constexpr int kMaxStreamsPerConnection = 128;
constexpr std::chrono::milliseconds kGrace(200);  // for answers under way; streams have been told before

class GrpcFeedServer : public FeedServer {
 public:
  GrpcFeedServer(const FeedServerOptions& options, std::string path, const Journal* journal, LiveView* view)
      : path_(std::move(path)), service_(options, journal, view) {}

  absl::Status Listen() {
    if (const absl::Status status = ClearSocketPath(path_); !status.ok()) return status;
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    grpc::ResourceQuota quota("feed");
    quota.SetMaxThreads(kMaxFeedStreams + kShortCalls);
    builder.SetResourceQuota(quota);
    builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
    builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
    builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
    builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8 << 10);
    builder.RegisterService(&service_);
    int bound = 0;
    builder.AddListeningPort("unix:" + path_, grpc::InsecureServerCredentials(), &bound);
    // From the first moment on nobody else may connect: the mode set below would come too late.
    const mode_t before = umask(0117);
    server_ = builder.BuildAndStart();
    umask(before);
    if (server_ == nullptr || bound == 0) {
      return absl::UnavailableError(fmt::format("cannot listen on {}: the socket could not be bound", Printable(path_)));
    }
    struct stat status;
    if (stat(path_.c_str(), &status) == 0) inode_ = status.st_ino;
    SetServing(false);
    return RestrictSocket(path_);
  }

  ~GrpcFeedServer() override {
    if (server_ == nullptr) return;
    SetServing(false);
    service_.Stop();
    server_->Shutdown(std::chrono::system_clock::now() + kGrace);
    server_->Wait();
    struct stat status;
    // Another server may have taken the path over since.
    if (stat(path_.c_str(), &status) == 0 && status.st_ino == inode_) unlink(path_.c_str());
  }

  void SetServing(bool serving) override {
    grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
    health->SetServingStatus(serving);  // every known name, "" too
    health->SetServingStatus(kServiceName, serving);
  }
  void ChangesAppended(uint64_t, uint64_t lost) override { service_.ChangesAppended(lost); }
  bool wants_samples() const override { return service_.wants_samples(); }
  void PublishSample(const v1::SampleResponse& sample) override { service_.PublishSample(sample); }

 private:
  const std::string path_;
  FeedService service_;
  std::unique_ptr<grpc::Server> server_;
  ino_t inode_ = 0;
};

// The library's own shutdown, which the last reference to it brings, joins a thread that may poll for ten seconds more; a daemon has to
// end within two. So one reference is never given back, and the process ends without it.
void KeepLibrary() {
  static const bool kept = (grpc_init(), true);
  (void)kept;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FeedServer>> FeedServer::Start(const FeedServerOptions& options, const Journal* journal, LiveView* view) {
  auto path = SocketPath(options.address);
  if (!path.ok()) return path.status();
  KeepLibrary();
  auto server = std::make_unique<GrpcFeedServer>(options, *std::move(path), journal, view);
  if (const absl::Status status = server->Listen(); !status.ok()) return status;
  return server;
}

}  // namespace outlier
