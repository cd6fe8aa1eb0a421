#include "userspace/probes/tasks.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "userspace/probes/probe.h"

namespace outlier {
namespace {

// A per-CPU counter may be negative for a moment.
uint64_t Bytes(int64_t pages, uint64_t page_bytes) { return pages > 0 ? static_cast<uint64_t>(pages) * page_bytes : 0; }

}  // namespace

std::string CommText(const char (&comm)[OUTLIER_COMM_BYTES]) { return std::string(comm, strnlen(comm, sizeof comm)); }

void OrderRecords(std::vector<outlier_process>* records) {
  const auto key = [](const outlier_process& record) { return ProcessKey{record.pid, record.start_time_ns}; };
  // A process of several threads is told at its last one, so a few records are late: taken out, sorted, and merged in from behind.
  std::vector<outlier_process> late;
  size_t in_order = 0;
  for (const outlier_process& record : *records) {
    if (in_order > 0 && !(key((*records)[in_order - 1]) < key(record))) {
      late.push_back(record);
    } else if (&record == &(*records)[in_order]) {
      ++in_order;
    } else {
      (*records)[in_order++] = record;
    }
  }
  if (late.empty()) return;
  // Where pids have begun anew, the older processes with the larger pids come first: long, but in order.
  const auto before = [&](const auto& a, const auto& b) { return key(a) < key(b); };
  if (!std::is_sorted(late.begin(), late.end(), before)) std::stable_sort(late.begin(), late.end(), before);
  for (size_t to = records->size(), left = late.size(); left > 0;) {
    const bool next_is_late = in_order == 0 || !(key(late[left - 1]) < key((*records)[in_order - 1]));
    (*records)[--to] = next_is_late ? late[--left] : (*records)[--in_order];
  }
  // Of equal keys the later record stays: seen from behind, the first.
  const auto end = std::unique(records->rbegin(), records->rend(), [&](const auto& a, const auto& b) { return key(a) == key(b); });
  records->erase(records->begin(), end.base());
}

void RecordCompleter::Complete(std::vector<outlier_process>* records) {
  next_.clear();
  next_.reserve(records->size());
  auto told = told_.begin();
  for (outlier_process& record : *records) {
    const ProcessKey key{record.pid, record.start_time_ns};
    while (told != told_.end() && told->key < key) ++told;
    if (record.flags & OUTLIER_PROCESS_BRIEF && told != told_.end() && told->key == key) {
      record.user_id = told->user_id;
      record.rss_file_pages = told->rss_file_pages;
      record.rss_anonymous_pages = told->rss_anonymous_pages;
      record.rss_shared_pages = told->rss_shared_pages;
      record.swap_pages = told->swap_pages;
      std::copy(told->comm.begin(), told->comm.end(), record.comm);
      next_.push_back(*told);
    } else {
      Told& now = next_.emplace_back(key, record.user_id, record.rss_file_pages, record.rss_anonymous_pages, record.rss_shared_pages, record.swap_pages);
      std::copy(std::begin(record.comm), std::end(record.comm), now.comm.begin());
    }
  }
  told_.swap(next_);
}

std::vector<ProcessSample> ProcessSamples(std::span<const outlier_process> records, uint64_t page_bytes) {
  std::vector<ProcessSample> samples;
  samples.reserve(records.size());
  for (const outlier_process& record : records) {
    ProcessSample& sample = samples.emplace_back();
    sample.key = {record.pid, record.start_time_ns};
    sample.parent_pid = record.parent_pid;
    sample.user_id = record.user_id;
    sample.threads = record.threads;
    sample.kernel_thread = (record.flags & OUTLIER_PROCESS_KERNEL_THREAD) != 0;
    sample.cgroup_id = record.cgroup_id;
    sample.cpu_ns = record.cpu_ns;
    sample.run_delay_ns = record.run_delay_ns;
    sample.voluntary_switches = record.voluntary_switches;
    sample.involuntary_switches = record.involuntary_switches;
    sample.major_faults = record.major_faults;
    sample.read_bytes = record.read_bytes;
    sample.write_bytes = record.write_bytes;
    sample.rss_file_bytes = Bytes(record.rss_file_pages, page_bytes);
    sample.rss_anonymous_bytes = Bytes(record.rss_anonymous_pages, page_bytes);
    sample.rss_shared_bytes = Bytes(record.rss_shared_pages, page_bytes);
    sample.swap_bytes = Bytes(record.swap_pages, page_bytes);
    sample.in_flight_ns = record.in_flight_ns;
    sample.in_flight_class = record.in_flight_class;
    sample.comm = CommText(record.comm);
  }
  return samples;
}

}  // namespace outlier

namespace outlier::probes::tasks {
namespace {

uint64_t OwnCpuNs(const TickInput& input) {
  for (const ProcessSample& process : input.processes) {
    if (process.key.pid == getpid()) return process.cpu_ns;
  }
  return 0;
}

class Tasks final : public Probe {
 public:
  void Collect(const ProbeTick& tick, TickInput* input) override { input->processes = ProcessSamples(tick.scan, page_bytes_); }
  void Exercise() override {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
    while (std::chrono::steady_clock::now() < end) {
    }
  }
  std::string Missed(const TickInput& before, const TickInput& after) const override {
    return OwnCpuNs(after) > OwnCpuNs(before) ? "" : "its scan does not show the CPU time that this very process used";
  }

 private:
  const uint64_t page_bytes_ = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
};

}  // namespace

std::unique_ptr<Probe> Make() { return std::make_unique<Tasks>(); }

}  // namespace outlier::probes::tasks
