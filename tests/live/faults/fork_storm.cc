// As many starts a second as the cores give, each living less than 5 ms, and an exact count of them.
//
//   fork_storm SECONDS
//
// Begins with the first line on stdin. One worker a core; every second child of a worker executes /bin/true, the others end at
// once. Prints the number of processes it started (workers included) and stays until the end of stdin. Death of its parent
// kills it.
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace {

using Clock = std::chrono::steady_clock;

void Work(Clock::time_point end, std::atomic<long>* started) {
  for (bool execute = false; Clock::now() < end; execute = !execute) {
    const pid_t child = fork();
    if (child < 0) continue;
    if (child == 0) {
      if (execute) execl("/bin/true", "true", nullptr);
      _exit(0);
    }
    started->fetch_add(1);
    waitpid(child, nullptr, 0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  void* shared = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  auto* started = new (shared) std::atomic<long>(0);
  char line[16];
  if (fgets(line, sizeof line, stdin) == nullptr) return 1;
  const Clock::time_point end = Clock::now() + std::chrono::seconds(atoi(argv[1]));
  for (long core = sysconf(_SC_NPROCESSORS_ONLN); core > 0; --core) {
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      Work(end, started);
      _exit(0);
    }
    started->fetch_add(1);
  }
  while (wait(nullptr) > 0) {
  }
  printf("%ld\n", started->load());
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) != nullptr) {
  }
}
