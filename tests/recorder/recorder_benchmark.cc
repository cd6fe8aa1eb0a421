// What recording a tick costs when every process changes: CPU to append (encode, compress, write), bytes on disk, CPU to
// read back. Run: build/benchmarks/recorder_benchmark.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <filesystem>
#include <random>

#include "userspace/recorder/recorder.h"

namespace outlier {
namespace {

// A host with `n` processes, ten to an account, each of which used CPU, memory, disk and syscalls since the tick before.
class BusyHost {
 public:
  explicit BusyHost(int n) : random_(1) {
    tick_.boot_id = "8c1f0a52-3d0e-4c5e-9d55-0f6f3b1d2a10";
    for (int i = 0; i < n; ++i) {
      ProcessSample p;
      p.key = {100 + i, 1'000'000'000ull * i + random_() % 1'000'000};
      p.parent_pid = 1;
      p.threads = 4;
      p.cgroup_id = 1000 + i / 10;
      p.rss_file_bytes = 4096 * (random_() % 5000);
      p.rss_anonymous_bytes = 4096 * (random_() % 50000);
      p.comm = "worker-" + std::to_string(i % 50);
      tick_.processes.push_back(p);
    }
    for (int i = 0; i < n / 10; ++i) {
      tick_.accounts.push_back({.account = kFirstWorkloadAccount + static_cast<Account>(i)});
      tick_.syscalls.emplace_back().account = kFirstWorkloadAccount + static_cast<Account>(i);
    }
    tick_.losses = {{"ring_buffer_full", 0}, {"late_free", 0}};
  }
  const TickInput& Next() {
    ++tick_.tick;
    tick_.boot_time_ns += 1'000'000'000;
    tick_.wall_time_ns += 1'000'000'000;
    tick_.interval_ns = 1'000'000'000;
    for (ProcessSample& p : tick_.processes) {
      p.cpu_ns += random_() % 20'000'000;
      p.run_delay_ns += random_() % 1'000'000;
      p.voluntary_switches += random_() % 200;
      p.involuntary_switches += random_() % 10;
      p.write_bytes += 4096 * (random_() % 4);
      p.rss_anonymous_bytes += 4096 * (random_() % 3);
    }
    for (AccountSample& a : tick_.accounts) {
      a.cpu_ns += random_() % 200'000'000;
      a.run_delay_ns += random_() % 10'000'000;
      a.voluntary_switches += random_() % 2000;
      a.processes_started += random_() % 2;
    }
    for (AccountSyscalls& s : tick_.syscalls) {
      for (int c = 0; c < 4; ++c) {  // classes in use
        s.duration_sum_ns[c] += random_() % 50'000'000;
        for (int b = 4; b < 16; ++b) s.buckets[c][b] += random_() % 100;
      }
    }
    tick_.host.cpu_ns += 1'500'000'000;
    return tick_;
  }

 private:
  std::mt19937_64 random_;
  TickInput tick_;
};

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "outlier-benchmark-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::unique_ptr<Recorder> OpenIn(const Folder& folder) {
  RecorderOptions options;
  options.directory = folder.path();
  return *Recorder::Open(options);
}

void BM_Append(benchmark::State& state) {
  const Folder folder;
  BusyHost host(static_cast<int>(state.range(0)));
  auto recorder = OpenIn(folder);
  if (!recorder->BeginSegment(0, "", "").ok() || !recorder->Append(host.Next()).ok()) state.SkipWithError("cannot record");
  const uint64_t before = recorder->bytes_on_disk();
  for (auto _ : state) {
    state.PauseTiming();
    const TickInput& tick = host.Next();
    state.ResumeTiming();
    if (!recorder->Append(tick).ok()) state.SkipWithError("cannot record");
  }
  state.counters["bytes/tick"] = static_cast<double>(recorder->bytes_on_disk() - before) / static_cast<double>(state.iterations());
}
BENCHMARK(BM_Append)->Arg(200)->Arg(5000)->Unit(benchmark::kMicrosecond);

void BM_ReadHundredTicks(benchmark::State& state) {
  constexpr int kTicks = 100;
  const Folder folder;
  BusyHost host(static_cast<int>(state.range(0)));
  auto recorder = OpenIn(folder);
  if (!recorder->BeginSegment(0, "", "").ok()) state.SkipWithError("cannot record");
  for (int i = 0; i < kTicks; ++i) {
    if (!recorder->Append(host.Next()).ok()) state.SkipWithError("cannot record");
  }
  for (auto _ : state) {
    auto reader = *RecordingReader::OpenDirectory(folder.path(), 0);
    int ticks = 0;
    while ((*reader->Next()).has_value()) ++ticks;
    if (ticks != kTicks) state.SkipWithError("ticks are missing");
  }
}
BENCHMARK(BM_ReadHundredTicks)->Arg(200)->Arg(5000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace outlier

BENCHMARK_MAIN();
