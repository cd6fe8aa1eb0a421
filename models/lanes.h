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
OUTLIER_INLINE Lanes Sqrt(Lanes a) { return Lanes{std::sqrt(a[0]), std::sqrt(a[1]), std::sqrt(a[2]), std::sqrt(a[3])}; }
OUTLIER_INLINE LaneMask Whole(Lanes a) { return __builtin_convertvector(a, LaneMask); }  // towards 0
OUTLIER_INLINE Lanes Float(LaneMask a) { return __builtin_convertvector(a, Lanes); }
OUTLIER_INLINE bool Any(LaneMask mask) {
  using Halves = int64_t __attribute__((vector_size(16)));
  const Halves halves = reinterpret_cast<Halves>(mask);
  return (halves[0] | halves[1]) != 0;
}

struct WideLanes {
  LanePair low, high;

  OUTLIER_INLINE static WideLanes Of(Lanes a) { return {LanePair{a[0], a[1]}, LanePair{a[2], a[3]}}; }
  OUTLIER_INLINE Lanes Narrow() const {
    return Lanes{static_cast<float>(low[0]), static_cast<float>(low[1]), static_cast<float>(high[0]), static_cast<float>(high[1])};
  }
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
