// What the kernel really allocates for the maps: it reports element sizes, the slab allocator rounds them up.
#include <algorithm>
#include <bit>

#include "userspace/loader/kernel_programs.h"

namespace outlier {
namespace {

// Sizes of the kernel's slab objects.
uint64_t SlabBytes(uint64_t bytes) {
  if (bytes <= 96 && bytes > 64) return 96;
  if (bytes <= 192 && bytes > 128) return 192;
  return std::max<uint64_t>(8, std::bit_ceil(bytes));
}

constexpr uint64_t kStorageHeader = 72;    // struct bpf_local_storage_elem up to its value
constexpr uint64_t kStoragePerTask = 192;  // struct bpf_local_storage, once for each task that has any
constexpr uint64_t kAllocatorLink = 8;     // of the BPF allocator's free list
constexpr uint64_t kHashElement = 48;      // struct htab_elem, before the key
constexpr uint64_t kThreadState = 112;     // bpf/state.bpf.h; a test compares with the object
constexpr uint64_t kProcessSums = 208;
constexpr uint64_t kProcessSyscalls = 1952;
constexpr uint64_t kEventsBytes = 2 << 20;
constexpr uint64_t kKnownExecutables = 4096;
constexpr uint64_t kHashBucket = 16;
constexpr uint64_t kAssignedBuckets = 131072;

uint64_t StorageBytes(uint64_t value) { return SlabBytes(kStorageHeader + value + kAllocatorLink); }

}  // namespace

uint64_t KernelPrograms::MemoryBytes(uint64_t threads, uint64_t processes, uint64_t threaded_processes,
                                     uint64_t allocated_syscalls, uint64_t assigned) const {
  const uint64_t fixed = sizeof(outlier_account) * OUTLIER_ACCOUNTS + sizeof(outlier_syscalls) * OUTLIER_MAPPED_ACCOUNTS +
                         sizeof(outlier_process) * OUTLIER_SCAN_RECORDS + kEventsBytes + kKnownExecutables * (kHashElement + 24) +
                         kHashBucket * (kAssignedBuckets + OUTLIER_ACCOUNTS + kKnownExecutables) +
                         static_cast<uint64_t>(std::max(cpus_, 1)) * 8 * OUTLIER_FAILURES;
  return fixed + threads * (StorageBytes(kThreadState) + kStoragePerTask) + threaded_processes * StorageBytes(kProcessSums) +
         (runs("syscall_latency") ? processes * StorageBytes(kProcessSyscalls) : 0) +
         allocated_syscalls * SlabBytes(kHashElement + 8 + sizeof(outlier_syscalls) + kAllocatorLink) +
         assigned * SlabBytes(kHashElement + 8 + sizeof(outlier_assignment) + kAllocatorLink);
}

}  // namespace outlier
