#include "userspace/probes/syscall_latency.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "userspace/probes/probe.h"

namespace outlier {

static_assert(OUTLIER_SYSCALL_CLASSES == kSyscallClasses && OUTLIER_DURATION_BUCKETS == kDurationBuckets);
static_assert(OUTLIER_CLASS_FILE == static_cast<unsigned>(SyscallClass::kFile));
static_assert(OUTLIER_CLASS_MEMORY == static_cast<unsigned>(SyscallClass::kMemory));
static_assert(OUTLIER_CLASS_BLOCKING == static_cast<unsigned>(SyscallClass::kBlocking));
static_assert(OUTLIER_CLASS_OTHER == static_cast<unsigned>(SyscallClass::kOther));

SyscallReader::ClassMarks SyscallReader::Marks(const outlier_account& account) {
  ClassMarks marks;
  for (int c = 0; c < kSyscallClasses; ++c) marks[c] = __atomic_load_n(&account.classes_moved[c], __ATOMIC_ACQUIRE);
  return marks;
}

void SyscallReader::Read(const KernelPrograms& kernel, std::vector<AccountSyscalls>* out) {
  const auto accounts = kernel.accounts();
  out->reserve(changed_ + changed_ / 8);
  for (uint32_t account = 0; account < accounts.size(); ++account) {
    const uint64_t moved = __atomic_load_n(&accounts[account].syscalls_moved, __ATOMIC_ACQUIRE);
    if (moved == moved_[account]) continue;
    const ClassMarks marks = Marks(accounts[account]);
    outlier_syscalls raw;
    if (!kernel.ReadSyscalls(account, &raw)) continue;
    moved_[account] = moved;
    AccountSyscalls& syscalls = out->emplace_back();
    syscalls.account = account;
    syscalls.changed = 0;
    for (int c = 0; c < kSyscallClasses; ++c) syscalls.changed |= (marks[c] != marks_[account][c] ? 1 : 0) << c;
    marks_[account] = marks;
    std::copy(std::begin(raw.duration_sum_ns), std::end(raw.duration_sum_ns), syscalls.duration_sum_ns.begin());
    std::copy(std::begin(raw.errors), std::end(raw.errors), syscalls.errors.begin());
    for (size_t c = 0; c < kSyscallClasses; ++c) {
      std::copy(std::begin(raw.buckets[c]), std::end(raw.buckets[c]), syscalls.buckets[c].begin());
    }
  }
  changed_ = out->size();
}

}  // namespace outlier

namespace outlier::probes::syscall_latency {
namespace {

uint64_t Calls(const TickInput& input, Account account) {
  uint64_t calls = 0;
  for (const AccountSyscalls& syscalls : input.syscalls) {
    if (syscalls.account != account) continue;
    for (const auto& buckets : syscalls.buckets) calls = std::accumulate(buckets.begin(), buckets.end(), calls);
  }
  return calls;
}

class SyscallLatency final : public Probe {
 public:
  void Collect(const ProbeTick& tick, TickInput* input) override { reader_.Read(tick.kernel, &input->syscalls); }
  void Exercise() override {
    for (int i = 0; i < 100; ++i) (void)getppid();
  }
  std::string Missed(const TickInput& before, const TickInput& after) const override {
    const bool counted = std::any_of(after.syscalls.begin(), after.syscalls.end(), [&](const AccountSyscalls& syscalls) {
      return Calls(after, syscalls.account) > Calls(before, syscalls.account);
    });
    return counted ? "" : "it counted none of the calls just made";
  }

 private:
  SyscallReader reader_;
};

}  // namespace

std::unique_ptr<Probe> Make() { return std::make_unique<SyscallLatency>(); }

}  // namespace outlier::probes::syscall_latency
