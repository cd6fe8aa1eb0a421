// A real server on a socket of its own and a real client channel to it.
#pragma once
#include <grpcpp/grpcpp.h>

#include <memory>
#include <thread>
#include <vector>

#include "outlier/v1/feed.grpc.pb.h"
#include "tests/feed/feed_fixture.h"
#include "userspace/feed/server.h"

namespace outlier {

class FeedServerTest : public testing::Test {
 protected:
  FeedServerTest() : address_("unix://" + folder_ / "run/feed.sock") {
    options_.address = address_;
    options_.heartbeat = absl::Milliseconds(50);
    options_.export_recording = [](absl::Duration since, const std::function<bool(std::string_view)>& sink) {
      for (int i = 0; i < 3; ++i) {
        if (!sink("chunk" + std::to_string(absl::ToInt64Seconds(since)))) return absl::CancelledError("stopped");
      }
      return absl::OkStatus();
    };
    journal_ = OpenJournal(folder_ / "journal.db");
    Restart();
  }

  void Restart() {
    stub_.reset();
    server_.reset();
    auto server = FeedServer::Start(options_, journal_.get(), &view_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    server_->SetServing(true);
    stub_ = NewStub();
  }

  std::unique_ptr<v1::OutlierFeed::Stub> NewStub() { return v1::OutlierFeed::NewStub(NewChannel()); }
  std::shared_ptr<grpc::Channel> NewChannel() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own, as another process has
    return grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
  }

  // One change a tick.
  void Append(const v1::IncidentChange& change) {
    std::vector<v1::IncidentChange> changes = {change};
    ASSERT_TRUE(journal_->Append(++tick_, &changes).ok());
    server_->ChangesAppended(journal_->last_sequence(), 0);
  }
  void AppendMany(int n) {
    for (int i = 0; i < n; ++i) Append(MakeChange("id-" + std::to_string(tick_), v1::IncidentChange::OPENED, 100 + tick_));
  }

  // Everything up to and including the first heartbeat.
  std::vector<v1::WatchResponse> UntilHeartbeat(const v1::WatchRequest& request, grpc::Status* status = nullptr) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    auto reader = stub_->Watch(&context, request);
    std::vector<v1::WatchResponse> all;
    v1::WatchResponse response;
    bool heartbeat = false;
    while (!heartbeat && reader->Read(&response)) {
      heartbeat = response.has_heartbeat();
      all.push_back(response);
    }
    if (heartbeat) context.TryCancel();  // else the server has ended it, with a status
    const grpc::Status ended = reader->Finish();
    if (status != nullptr) *status = ended;
    return all;
  }
  grpc::Status WatchStatus(const v1::WatchRequest& request) {
    grpc::Status status;
    UntilHeartbeat(request, &status);
    return status;
  }
  static std::vector<uint64_t> Sequences(const std::vector<v1::WatchResponse>& all) {
    std::vector<uint64_t> out;
    for (const v1::WatchResponse& r : all) {
      if (r.has_change()) out.push_back(r.change().sequence());
    }
    return out;
  }

  TemporaryFolder folder_;
  const std::string address_;
  FeedServerOptions options_;
  FakeView view_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<FeedServer> server_;
  std::unique_ptr<v1::OutlierFeed::Stub> stub_;
  uint64_t tick_ = 0;
};

}  // namespace outlier
