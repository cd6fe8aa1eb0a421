// An account's syscall arrays as one row of cells, in the order the recording keeps them.
#pragma once
#include <algorithm>
#include <type_traits>
#include <vector>

#include "userspace/recorder/tick_codec.h"

namespace outlier::recording {

// Calls visit(cell index, field) for every cell of `s`.
template <class Syscalls, class Visit>
void ForEachCell(Syscalls& s, Visit visit) {
  size_t cell = 0;
  for (auto& sum : s.duration_sum_ns) visit(cell++, sum);
  for (auto& errors : s.errors) visit(cell++, errors);
  for (auto& buckets : s.buckets) {
    for (auto& bucket : buckets) visit(cell++, bucket);
  }
}

inline int ClassOfCell(size_t cell) {
  constexpr size_t kBeforeBuckets = 2 * kSyscallClasses;
  return static_cast<int>(cell < kBeforeBuckets ? cell % kSyscallClasses : (cell - kBeforeBuckets) / kDurationBuckets);
}

inline SyscallCells ToCells(const AccountSyscalls& s) {
  SyscallCells cells{};
  ForEachCell(s, [&](size_t i, const auto& field) { cells[i] = field; });
  return cells;
}

// Calls visit(cell index, difference) for every cell in which `now` differs, in the classes that have changed; the difference is
// modulo 2^64. What a class that has not changed holds is nobody's: it may have been read while a call was being counted.
template <class Visit>
void ForEachChange(const AccountSyscalls& now, const AccountSyscalls& before, Visit visit) {
  size_t first = 0;
  const auto part = [&](const auto& a, const auto& b, auto has_changed) {
    for (size_t i = 0; i < a.size(); ++i) {
      if (has_changed(static_cast<int>(i)) && a[i] != b[i]) visit(first + i, uint64_t{a[i]} - uint64_t{b[i]});
    }
    first += a.size();
  };
  const auto class_has = [&](int c) { return now.has_changed(c); };
  part(now.duration_sum_ns, before.duration_sum_ns, class_has);
  part(now.errors, before.errors, class_has);
  for (int c = 0; c < kSyscallClasses; ++c) part(now.buckets[c], before.buckets[c], [&](int) { return class_has(c); });
}

inline void FromCells(const SyscallCells& cells, AccountSyscalls* s) {
  ForEachCell(*s, [&](size_t i, auto& field) { field = static_cast<std::remove_reference_t<decltype(field)>>(cells[i]); });
}

// Keeps what is remembered as small as what lives. Encoder and decoder do the same after every tick.
inline void ForgetSyscallsOfGoneAccounts(const std::vector<AccountSample>& accounts, KnownSyscalls* known) {
  std::vector<Account> living;
  living.reserve(accounts.size());
  for (const AccountSample& a : accounts) living.push_back(a.account);
  std::sort(living.begin(), living.end());
  std::erase_if(*known, [&](const auto& entry) { return !std::binary_search(living.begin(), living.end(), entry.first); });
}

}  // namespace outlier::recording
