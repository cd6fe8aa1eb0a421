// A service that is healthy until it is told to misbehave. The live tests copy it under one name per service, so that each copy
// is a workload of its own.
//
//   faulty [--read FILE] [--busy-ms N] [--core N] [--mode-file FILE]
//
// Healthy: every 100 ms on a fixed schedule, eight reads of FILE (one where --read names it) and N ms of CPU.
// Orders are lines on stdin, one word each, in force until the next one:
//   healthy | burn | leak | missing | hang | exit | grow | grow-child
// With --mode-file the first order is read from there: that is how a restarted instance goes on failing.
// End of stdin ends the program, so it never outlives the test that started it; death of its parent kills it.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPeriod{100};
constexpr size_t kLeakPerPeriod = 512 * 1024;  // 5 MiB/s
constexpr int kMissingPerPeriod = 20;          // 200 a second

struct Options {
  std::string read;
  int reads = 8;
  milliseconds busy{2};
  std::string mode_file;
};

void Burn(milliseconds how_long) {
  const Clock::time_point end = Clock::now() + how_long;
  volatile unsigned sink = 0;
  while (Clock::now() < end) {
    for (int i = 0; i < 1000; ++i) sink = sink + i;
  }
}

void* Touch(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) _exit(3);
  memset(memory, 0x5a, bytes);
  return memory;
}

// Ends by the OOM killer; the pause keeps other tests' CPU free.
[[noreturn]] void Grow() {
  for (;;) {
    Touch(4 << 20);
    usleep(2000);
  }
}

class Service {
 public:
  explicit Service(Options options) : options_(std::move(options)), descriptor_(open(options_.read.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) {
      perror(options_.read.c_str());
      exit(1);
    }
    std::string order;
    if (std::ifstream(options_.mode_file) >> order) Obey(order);
  }

  [[noreturn]] void Run() {
    Clock::time_point next = Clock::now();
    for (;;) {
      next += kPeriod;
      if (next < Clock::now()) next = Clock::now();  // after a stall no burst to catch up
      Work();
      AwaitOrders(next);
    }
  }

 private:
  void Work() {
    char block[4096];
    for (int i = 0; i < options_.reads; ++i) {
      if (pread(descriptor_, block, sizeof block, 0) < 0) perror("pread");
    }
    Burn(options_.busy);
    if (mode_ == "leak") leaked_.push_back(Touch(kLeakPerPeriod));
    if (mode_ == "missing") {
      for (int i = 0; i < kMissingPerPeriod; ++i) (void)open("/nonexistent/file", O_RDONLY | O_CLOEXEC);
    }
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }

  void AwaitOrders(Clock::time_point until) {
    for (;;) {
      const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
      if (left <= 0 && mode_ != "hang") return;
      int timeout = static_cast<int>(left);
      if (mode_ == "hang") timeout = -1;
      if (mode_ == "burn") {
        Burn(milliseconds(5));
        timeout = 0;
      }
      pollfd input{STDIN_FILENO, POLLIN, 0};
      if (poll(&input, 1, timeout) <= 0) continue;
      char text[256];
      const ssize_t length = read(STDIN_FILENO, text, sizeof text);
      if (length == 0) _exit(0);
      if (length < 0) continue;
      for (ssize_t i = 0; i < length; ++i) {
        if (text[i] != '\n') {
          line_ += text[i];
        } else {
          Obey(std::exchange(line_, ""));
        }
      }
    }
  }

  void Obey(const std::string& order) {
    if (order == "exit") _exit(1);
    if (order == "grow") Grow();
    if (order == "grow-child") {
      if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        // Where the one before it has not given all its memory back, the limit is met while both are small: the child is to go.
        std::ofstream("/proc/self/oom_score_adj") << 1000;
        Grow();
      }
      return;  // the parent goes on as it was
    }
    mode_ = order;
    if (mode_ == "healthy") {
      for (void* memory : leaked_) munmap(memory, kLeakPerPeriod);
      leaked_.clear();
    }
  }

  const Options options_;
  const int descriptor_;
  std::string mode_ = "healthy";
  std::string line_;
  std::vector<void*> leaked_;
};

void Pin(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  if (sched_setaffinity(0, sizeof cores, &cores) != 0) perror("sched_setaffinity");
}

}  // namespace

int main(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Options options;
  options.read = argv[0];
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const char* value = argv[i + 1];
    if (flag == "--read") {
      options.read = value;
      options.reads = 1;
    } else if (flag == "--busy-ms") {
      options.busy = milliseconds(atoi(value));
    } else if (flag == "--core") {
      Pin(atoi(value));
    } else if (flag == "--mode-file") {
      options.mode_file = value;
    } else {
      fprintf(stderr, "%s: unknown flag %s\n", argv[0], argv[i]);
      return 2;
    }
  }
  Service(std::move(options)).Run();
}
