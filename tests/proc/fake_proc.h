// A folder that looks like /proc, for tests: removed when it goes out of scope.
#pragma once
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>

namespace outlier {

class FakeProc {
 public:
  FakeProc() {
    char name[] = "/tmp/fake_proc.XXXXXX";
    root_ = mkdtemp(name);
    std::filesystem::create_directories(root_ + "/self");
    Write("stat", "cpu  100 10 50 9999 7 3 2 55 40 0\ncpu0 1 1 1 1 1 1 1 0 0 0\ncpu1 1 1 1 1 1 1 1 0 0 0\nintr 5\nprocesses 4321\n");
  }
  ~FakeProc() { std::filesystem::remove_all(root_); }
  const std::string& root() const { return root_; }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + "/" + path).parent_path());
    std::ofstream(root_ + "/" + path, std::ios::binary) << text;
  }

  struct Process {
    int pid = 0;
    int parent = 1;
    std::string comm = "app";
    uint64_t cpu_ticks = 0;
    uint64_t start_ticks = 100;
    int threads = 1;
    uint64_t run_ns = 0;  // schedstat
    uint64_t runs = 9;
    uint64_t voluntary_switches = 11;
    char state = 'S';
    uint64_t flags = 0;
    int exit_code = 0;
    std::string executable = {};
    std::string command_line = {};
    std::string cgroup = "0::/\n";
    uint32_t user = 0;
  };
  void Put(const Process& p) {
    const std::string folder = fmt::format("{}", p.pid);
    Write(folder + "/stat", fmt::format("{} ({}) {} {} 1 1 0 -1 {} 0 0 7 0 {} {} 0 0 20 0 {} 0 {} 4096 25 184 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 {}\n",
                                        p.pid, p.comm, p.state, p.parent, p.flags, p.cpu_ticks, 0, p.threads, p.start_ticks, p.exit_code));
    Write(folder + "/schedstat", fmt::format("{} {} {}\n", p.run_ns, p.run_ns / 10, p.runs));
    Write(folder + "/status", fmt::format("Name:\tx\nUid:\t{0}\t{0}\t{0}\t{0}\nRssAnon:\t 100 kB\nRssFile:\t 20 kB\nRssShmem:\t 3 kB\nVmSwap:\t 4 kB\n"
                                          "voluntary_ctxt_switches:\t{1}\nnonvoluntary_ctxt_switches:\t5\n", p.user, p.voluntary_switches));
    Write(folder + "/io", "rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\n");
    Write(folder + "/cgroup", p.cgroup);
    Write(folder + "/cmdline", p.command_line);
    std::filesystem::remove(root_ + "/" + folder + "/exe");
    if (!p.executable.empty()) std::filesystem::create_symlink(p.executable, root_ + "/" + folder + "/exe");
  }
  void Remove(int pid) { std::filesystem::remove_all(fmt::format("{}/{}", root_, pid)); }

 private:
  std::string root_;
};

}  // namespace outlier
