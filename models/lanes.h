// Lanes: the same number of four series, for arithmetic on all of them at once: what any x86-64 (and arm64) does in one instruction.
//
// Compilers' vector types: + - * / compare and ?: work lane by lane. No operation depends on another lane, nothing is approximate
// (no reciprocal estimates, which differ between makers), so a series has the same bits in whichever lane and on whichever machine.
// WideLanes is its double-precision sibling, for what single precision would lose: levels, and numbers of ticks. Families whose whole
// arithmetic is on lanes take eight series at once where the machine can: models/lane_width.h.
#pragma once
#include <cmath>
#include <cstdint>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define OUTLIER_INLINE [[gnu::always_inline]] inline

namespace outlier::models {

#define OUTLIER_WIDTH 4
#include "models/lane_operations.inc"
#undef OUTLIER_WIDTH

using LaneCounts = uint32_t __attribute__((vector_size(16)));
using LanePair = HalfLanes;
using PairMask = HalfMask;
OUTLIER_INLINE LanePair AllPair(double value) { return AllHalf(value); }

// One bit a lane, the first one the lowest.
OUTLIER_INLINE int Bits(LaneMask mask) {
#ifdef __SSE2__
  return _mm_movemask_ps(reinterpret_cast<Lanes>(mask));
#else
  return (mask[0] & 1) | (mask[1] & 2) | (mask[2] & 4) | (mask[3] & 8);
#endif
}
// Each lane the sum of those up to it.
OUTLIER_INLINE Lanes RunningSum(Lanes a) {
  const Lanes none{};
  a += __builtin_shufflevector(a, none, 4, 0, 1, 2);
  return a + __builtin_shufflevector(a, none, 4, 5, 0, 1);
}
OUTLIER_INLINE float Sum(Lanes a) { return (a[0] + a[2]) + (a[1] + a[3]); }
// Natural logarithm of positive normal numbers, within 3e-16 of it or of 1, whichever is more: of a mantissa m in [sqrt(1/2), sqrt(2)) that
// of (1 + s) / (1 - s), s = (m - 1) / (m + 1), is 2 (s + s^3 / 3 + ...), |s| < 0.172.
OUTLIER_INLINE LanePair Log(LanePair x) {
  using Words = uint64_t __attribute__((vector_size(16)));
  constexpr uint64_t kRootHalf = 0x3fe6a09e667f3bcd, kBias = uint64_t{1024} << 52, kTwoTo52 = 0x4330000000000000;
  const Words bits = reinterpret_cast<Words>(x), octave = (bits - kRootHalf + kBias) >> 52;
  const LanePair octaves = reinterpret_cast<LanePair>(octave | kTwoTo52) - (4503599627370496.0 + 1024.0);
  const LanePair m = reinterpret_cast<LanePair>(bits - (octave << 52) + kBias), s = (m - 1.0) / (m + 1.0), q = s * s;
  const LanePair q2 = q * q, q4 = q2 * q2;
  const LanePair low = (1.0 / 3 + q * (1.0 / 5)) + q2 * (1.0 / 7 + q * (1.0 / 9));
  const LanePair high = (1.0 / 11 + q * (1.0 / 13)) + q2 * (1.0 / 15 + q * (1.0 / 17));
  return octaves * M_LN2 + (2.0 * s + 2.0 * s * q * (low + q4 * high));
}

}  // namespace outlier::models
