#include "userspace/loader/kernel_programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <numeric>
#include <set>

#include "bpf/outlier.skel.h"
#include "userspace/loader/bpf_log.h"
#include "userspace/loader/kernel_features.h"

namespace outlier {
namespace {


// Without these a probe is poorer but still worth having; any other program is essential to its probe.
const std::map<std::string, std::string>& OptionalPrograms() {
  static const auto* programs = new std::map<std::string, std::string>{
      {"tasks_walk", "the scan goes by number, at three times the cost"},
      {"tasks_percpu_offsets", "resident sizes without their per-CPU parts: off by up to 64 pages a CPU"},
      {"lifecycle_exec", "exec is seen at the next scan only"},
      {"lifecycle_oom_task", "OOM kills look like any SIGKILL"},
      {"lifecycle_oom_pid", "OOM kills look like any SIGKILL"},
  };
  return *programs;
}

bool BelongsTo(std::string_view program, std::string_view probe) {
  return program.size() > probe.size() && program.starts_with(probe) && program[probe.size()] == '_';
}

uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000ull + static_cast<uint64_t>(now.tv_nsec);
}

struct CloseSkeleton {
  void operator()(outlier_bpf* skeleton) const { outlier_bpf__destroy(skeleton); }
};
struct FreeRing {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};
struct DestroyLink {
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};

// An array map's values, as the kernel has them now.
template <class Value>
class MappedArray {
 public:
  ~MappedArray() {
    if (values_ != MAP_FAILED) munmap(values_, bytes_);
  }
  absl::Status Map(const bpf_map* map) {
    bytes_ = bpf_map__max_entries(map) * sizeof(Value);
    values_ = mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, bpf_map__fd(map), 0);
    if (values_ != MAP_FAILED) return absl::OkStatus();
    return absl::InternalError(fmt::format("cannot map {}: {}", bpf_map__name(map), strerror(errno)));
  }
  std::span<const Value> values() const { return {static_cast<const Value*>(values_), bytes_ / sizeof(Value)}; }

 private:
  void* values_ = MAP_FAILED;
  size_t bytes_ = 0;
};

}  // namespace

struct KernelPrograms::Skeleton {
  std::unique_ptr<outlier_bpf, CloseSkeleton> object;
  std::map<std::string, std::unique_ptr<bpf_link, DestroyLink>> links;
  std::unique_ptr<ring_buffer, FreeRing> ring;
  MappedArray<outlier_account> accounts;
  MappedArray<outlier_syscalls> syscalls;
  MappedArray<outlier_process> records;
};

KernelPrograms::KernelPrograms() : skeleton_(std::make_unique<Skeleton>()), buffer_(64 << 10) {}
KernelPrograms::~KernelPrograms() = default;

bool KernelPrograms::runs(const std::string& probe) const {
  return std::find(running_.begin(), running_.end(), probe) != running_.end();
}

void KernelPrograms::Refuse(const std::string& probe, const std::string& reason) {
  refused_[probe] = reason;
  std::erase(running_, probe);
}

