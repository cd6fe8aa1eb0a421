// Which class each system call belongs to: the one place where that is decided.
#pragma once
#include <array>
#include <cstdint>

#include "bpf/abi.h"

namespace outlier {

// By syscall number of this architecture: an OUTLIER_CLASS and OUTLIER_SYSCALL_* bits, as bpf/syscall_latency.bpf.c reads
// them. Blocking is what may wait for somebody else as long as it likes: an idle server must not look slow.
std::array<uint8_t, OUTLIER_SYSCALLS> SyscallTable();

// Bit n set: futex operation n waits.
uint64_t FutexWaits();

}  // namespace outlier
