#include "userspace/probes/syscall_latency.h"

#include <algorithm>
#include <cstring>

namespace outlier {

static_assert(OUTLIER_SYSCALL_CLASSES == kSyscallClasses && OUTLIER_DURATION_BUCKETS == kDurationBuckets);
static_assert(OUTLIER_CLASS_FILE == static_cast<unsigned>(SyscallClass::kFile));
static_assert(OUTLIER_CLASS_BLOCKING == static_cast<unsigned>(SyscallClass::kBlocking));
static_assert(OUTLIER_CLASS_OTHER == static_cast<unsigned>(SyscallClass::kOther));

void SyscallReader::Read(const KernelPrograms& kernel, std::vector<AccountSyscalls>* out) {
  const auto accounts = kernel.accounts();
  for (uint32_t account = 0; account < accounts.size(); ++account) {
    const uint64_t moved = __atomic_load_n(&accounts[account].syscalls_moved, __ATOMIC_ACQUIRE);
    if (moved == moved_[account]) continue;
    outlier_syscalls raw;
    if (!kernel.ReadSyscalls(account, &raw)) continue;
    if (moved_[account] == 0) ++seen_;
    moved_[account] = moved;
    AccountSyscalls& syscalls = out->emplace_back();
    syscalls.account = account;
    std::copy(std::begin(raw.duration_sum_ns), std::end(raw.duration_sum_ns), syscalls.duration_sum_ns.begin());
    std::copy(std::begin(raw.errors), std::end(raw.errors), syscalls.errors.begin());
    for (size_t c = 0; c < kSyscallClasses; ++c) {
      std::copy(std::begin(raw.buckets[c]), std::end(raw.buckets[c]), syscalls.buckets[c].begin());
    }
  }
}

}  // namespace outlier