absl::StatusOr<std::unique_ptr<KernelPrograms>> KernelPrograms::Load(const Options& options) {
  const KernelFeatures features = ProbeKernel();
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  std::unique_ptr<KernelPrograms> self(new KernelPrograms());
  self->running_ = options.probes;
  self->cpus_ = libbpf_num_possible_cpus();
  std::set<std::string> without;
  if (features.oom_victim != KernelFeatures::OomVictim::kTask) without.insert("lifecycle_oom_task");
  if (features.oom_victim != KernelFeatures::OomVictim::kPid) without.insert("lifecycle_oom_pid");
  self->walks_ = features.lists_tasks && options.may_walk;
  if (!self->walks_) without.insert("tasks_walk");
  if (features.oom_victim == KernelFeatures::OomVictim::kNone) self->notes_.push_back("no mark_victim tracepoint: OOM kills look like any SIGKILL");

  BpfLog log;
  // The kernel names one refused program at a time: leave it (or its probe) out and try again.
  while (true) {
    if (self->running_.empty()) {
      const std::string why = self->refused_.empty() ? log.Reason() : self->refused_.begin()->second;
      return absl::FailedPreconditionError("cannot load any BPF program: " + why);
    }
    log.Clear();
    std::unique_ptr<outlier_bpf, CloseSkeleton> object(outlier_bpf__open());
    if (object == nullptr) return absl::InternalError(fmt::format("cannot open the BPF object: {}", strerror(errno)));
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object->obj) {
      const std::string name = bpf_program__name(program);
      const bool wanted = std::any_of(self->running_.begin(), self->running_.end(),
                                      [&](const std::string& probe) { return BelongsTo(name, probe); });
      bpf_program__set_autoload(program, wanted && !without.contains(name));
      bpf_program__set_autoattach(program, false);
    }
    std::copy(options.syscall_table.begin(), options.syscall_table.end(),
              const_cast<uint8_t*>(object->rodata->syscall_table));
    object->rodata->futex_waits = options.futex_waits;
    bpf_map__set_max_entries(object->maps.scan_records, options.scan_records);
    object->rodata->possible_cpus = static_cast<uint32_t>(std::max(self->cpus_, 0));
    const int error = outlier_bpf__load(object.get());
    if (error == 0) {
      self->skeleton_->object = std::move(object);
      break;
    }
    const std::string failed = log.FailedProgram();
    const std::string reason = fmt::format("{}: {} ({})", failed.empty() ? "loading" : failed, log.Reason(), strerror(-error));
    const auto optional = OptionalPrograms().find(failed);
    if (optional != OptionalPrograms().end() && without.insert(failed).second) {
      self->walks_ = !without.contains("tasks_walk");
      self->notes_.push_back(optional->second + " (" + reason + ")");
      continue;
    }
    const auto owner = std::find_if(self->running_.begin(), self->running_.end(),
                                    [&](const std::string& probe) { return BelongsTo(failed, probe); });
    if (owner == self->running_.end()) return absl::FailedPreconditionError("cannot load the BPF object: " + reason);
    self->Refuse(std::string(*owner), reason);
  }
  if (absl::Status status = self->Attach(); !status.ok()) return status;
  return self;
}

absl::Status KernelPrograms::Attach() {
  BpfLog log;
  outlier_bpf* object = skeleton_->object.get();
  object->bss->scan_tick = 1;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object->obj) {
    if (!bpf_program__autoload(program) || bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL) continue;
    const std::string name = bpf_program__name(program);
    log.Clear();
    std::unique_ptr<bpf_link, DestroyLink> link(bpf_program__attach(program));
    if (link != nullptr) {
      skeleton_->links[name] = std::move(link);
      continue;
    }
    const std::string reason = fmt::format("{}: cannot attach: {} {}", name, strerror(errno), log.Reason());
    const auto optional = OptionalPrograms().find(name);
    if (optional != OptionalPrograms().end()) {
      notes_.push_back(optional->second + " (" + reason + ")");
      continue;
    }
    for (const std::string& probe : std::vector<std::string>(running_)) {
      if (!BelongsTo(name, probe)) continue;
      Refuse(probe, reason);
      std::erase_if(skeleton_->links, [&](const auto& entry) { return BelongsTo(entry.first, probe); });
    }
  }
  object->bss->attached_ns = MonotonicNs();
  FindPercpuOffsets();

  for (const absl::Status& status : {skeleton_->accounts.Map(object->maps.accounts), skeleton_->syscalls.Map(object->maps.mapped_syscalls),
                                     skeleton_->records.Map(object->maps.scan_records)}) {
    if (!status.ok()) return status;
  }
  const auto take = [](void* context, void* bytes, size_t size) {
    static_cast<KernelPrograms*>(context)->take_(std::span(static_cast<const std::byte*>(bytes), size));
    return 0;
  };
  skeleton_->ring.reset(ring_buffer__new(bpf_map__fd(object->maps.events), take, this, nullptr));
  if (skeleton_->ring == nullptr) return absl::InternalError(fmt::format("cannot map the ring buffer: {}", strerror(errno)));
  // Threads that already lived are met now: what they used before is nobody's.
  std::vector<outlier_process> ignored;
  return runs("tasks") ? Scan(&ignored) : absl::OkStatus();
}

