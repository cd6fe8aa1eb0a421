// What it costs to write findings for search engines and to read their answer: time_per_finding, and bytes of body a finding. A finding has two contributions,
// two suspects and the events of its life, and becomes two documents.
#include <benchmark/benchmark.h>

#include <fmt/format.h>

#include "tests/sinks/examples.h"
#include "userspace/sinks/bulk.h"
#include "userspace/sinks/documents.h"

namespace outlier {
namespace {

void PerFinding(benchmark::State& state, size_t findings) {
  state.counters["time_per_finding"] =
      benchmark::Counter(static_cast<double>(findings), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void Document(benchmark::State& state) {
  const Finding finding = examples::Updated();
  std::string out;
  for (auto _ : state) {
    WriteFinding(finding, examples::Now(), &out);
    benchmark::DoNotOptimize(out.data());
  }
  state.counters["bytes"] = static_cast<double>(out.size());
  PerFinding(state, 1);
}
BENCHMARK(Document);

// A new string each time, as a request's body is, with room made as the sink makes it.
void Body(benchmark::State& state) {
  const std::vector<Finding> findings = examples::Many(static_cast<size_t>(state.range(0)));
  BulkWriter writer("default");
  writer.set_require_data_stream(true);
  size_t bytes = 0;
  for (auto _ : state) {
    std::string body;
    body.reserve(bytes * 9 / 8);
    for (const Finding& finding : findings) {
      if (!writer.Add(finding, examples::Now(), &body).ok()) state.SkipWithError("refused");
    }
    bytes = body.size();
    benchmark::DoNotOptimize(body.data());
  }
  state.counters["bytes"] = static_cast<double>(bytes) / static_cast<double>(findings.size());
  PerFinding(state, findings.size());
}
BENCHMARK(Body)->Arg(100)->Arg(2000);

// Of an answer in which everything went well.
void Answer(benchmark::State& state) {
  const std::vector<Finding> findings = examples::Many(static_cast<size_t>(state.range(0)));
  Response response;
  response.status = 200;
  response.body = R"({"errors":false,"items":[)";
  for (size_t i = 0; i < findings.size(); ++i) response.body += fmt::format(R"({}{{"create":{{"status":201}}}},{{"index":{{"status":201}}}})", i == 0 ? "" : ",");
  response.body += "]}";
  for (auto _ : state) {
    const Outcome outcome = JudgeBulk(response, findings);
    if (outcome.kind != Outcome::Kind::kItems) state.SkipWithError("misread");
  }
  PerFinding(state, findings.size());
}
BENCHMARK(Answer)->Arg(100)->Arg(2000);

// 200 workloads with 35 values each: one tick of a large host.
void SamplesOfATick(benchmark::State& state) {
  Samples samples = examples::Signals();
  v1::WorkloadState workload = samples.sample.workloads(0);
  for (int i = workload.values_size(); i < 35; ++i) *workload.add_values() = workload.values(i % 6);
  samples.sample.clear_workloads();
  for (int i = 0; i < 200; ++i) *samples.sample.add_workloads() = workload;
  const BulkWriter writer("default");
  for (auto _ : state) benchmark::DoNotOptimize(writer.Bodies(samples, examples::Now(), 1 << 20).size());
}
BENCHMARK(SamplesOfATick)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace outlier

BENCHMARK_MAIN();
