// What `syscall_latency` adds to a call, against the floor of the same run: empty-handed enter and exit programs with two
// clocks and two storage look-ups. Rounds of nothing / floor / probe follow one another, so that a drift of the machine
// meets all three; of a round the fastest of many short chunks counts, of the rounds the median. BPF statistics are off.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "bpf/syscall_floor.skel.h"
#include "userspace/loader/kernel_programs.h"
#include "userspace/probes/syscall_classes.h"

namespace outlier {
namespace {

constexpr int kCallsPerChunk = 4096;  // what a pipe holds as single bytes
constexpr int kChunks = 60;

double FastestNsPerCall(const std::function<void()>& prepare, const std::function<void()>& call) {
  double fastest = 1e18;
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    prepare();
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kCallsPerChunk; ++i) call();
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - begin;
    fastest = std::min(fastest, elapsed.count() / kCallsPerChunk);
  }
  return fastest;
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

struct CloseFloor {
  void operator()(syscall_floor_bpf* floor) const { syscall_floor_bpf__destroy(floor); }
};

std::unique_ptr<syscall_floor_bpf, CloseFloor> AttachFloor() {
  std::unique_ptr<syscall_floor_bpf, CloseFloor> floor(syscall_floor_bpf__open_and_load());
  if (floor == nullptr || syscall_floor_bpf__attach(floor.get()) != 0) {
    std::perror("cannot attach the floor");
    std::exit(1);
  }
  return floor;
}

std::unique_ptr<KernelPrograms> AttachProbe() {
  KernelPrograms::Options options;
  options.probes = {"tasks", "lifecycle", "syscall_latency"};
  options.syscall_table = SyscallTable();
  options.futex_waits = FutexWaits();
  auto kernel = KernelPrograms::Load(options);
  if (!kernel.ok() || !(*kernel)->runs("syscall_latency")) {
    std::fprintf(stderr, "cannot attach the probe: %s\n", kernel.status().ToString().c_str());
    std::exit(1);
  }
  return std::move(*kernel);
}

int Run(int rounds) {
  int pipe_ends[2];
  const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (pipe(pipe_ends) != 0 || file < 0) return 1;
  std::array<char, kCallsPerChunk> bytes{};
  struct Case {
    const char* name;
    std::function<void()> prepare, call;
    std::vector<double> none, floor, probe;
  };
  std::array<Case, 3> cases{{
      {"getppid", [] {}, [] { (void)syscall(SYS_getppid); }, {}, {}, {}},
      {"pipe read", [&] { (void)!write(pipe_ends[1], bytes.data(), bytes.size()); },
       [&] { char byte; (void)!read(pipe_ends[0], &byte, 1); }, {}, {}, {}},
      {"pread", [] {}, [&] { char byte; (void)!pread(file, &byte, 1, 0); }, {}, {}, {}},
  }};
  for (int round = 0; round < rounds; ++round) {
    for (Case& c : cases) c.none.push_back(FastestNsPerCall(c.prepare, c.call));
    {
      const auto floor = AttachFloor();
      for (Case& c : cases) c.floor.push_back(FastestNsPerCall(c.prepare, c.call));
    }
    {
      const auto probe = AttachProbe();
      for (Case& c : cases) c.probe.push_back(FastestNsPerCall(c.prepare, c.call));
    }
  }
  std::printf("%d rounds; nanoseconds per call, median of rounds\n%-10s %8s %12s %12s %6s\n", rounds, "call", "nothing",
              "floor adds", "probe adds", "ratio");
  for (const Case& c : cases) {
    std::vector<double> floor, probe;
    for (size_t i = 0; i < c.none.size(); ++i) {
      floor.push_back(c.floor[i] - c.none[i]);
      probe.push_back(c.probe[i] - c.none[i]);
    }
    std::printf("%-10s %8.0f %12.0f %12.0f %6.2f\n", c.name, Median(c.none), Median(floor), Median(probe), Median(probe) / Median(floor));
  }
  return 0;
}

}  // namespace
}  // namespace outlier

int main(int argc, char** argv) { return outlier::Run(argc > 1 ? std::max(1, std::atoi(argv[1])) : 9); }