void KernelPrograms::FindPercpuOffsets() {
  const auto link = skeleton_->links.find("tasks_percpu_offsets");
  if (link == skeleton_->links.end()) return;
  bpf_map_info info{};
  uint32_t size = sizeof info;
  outlier_bpf* object = skeleton_->object.get();
  if (bpf_obj_get_info_by_fd(bpf_map__fd(object->maps.percpu_yardstick), &info, &size) != 0) return;
  object->bss->percpu_yardstick_id = info.id;
  const int fd = bpf_iter_create(bpf_link__fd(link->second.get()));
  if (fd < 0) return;
  char nothing[64];
  while (read(fd, nothing, sizeof nothing) > 0) {
  }
  close(fd);
  const auto addresses = std::span(object->bss->percpu_offsets).first(std::min<size_t>(std::max(cpus_, 0), std::size(object->bss->percpu_offsets)));
  const uint64_t base = object->bss->percpu_yardstick_base;
  if (base == 0 || addresses.size() != static_cast<size_t>(cpus_) || std::count(addresses.begin(), addresses.end(), 0ull) > 0) {
    notes_.push_back(OptionalPrograms().at("tasks_percpu_offsets"));
    return;
  }
  for (auto& address : addresses) address -= base;
  object->bss->percpu_offsets_known = 1;
  skeleton_->links.erase(link);
}

absl::Status KernelPrograms::ScanPass(std::vector<outlier_process>* processes) {
  const auto link = skeleton_->links.find("tasks_scan");
  if (link == skeleton_->links.end()) return absl::FailedPreconditionError("the scan is not attached");
  const int fd = bpf_iter_create(bpf_link__fd(link->second.get()));
  if (fd < 0) return absl::UnavailableError(fmt::format("cannot start the scan of tasks: {}", strerror(errno)));
  size_t used = 0;
  absl::Status status;
  while (true) {
    const ssize_t got = read(fd, buffer_.data() + used, buffer_.size() - used);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) status = absl::UnavailableError(fmt::format("cannot read the scan of tasks: {}", strerror(errno)));
    if (got <= 0) break;
    used += static_cast<size_t>(got);
    const size_t whole = used / sizeof(outlier_process);
    const size_t before = processes->size();
    processes->resize(before + whole);
    std::memcpy(processes->data() + before, buffer_.data(), whole * sizeof(outlier_process));
    std::memmove(buffer_.data(), buffer_.data() + whole * sizeof(outlier_process), used - whole * sizeof(outlier_process));
    used -= whole * sizeof(outlier_process);
  }
  close(fd);
  return status;
}

absl::Status KernelPrograms::Walk(std::vector<outlier_process>* processes) {
  auto* bss = skeleton_->object->bss;
  bss->records_written = bss->records_refused = 0;
  bpf_test_run_opts run{};
  run.sz = sizeof run;
  if (bpf_prog_test_run_opts(bpf_program__fd(skeleton_->object->progs.tasks_walk), &run) != 0) {
    return absl::UnavailableError(fmt::format("cannot walk the list of tasks: {}", strerror(errno)));
  }
  const std::span<const outlier_process> records = skeleton_->records.values().first(bss->records_written);
  processes->insert(processes->end(), records.begin(), records.end());
  if (bss->records_refused > 0) walks_ = false;
  return absl::OkStatus();
}

absl::Status KernelPrograms::Scan(std::vector<outlier_process>* processes) {
  processes->clear();
  auto* bss = skeleton_->object->bss;
  SettleEpoch();
  ++bss->scan_tick;
  bss->scan_ns = MonotonicNs();
  bss->scan_again = 0;
  bss->processes_pending = 0;
  const auto pass = walks_ ? &KernelPrograms::Walk : &KernelPrograms::ScanPass;
  absl::Status status = (this->*pass)(processes);
  if (status.ok() && bss->processes_pending > 0) {
    bss->scan_again = 1;
    status = (this->*pass)(processes);
  }
  return status;
}

void KernelPrograms::SettleEpoch() {
  // The epoch about to be used again: its exits were seen as many scans ago as there are epochs; zombies have moved on.
  auto* bss = skeleton_->object->bss;
  const uint32_t epoch = (bss->scan_tick + 1) % OUTLIER_EXIT_EPOCHS;
  frees_missing_ += static_cast<int64_t>(__atomic_exchange_n(&bss->exits[epoch], 0, __ATOMIC_RELAXED)) -
                    static_cast<int64_t>(__atomic_exchange_n(&bss->frees[epoch], 0, __ATOMIC_RELAXED));
}

