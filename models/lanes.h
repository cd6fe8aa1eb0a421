// Lanes: the same number of four series, for arithmetic on all of them at once: what any x86-64 (and arm64) does in one instruction.
//
// Compilers' vector types: + - * / compare and ?: work lane by lane. No operation depends on another lane, nothing is approximate
// (no reciprocal estimates, which differ between makers), so a series has the same bits in whichever lane and on whichever machine.
// WideLanes is its double-precision sibling, for what single precision would lose: levels, and numbers of ticks.
#pragma once
#include <cmath>
#include <cstdint>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace outlier::models {

inline constexpr int kLanes = 4;

using Lanes = float __attribute__((vector_size(16)));
using LaneMask = int32_t __attribute__((vector_size(16)));  // -1 or 0 a lane, as comparisons give it
using LanePair = double __attribute__((vector_size(16)));
using PairMask = int64_t __attribute__((vector_size(16)));

#define OUTLIER_INLINE [[gnu::always_inline]] inline

OUTLIER_INLINE Lanes AllLanes(float value) { return Lanes{value, value, value, value}; }
// b where a is not a number. (g++ 12 takes four instructions for a ?: that has a constant in it.)
#ifdef __SSE2__
OUTLIER_INLINE Lanes Min(Lanes a, Lanes b) { return _mm_min_ps(a, b); }
OUTLIER_INLINE Lanes Max(Lanes a, Lanes b) { return _mm_max_ps(a, b); }
OUTLIER_INLINE LanePair Min(LanePair a, LanePair b) { return _mm_min_pd(a, b); }
OUTLIER_INLINE LanePair Max(LanePair a, LanePair b) { return _mm_max_pd(a, b); }
#else
OUTLIER_INLINE Lanes Min(Lanes a, Lanes b) { return a < b ? a : b; }
OUTLIER_INLINE Lanes Max(Lanes a, Lanes b) { return a > b ? a : b; }
OUTLIER_INLINE LanePair Min(LanePair a, LanePair b) { return a < b ? a : b; }
OUTLIER_INLINE LanePair Max(LanePair a, LanePair b) { return a > b ? a : b; }
#endif
OUTLIER_INLINE Lanes Min(Lanes a, float b) { return Min(a, AllLanes(b)); }
OUTLIER_INLINE Lanes Max(Lanes a, float b) { return Max(a, AllLanes(b)); }
OUTLIER_INLINE Lanes Within(Lanes a, float most) { return Min(Max(a, -most), most); }
OUTLIER_INLINE Lanes Where(LaneMask mask, Lanes a) { return reinterpret_cast<Lanes>(mask & reinterpret_cast<LaneMask>(a)); }  // else 0
OUTLIER_INLINE Lanes Abs(Lanes a) { return Where(LaneMask{INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX}, a); }
// `magnitude` >= 0 with the sign of `sign`.
OUTLIER_INLINE Lanes CopySign(Lanes magnitude, Lanes sign) {
  const LaneMask bit{INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN};
  return reinterpret_cast<Lanes>(reinterpret_cast<LaneMask>(magnitude) | (reinterpret_cast<LaneMask>(sign) & bit));
}
OUTLIER_INLINE LanePair Where(PairMask mask, LanePair a) { return reinterpret_cast<LanePair>(mask & reinterpret_cast<PairMask>(a)); }  // else 0
OUTLIER_INLINE LanePair Abs(LanePair a) { return Where(PairMask{INT64_MAX, INT64_MAX}, a); }
OUTLIER_INLINE LanePair CopySign(LanePair magnitude, LanePair sign) {
  const PairMask bit{INT64_MIN, INT64_MIN};
  return reinterpret_cast<LanePair>(reinterpret_cast<PairMask>(magnitude) | (reinterpret_cast<PairMask>(sign) & bit));
}
OUTLIER_INLINE LanePair AllPair(double value) { return LanePair{value, value}; }
OUTLIER_INLINE LanePair Min(LanePair a, double b) { return Min(a, AllPair(b)); }
OUTLIER_INLINE LanePair Max(LanePair a, double b) { return Max(a, AllPair(b)); }
OUTLIER_INLINE LanePair Sqrt(LanePair a) { return LanePair{std::sqrt(a[0]), std::sqrt(a[1])}; }
OUTLIER_INLINE Lanes Sqrt(Lanes a) { return Lanes{std::sqrt(a[0]), std::sqrt(a[1]), std::sqrt(a[2]), std::sqrt(a[3])}; }
OUTLIER_INLINE LaneMask Whole(Lanes a) { return __builtin_convertvector(a, LaneMask); }  // towards 0
OUTLIER_INLINE Lanes Float(LaneMask a) { return __builtin_convertvector(a, Lanes); }
OUTLIER_INLINE bool Any(LaneMask mask) {
  using Halves = int64_t __attribute__((vector_size(16)));
  const Halves halves = reinterpret_cast<Halves>(mask);
  return (halves[0] | halves[1]) != 0;
}

OUTLIER_INLINE bool Any(PairMask mask) {
#ifdef __SSE2__
  return _mm_movemask_pd(reinterpret_cast<LanePair>(mask)) != 0;
#else
  return (mask[0] | mask[1]) != 0;
#endif
}

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
OUTLIER_INLINE Lanes Narrow(LanePair low, LanePair high) {
#ifdef __SSE2__
  return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
#else
  return Lanes{static_cast<float>(low[0]), static_cast<float>(low[1]), static_cast<float>(high[0]), static_cast<float>(high[1])};
#endif
}
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

struct WideLanes {
  LanePair low, high;

  OUTLIER_INLINE static WideLanes Of(Lanes a) {
#ifdef __SSE2__
    return {_mm_cvtps_pd(a), _mm_cvtps_pd(_mm_movehl_ps(a, a))};
#else
    return {LanePair{a[0], a[1]}, LanePair{a[2], a[3]}};
#endif
  }
  OUTLIER_INLINE Lanes Narrow() const { return models::Narrow(low, high); }
  OUTLIER_INLINE WideLanes operator+(const WideLanes& b) const { return {low + b.low, high + b.high}; }
  OUTLIER_INLINE WideLanes operator-(const WideLanes& b) const { return {low - b.low, high - b.high}; }
  OUTLIER_INLINE WideLanes operator*(double b) const { return {low * b, high * b}; }
  OUTLIER_INLINE WideLanes Within(double most) const {  // finite, whatever it was
    const LanePair end{most, most};
    return {Min(Max(low, -end), end), Min(Max(high, -end), end)};
  }
  OUTLIER_INLINE bool finite() const {
    const LanePair nothing = (low - low) + (high - high);
    return nothing[0] + nothing[1] == 0.0;
  }
  double at(int lane) const { return lane < 2 ? low[lane] : high[lane - 2]; }
  void Set(int lane, double value) {
    LanePair& pair = lane < 2 ? low : high;
    pair[lane % 2] = value;
  }
};

}  // namespace outlier::models
