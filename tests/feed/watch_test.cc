#include <atomic>
#include <random>

#include "tests/feed/server_fixture.h"

namespace outlier {
namespace {

using std::chrono::steady_clock;

class Watch : public FeedServerTest {};

TEST_F(Watch, TheFirstMessageIsTheFeedIdAndAHeartbeatFollowsTheBacklog) {
  AppendMany(3);
  const auto all = UntilHeartbeat({});
  ASSERT_EQ(all.size(), 5u);
  EXPECT_EQ(all.front().feed_id(), journal_->feed_id());
  EXPECT_EQ(all.back().heartbeat().last_sequence(), 3u);
  EXPECT_EQ(all.back().heartbeat().compacted_before(), 1u);
}

TEST_F(Watch, ResumedAtAnySequenceItGivesTheSameSuffix) {
  AppendMany(600);  // more than two batches
  std::mt19937 random(7);
  for (int round = 0; round < 25; ++round) {
    v1::WatchRequest request;
    request.set_start_after(round == 0 ? 600 : random() % 600);
    request.set_feed_id(journal_->feed_id());
    const auto sequences = Sequences(UntilHeartbeat(request));
    ASSERT_EQ(sequences.size(), 600 - request.start_after());
    for (size_t i = 0; i < sequences.size(); ++i) ASSERT_EQ(sequences[i], request.start_after() + 1 + i);
  }
}

// Changes are sent as they lie in the journal, many in one go.
TEST_F(Watch, ChangesArriveAsTheyWereWrittenHoweverManyAndHowLarge) {
  std::vector<v1::IncidentChange> written;
  for (int i = 0; i < 700; ++i) {
    v1::IncidentChange change = MakeChange("id-" + std::to_string(i), v1::IncidentChange::OPENED, 1);
    change.mutable_incident()->set_summary(std::string(static_cast<size_t>(i % 100 == 99 ? 600'000 : i * 7), 's'));
    Append(change);
    change.set_sequence(static_cast<uint64_t>(i) + 1);
    written.push_back(std::move(change));
  }
  const auto all = UntilHeartbeat({});
  ASSERT_EQ(all.size(), written.size() + 2) << "the feed's id first, a heartbeat last";
  for (size_t i = 0; i < written.size(); ++i) EXPECT_EQ(all[i + 1].change().SerializeAsString(), written[i].SerializeAsString()) << i;
}

TEST_F(Watch, ALiveChangeArrivesWithoutWaitingForAHeartbeat) {
  options_.heartbeat = absl::Seconds(1000);
  Restart();
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  v1::WatchResponse response;
  ASSERT_TRUE(reader->Read(&response) && response.kind_case() == v1::WatchResponse::kFeedId);
  ASSERT_TRUE(reader->Read(&response) && response.has_heartbeat());
  Append(MakeChange("id-live", v1::IncidentChange::OPENED, 5));
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.change().incident().id(), "id-live");
  context.TryCancel();
}

TEST_F(Watch, AnIdleStreamGetsHeartbeatsWithWhatWasLost) {
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  v1::WatchResponse response;
  uint64_t lost = 0;
  server_->ChangesAppended(0, 7);
  for (int i = 0; i < 100 && lost == 0 && reader->Read(&response); ++i) lost = response.heartbeat().lost();
  EXPECT_EQ(lost, 7u);
  context.TryCancel();
}

TEST_F(Watch, FiltersPassOverTheRestAndTheHeartbeatStillTellsThePosition) {
  Append(MakeChange("a", v1::IncidentChange::OPENED, 1, v1::Incident::WARNING, "redis-1"));
  Append(MakeChange("b", v1::IncidentChange::OPENED, 1, v1::Incident::CRITICAL, "redis-2"));
  Append(MakeChange("c", v1::IncidentChange::OPENED, 1, v1::Incident::CRITICAL, "nginx"));
  Append(MakeChange("b", v1::IncidentChange::RESOLVED, 1, v1::Incident::CRITICAL, "redis-2"));
  v1::WatchRequest request;
  request.mutable_filter()->set_workload("redis*");
  request.mutable_filter()->set_min_severity(v1::Incident::MAJOR);
  const auto all = UntilHeartbeat(request);
  EXPECT_EQ(Sequences(all), (std::vector<uint64_t>{2, 4}));
  EXPECT_EQ(all.back().heartbeat().last_sequence(), 4u);
  request.mutable_filter()->set_state(v1::Incident::RESOLVED);
  EXPECT_EQ(Sequences(UntilHeartbeat(request)), (std::vector<uint64_t>{4}));
}

TEST_F(Watch, AStartBeyondTheEndOrOfAnotherFeedIsOutOfRange) {
  AppendMany(2);
  v1::WatchRequest request;
  request.set_start_after(3);
  EXPECT_EQ(WatchStatus(request).error_code(), grpc::StatusCode::OUT_OF_RANGE);
  request.set_start_after(2);
  request.set_feed_id("0123");
  const grpc::Status status = WatchStatus(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_NE(status.error_message().find(journal_->feed_id()), std::string::npos);
}

TEST_F(Watch, AStartThatWasCompactedAwayIsOutOfRangeAndNamesTheOldest) {
  AppendMany(2);
  Append(MakeChange("gone", v1::IncidentChange::OPENED, 10));
  Append(MakeChange("gone", v1::IncidentChange::RESOLVED, 11));
  AppendMany(2);
  ASSERT_TRUE(journal_->Compact(12'000'000'000).ok());
  ASSERT_EQ(journal_->oldest_sequence(), 5u);
  v1::WatchRequest request;
  request.set_start_after(3);
  const grpc::Status status = WatchStatus(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_NE(status.error_message().find("sequences 5 to 6"), std::string::npos) << status.error_message();
  request.set_start_after(4);
  EXPECT_EQ(Sequences(UntilHeartbeat(request)), (std::vector<uint64_t>{5, 6}));
  // From the beginning: whatever is kept, the open incidents' older changes among it.
  request.set_start_after(0);
  EXPECT_EQ(Sequences(UntilHeartbeat(request)), (std::vector<uint64_t>{1, 2, 5, 6}));
}

TEST_F(Watch, ABadFilterNamesItsField) {
  v1::WatchRequest request;
  request.mutable_filter()->set_min_severity(static_cast<v1::Incident::Severity>(99));
  grpc::Status status = WatchStatus(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("filter.min_severity"), std::string::npos);
  request.Clear();
  request.mutable_filter()->set_workload(std::string(5000, 'x'));
  status = WatchStatus(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("filter.workload"), std::string::npos);
}

TEST_F(Watch, ASubscriberThatNeverReadsHarmsNoOne) {
  auto lazy_stub = NewStub();
  grpc::ClientContext lazy_context;
  auto lazy = lazy_stub->Watch(&lazy_context, {});
  auto change = MakeChange("big", v1::IncidentChange::OPENED, 1);
  change.mutable_incident()->set_summary(std::string(32 << 10, 's'));
  grpc::ClientContext context;
  auto reader = stub_->Watch(&context, {});
  v1::WatchResponse response;
  // 16 MiB: far more than what transport buffers take for the one that does not read.
  for (int i = 0; i < 512; ++i) Append(change);
  uint64_t last = 0;
  while (last < 512 && reader->Read(&response)) {
    if (!response.has_change()) continue;
    ASSERT_EQ(response.change().sequence(), last + 1);
    last = response.change().sequence();
  }
  EXPECT_EQ(last, 512u);
  // And the lazy one keeps its own place: once it reads, nothing is missing.
  last = 0;
  while (last < 512 && lazy->Read(&response)) {
    if (!response.has_change()) continue;
    ASSERT_EQ(response.change().sequence(), last + 1);
    last = response.change().sequence();
  }
  EXPECT_EQ(last, 512u);
  context.TryCancel();
  lazy_context.TryCancel();
}

TEST_F(Watch, TheSixtyFifthStreamIsRefusedAndAClosedOneMakesRoom) {
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchResponse>>> readers;
  v1::WatchResponse response;
  for (int i = 0; i < 64; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(stub_->Watch(contexts.back().get(), {}));
    ASSERT_TRUE(readers.back()->Read(&response)) << i;
  }
  EXPECT_EQ(WatchStatus({}).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  // Short calls are still answered.
  grpc::ClientContext unary;
  v1::Status state;
  EXPECT_TRUE(stub_->GetStatus(&unary, {}, &state).ok());
  contexts.front()->TryCancel();
  readers.front()->Finish();
  const auto deadline = steady_clock::now() + std::chrono::seconds(10);
  bool served = false;
  while (!served && steady_clock::now() < deadline) served = !UntilHeartbeat({}).empty();
  EXPECT_TRUE(served);
  for (auto& context : contexts) context->TryCancel();
}

TEST_F(Watch, StoppingTakesLessThanASecondWithStreamsOpen) {
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchResponse>>> readers;
  v1::WatchResponse response;
  for (int i = 0; i < 20; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(stub_->Watch(contexts.back().get(), {}));
    ASSERT_TRUE(readers.back()->Read(&response));
  }
  // One of them blocked in Write.
  auto change = MakeChange("big", v1::IncidentChange::OPENED, 1);
  change.mutable_incident()->set_summary(std::string(256 << 10, 's'));
  for (int i = 0; i < 64; ++i) Append(change);
  const auto before = steady_clock::now();
  server_.reset();
  EXPECT_LT(steady_clock::now() - before, std::chrono::seconds(1));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/feed.sock"));
}

TEST_F(Watch, SamplesThatASlowSubscriberMissesAreCountedAndResolutionThinsThem) {
  grpc::ClientContext context, coarse_context;
  v1::WatchSamplesRequest coarse;
  coarse.mutable_resolution()->set_seconds(10);
  coarse.mutable_filter()->set_workload("redis");
  auto reader = stub_->WatchSamples(&context, {});
  auto coarse_reader = stub_->WatchSamples(&coarse_context, coarse);
  reader->WaitForInitialMetadata();
  coarse_reader->WaitForInitialMetadata();
  constexpr int kSamples = 2000;
  v1::SampleResponse sample;
  for (const char* name : {"redis", "nginx"}) sample.add_workloads()->mutable_workload()->set_name(name);
  // Large, so that the transport's buffers fill and samples are dropped.
  sample.mutable_workloads(1)->mutable_workload()->set_executable(std::string(16 << 10, 'e'));
  for (int i = 1; i <= kSamples; ++i) {
    sample.set_tick(i);
    sample.mutable_time()->set_seconds(i);
    server_->PublishSample(sample);
  }
  v1::SampleResponse got;
  uint64_t received = 0, lost = 0, last = 0;
  while (last < kSamples && reader->Read(&got)) {
    ASSERT_GT(got.tick(), last);
    last = got.tick();
    lost = got.lost();
    ++received;
  }
  EXPECT_EQ(last, static_cast<uint64_t>(kSamples));
  EXPECT_EQ(received + lost, static_cast<uint64_t>(kSamples));
  EXPECT_GT(lost, 0u);
  int64_t interval = -1;
  while (interval < kSamples / 10 && coarse_reader->Read(&got)) {
    ASSERT_GT(got.time().seconds() / 10, interval);
    ASSERT_EQ(got.workloads_size(), 1);
    EXPECT_EQ(got.workloads(0).workload().name(), "redis");
    interval = got.time().seconds() / 10;
  }
  EXPECT_EQ(interval, kSamples / 10);
  context.TryCancel();
  coarse_context.TryCancel();
}

}  // namespace
}  // namespace outlier