std::span<const outlier_account, OUTLIER_ACCOUNTS> KernelPrograms::accounts() const {
  return skeleton_->accounts.values().first<OUTLIER_ACCOUNTS>();
}

bool KernelPrograms::ReadSyscalls(uint32_t account, outlier_syscalls* syscalls) const {
  if (account < OUTLIER_MAPPED_ACCOUNTS) {
    *syscalls = skeleton_->syscalls.values()[account];
    return true;
  }
  return bpf_map_lookup_elem(bpf_map__fd(skeleton_->object->maps.account_syscalls), &account, syscalls) == 0;
}

void KernelPrograms::ReadEvents(const std::function<void(std::span<const std::byte>)>& take) {
  take_ = take;
  ring_buffer__consume(skeleton_->ring.get());
  take_ = nullptr;
}

absl::Status KernelPrograms::Assign(int32_t tgid, const outlier_assignment& assignment) {
  const uint32_t key = static_cast<uint32_t>(tgid);
  if (bpf_map_update_elem(bpf_map__fd(skeleton_->object->maps.assigned), &key, &assignment, BPF_ANY) == 0) {
    ++skeleton_->object->bss->assignments_made;
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(fmt::format("cannot assign process {} to an account: {}", tgid, strerror(errno)));
}

void KernelPrograms::Unassign(int32_t tgid, uint64_t start_time_ns) {
  const uint32_t key = static_cast<uint32_t>(tgid);
  const int map = bpf_map__fd(skeleton_->object->maps.assigned);
  outlier_assignment assignment{};
  if (bpf_map_lookup_elem(map, &key, &assignment) == 0 && assignment.start_time_ns == start_time_ns) bpf_map_delete_elem(map, &key);
}

void KernelPrograms::KnowExecutable(uint64_t inode, dev_t device) {
  constexpr int kMinorBits = 20;  // of the kernel's own form
  const outlier_executable executable{.inode = inode, .device = (major(device) << kMinorBits) | minor(device), .padding = 0};
  const outlier_executable_use use{};
  // Nothing is lost by a failure: the next scan tells the kernel too, and counts what it cannot. So it is where a file
  // system shows another device or inode than it has (overlayfs, btrfs).
  bpf_map_update_elem(bpf_map__fd(skeleton_->object->maps.known_executables), &executable, &use, BPF_NOEXIST);
}

uint64_t KernelPrograms::Sum(const std::string& map) const {
  const int fd = bpf_object__find_map_fd_by_name(skeleton_->object->obj, map.c_str());
  std::vector<uint64_t> parts(static_cast<size_t>(std::max(cpus_, 1)));
  const uint32_t first = 0;
  if (fd < 0 || bpf_map_lookup_elem(fd, &first, parts.data()) != 0) return 0;
  return std::accumulate(parts.begin(), parts.end(), uint64_t{0});
}

std::array<uint64_t, OUTLIER_FAILURES> KernelPrograms::failures() const {
  std::array<uint64_t, OUTLIER_FAILURES> sums{};
  std::vector<uint64_t> parts(static_cast<size_t>(std::max(cpus_, 1)));
  for (uint32_t reason = 0; reason < OUTLIER_FAILURES; ++reason) {
    if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->object->maps.failures), &reason, parts.data()) != 0) continue;
    for (const uint64_t part : parts) sums[reason] += part;
  }
  return sums;
}

std::vector<ProgramStatistics> KernelPrograms::Statistics() const {
  std::vector<ProgramStatistics> statistics;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton_->object->obj) {
    if (bpf_program__fd(program) < 0) continue;
    bpf_prog_info info{};
    uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) != 0) continue;
    statistics.push_back({bpf_program__name(program), info.run_cnt, info.run_time_ns});
  }
  return statistics;
}

std::optional<StatisticsWindow> StatisticsWindow::Open() {
  const int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
  if (fd < 0) return std::nullopt;
  return StatisticsWindow(fd);
}

StatisticsWindow::StatisticsWindow(StatisticsWindow&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
StatisticsWindow::~StatisticsWindow() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace outlier
