// TickEncoder and TickDecoder: TickInput to the bytes of a tick frame and back, exactly. Both keep the previous tick of the
// segment; a new segment begins with Reset (its first tick is told in full). Not thread-safe.
//
// The encoder refuses (RESOURCE_EXHAUSTED) what the decoder would refuse for its size, so that whatever was written can be read.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "userspace/stream/tick_input.h"

namespace outlier {

// Limits of one tick. A tick within them decodes in at most a few hundred MiB whatever its bytes say.
inline constexpr size_t kMaxTickRows = 1 << 18;            // processes, events, look-ups, commands
inline constexpr size_t kMaxTickAccounts = 2 * kMaxAccounts;
inline constexpr size_t kMaxTickBytes = 16 << 20;          // before compression

namespace recording {

inline constexpr size_t kSyscallCells = kSyscallClasses * (2 + kDurationBuckets);
using SyscallCells = std::array<uint64_t, kSyscallCells>;
using KnownSyscalls = std::map<Account, AccountSyscalls>;

// What the next tick is told relative to. Equal in encoder and decoder after every tick.
struct PreviousTick {
  std::vector<ProcessSample> processes;
  std::vector<AccountSample> accounts;
  KnownSyscalls syscalls;  // only of accounts in `accounts`: what is gone is forgotten
  HostSample host;
  std::vector<LossSample> losses;
  std::string boot_id;
};

}  // namespace recording

class TickEncoder {
 public:
  void Reset() { previous_ = {}; }
  // Replaces *out. After an error the encoder must be Reset.
  absl::Status Encode(const TickInput& input, std::string* out);

 private:
  recording::PreviousTick previous_;
};

class TickDecoder {
 public:
  void Reset() { previous_ = {}; }
  // DATA_LOSS when the bytes are no tick, or not the one that follows. After an error the decoder must be Reset.
  absl::StatusOr<TickInput> Decode(std::string_view bytes);

 private:
  recording::PreviousTick previous_;
};

}  // namespace outlier
