#include "userspace/probes/proc_scanner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "userspace/base/file.h"
#include "userspace/probes/proc_text.h"

namespace outlier {
namespace {

// In scans, spread over pids so that every scan does its share.
constexpr uint64_t kReadSleepersEvery = 16;
constexpr uint64_t kReadCgroupEvery = 64;
constexpr uint64_t kFewRuns = 2;            // so little that which of them were involuntary can wait,
constexpr uint64_t kBriefNs = 100'000'000;  // unless they took this long: such a run hardly ends by waiting
constexpr size_t kMostCgroups = 65'536;     // remembered; containers come and go

struct Path {  // "PID/name" without an allocation
  char text[48];
  Path(int32_t pid, const char* name) { snprintf(text, sizeof text, "%d/%s", pid, name); }
};

bool MeansGone(int error) { return error == ENOENT || error == ESRCH || error == ENOTDIR; }

}  // namespace

ProcScanner::ProcScanner(Options options)
    : options_(std::move(options)),
      proc_fd_(open(options_.proc_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
      buffer_(1 << 16, '\0') {
  if (const long ticks = sysconf(_SC_CLK_TCK); ticks > 0) clock_tick_ns_ = 1'000'000'000 / static_cast<uint64_t>(ticks);
  if (const long page = sysconf(_SC_PAGESIZE); page > 0) page_bytes_ = static_cast<uint64_t>(page);
  OpenCgroupMounts();
}

ProcScanner::~ProcScanner() {
  for (Entry& entry : entries_) Forget(&entry);
  if (proc_fd_ >= 0) close(proc_fd_);
}

void ProcScanner::Forget(Entry* entry) {
  if (entry->schedule_fd < 0) return;
  close(entry->schedule_fd);
  entry->schedule_fd = -1;
  --descriptors_;
}

bool ProcScanner::ListPids() {
  pids_.clear();
  if (proc_fd_ < 0 || lseek(proc_fd_, 0, SEEK_SET) != 0) return false;
  for (;;) {
    const long n = syscall(SYS_getdents64, proc_fd_, buffer_.data(), buffer_.size());
    if (n < 0) return false;
    if (n == 0) break;
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer_.data() + at);
      at += entry->d_reclen;
      std::string_view name(entry->d_name);
      if (name[0] < '1' || name[0] > '9') continue;
      const uint64_t pid = TakeNumber(&name);
      if (name.empty() && pid <= INT32_MAX) pids_.push_back(static_cast<int32_t>(pid));
    }
  }
  if (!std::is_sorted(pids_.begin(), pids_.end())) std::sort(pids_.begin(), pids_.end());
  return true;
}

bool ProcScanner::Scan(std::vector<ProcessSample>* out) {
  out->clear();
  wait_statuses_.clear();
  ++scans_;
  if (!ListPids()) return false;
  next_.clear();
  next_.reserve(pids_.size());
  out->reserve(pids_.size());
  size_t k = 0;
  for (const int32_t pid : pids_) {
    for (; k < entries_.size() && entries_[k].sample.key.pid < pid; ++k) Forget(&entries_[k]);
    const bool known = k < entries_.size() && entries_[k].sample.key.pid == pid;
    Entry entry = known ? std::move(entries_[k]) : Entry();
    if (known) entries_[k++].schedule_fd = -1;  // moved
    const bool slept = known && !entry.ended && SleptThroughout(&entry);
    const Outcome outcome = slept ? Outcome::kLiving : Read(pid, &entry);
    if (outcome == Outcome::kGone) {
      Forget(&entry);
      continue;
    }
    if (outcome == Outcome::kLiving) out->push_back(entry.sample);
    next_.push_back(std::move(entry));
  }
  for (; k < entries_.size(); ++k) Forget(&entries_[k]);
  entries_.swap(next_);
  return true;
}

bool ProcScanner::SleptThroughout(Entry* entry) {
  if (entry->schedule_fd < 0 || entry->sample.threads != 1 || entry->schedule_cpu_ns == 0) return false;
  if (ItsTurn(entry->sample.key.pid, kReadSleepersEvery)) return false;
  char text[96];
  const auto read = ReadOpen(entry->schedule_fd, text, sizeof text);
  const auto schedule = read ? ParseProcSchedule(*read) : std::nullopt;
  return schedule && schedule->cpu_ns == entry->schedule_cpu_ns;
}

ProcScanner::Outcome ProcScanner::Read(int32_t pid, Entry* entry) {
  const auto text = ReadAt(proc_fd_, Path(pid, "stat").text, buffer_.data(), 4096);
  const auto stat = text ? ParseProcStat(*text) : std::nullopt;
  if (!stat) {
    if (text || !MeansGone(errno)) ++failed_reads_;
    return Outcome::kGone;
  }
  const uint64_t start_ns = stat->start_ticks * clock_tick_ns_;
  const bool fresh = entry->sample.key.pid != pid || entry->sample.key.start_time_ns != start_ns;
  if (fresh) {  // or the pid was given to another process
    Forget(entry);
    *entry = Entry();
    entry->sample.key = {pid, start_ns};
  }
  ProcessSample& sample = entry->sample;
  if ((stat->state == 'Z' || stat->state == 'X') && stat->threads <= 1) {
    if (!entry->ended) wait_statuses_[sample.key] = stat->wait_status;
    Forget(entry);
    entry->ended = true;
    return Outcome::kEnded;
  }
  sample.parent_pid = stat->parent_pid;
  sample.threads = stat->threads;
  sample.kernel_thread = stat->kernel_thread;
  sample.major_faults = stat->major_faults;
  const bool renamed = sample.comm != stat->comm;  // by exec, as a rule; by then a process is where it belongs
  sample.comm = stat->comm;

  // Both numbers are lower bounds of what the process used: `stat` counts all threads in whole clock ticks, `schedstat`
  // the leading thread alone in nanoseconds. The larger is the better, and stays monotone.
  uint64_t cpu_ns = stat->cpu_ticks * clock_tick_ns_;
  if (entry->schedule_fd < 0 && descriptors_ < options_.max_descriptors && !stat->kernel_thread) {
    entry->schedule_fd = openat(proc_fd_, Path(pid, "schedstat").text, O_RDONLY | O_CLOEXEC);
    if (entry->schedule_fd >= 0) ++descriptors_;
  }
  uint64_t runs = 0;  // since the last scan
  char schedule_text[96];
  const auto read = entry->schedule_fd >= 0 ? ReadOpen(entry->schedule_fd, schedule_text, sizeof schedule_text)
                                            : ReadAt(proc_fd_, Path(pid, "schedstat").text, schedule_text, sizeof schedule_text);
  if (const auto schedule = read ? ParseProcSchedule(*read) : std::nullopt) {
    entry->schedule_cpu_ns = schedule->cpu_ns;
    runs = schedule->runs - std::min(schedule->runs, entry->runs);
    entry->runs = schedule->runs;
    cpu_ns = std::max(cpu_ns, schedule->cpu_ns);
    sample.run_delay_ns = std::max(sample.run_delay_ns, schedule->run_delay_ns);
  }
  const bool ran = cpu_ns > sample.cpu_ns;
  const bool briefly = cpu_ns <= sample.cpu_ns + kBriefNs;
  sample.cpu_ns = std::max(sample.cpu_ns, cpu_ns);
  const bool resized = stat->rss_pages != entry->rss_pages;
  entry->rss_pages = stat->rss_pages;
  if (stat->kernel_thread) return Outcome::kLiving;
  const bool details = fresh || ran || resized;
  const bool as_ever = !fresh && !resized && !renamed && sample.threads == 1;
  if (details && as_ever && briefly && runs > 0 && runs <= kFewRuns && !ItsTurn(pid, kReadSleepersEvery)) {
    sample.voluntary_switches += runs;
  } else if (details) {
    ReadStatus(pid, entry);
  }
  if (details && !entry->io_refused) ReadIo(pid, entry);
  if (fresh || renamed || ItsTurn(pid, kReadCgroupEvery)) sample.cgroup_id = CgroupIdOf(pid);
  return Outcome::kLiving;
}

void ProcScanner::ReadStatus(int32_t pid, Entry* entry) {
  ProcessSample& sample = entry->sample;
  if (const auto text = ReadAt(proc_fd_, Path(pid, "status").text, buffer_.data(), 8192)) {
    const ProcStatus status = ParseProcStatus(*text);
    sample.user_id = status.user_id;
    sample.rss_anonymous_bytes = status.rss_anonymous_bytes;
    sample.rss_file_bytes = status.rss_file_bytes;
    sample.rss_shared_bytes = status.rss_shared_bytes;
    sample.swap_bytes = status.swap_bytes;
    sample.voluntary_switches = std::max(sample.voluntary_switches, status.voluntary_switches);
    sample.involuntary_switches = std::max(sample.involuntary_switches, status.involuntary_switches);
  }
}

void ProcScanner::ReadIo(int32_t pid, Entry* entry) {
  ProcessSample& sample = entry->sample;
  if (const auto text = ReadAt(proc_fd_, Path(pid, "io").text, buffer_.data(), 4096)) {
    const ProcIo io = ParseProcIo(*text);
    sample.read_bytes = std::max(sample.read_bytes, io.read_bytes);
    sample.write_bytes = std::max(sample.write_bytes, io.write_bytes);
  } else {
    entry->io_refused = errno == EACCES || errno == EPERM;
  }
}

void ProcScanner::OpenCgroupMounts() {
  const absl::StatusOr<std::string> mounts = ReadFile(options_.proc_root + "/self/mountinfo", 4 << 20);
  if (!mounts.ok()) return;
  std::string_view rest = *mounts;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const std::string line(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    char root[256], point[1024], type[64], options[512];
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos || sscanf(line.c_str(), "%*s %*s %*s %255s %1023s", root, point) != 2 ||
        sscanf(line.c_str() + dash, " - %63s %*s %511s", type, options) != 2 || strcmp(root, "/") != 0) {
      continue;
    }
    if (strcmp(type, "cgroup2") == 0) cgroup_mounts_.emplace("", point);
    if (strcmp(type, "cgroup") != 0) continue;
    const std::string list = "," + std::string(options) + ",";
    for (const char* name : {"name=systemd", "memory", "pids"}) {
      if (list.find("," + std::string(name) + ",") != std::string::npos) cgroup_mounts_.emplace(name, point);
    }
  }
}

// The identifier of a cgroup is the inode number of its directory, as the kernel gives it to programs that ask there.
uint64_t ProcScanner::CgroupIdOf(int32_t pid) {
  const auto text = ReadAt(proc_fd_, Path(pid, "cgroup").text, buffer_.data(), 8192);
  if (!text) return 0;
  const CgroupChoice choice = ChooseCgroup(*text);
  if (choice.path.empty()) return 1;  // the root
  const std::string key = choice.hierarchy + ":" + choice.path;
  if (const auto known = cgroup_ids_.find(key); known != cgroup_ids_.end()) return known->second;
  const auto mount = cgroup_mounts_.find(choice.hierarchy);
  struct stat status;
  if (mount == cgroup_mounts_.end() || stat((mount->second + choice.path).c_str(), &status) != 0) return 0;
  if (cgroup_ids_.size() >= kMostCgroups) cgroup_ids_.clear();
  cgroup_ids_[key] = status.st_ino;
  return status.st_ino;
}

int32_t ProcScanner::WaitStatusOf(const ProcessKey& key) const {
  const auto found = wait_statuses_.find(key);
  return found == wait_statuses_.end() ? 0 : found->second;
}

}  // namespace outlier
