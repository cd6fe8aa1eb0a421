// The user half of probe `syscall_latency`: the accounts' histograms, read where they have changed.
#pragma once
#include <array>
#include <vector>

#include "userspace/loader/kernel_programs.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

class SyscallReader {
 public:
  // Appends accounts whose histogram moved since the last call, in order.
  void Read(const KernelPrograms& kernel, std::vector<AccountSyscalls>* out);

 private:
  using ClassMarks = std::array<uint32_t, OUTLIER_SYSCALL_CLASSES>;
  static ClassMarks Marks(const outlier_account& account);

  size_t changed_ = 0;  // accounts at the last call
  std::vector<uint64_t> moved_ = std::vector<uint64_t>(OUTLIER_ACCOUNTS, 0);
  std::vector<ClassMarks> marks_ = std::vector<ClassMarks>(OUTLIER_ACCOUNTS);
};

}  // namespace outlier
