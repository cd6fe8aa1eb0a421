// Random numbers for simulated hosts: fast, and the same for a seed whatever distributions a standard library has.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace outlier::quality {

// xoshiro256++ (Blackman and Vigna, Scrambled Linear Pseudorandom Number Generators, 2021), seeded by splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t Bits() {
    const uint64_t result = Rotated(s_[0] + s_[3], 23) + s_[0], shifted = s_[1] << 17;
    s_[2] ^= s_[0];
    s_[3] ^= s_[1];
    s_[1] ^= s_[2];
    s_[0] ^= s_[3];
    s_[2] ^= shifted;
    s_[3] = Rotated(s_[3], 45);
    return result;
  }
  double Uniform() { return static_cast<double>(Bits() >> 11) * 0x1p-53; }             // [0, 1)
  double Positive() { return static_cast<double>((Bits() >> 11) + 1) * 0x1p-53; }      // (0, 1]
  uint64_t Below(uint64_t n) { return static_cast<uint64_t>(Uniform() * static_cast<double>(n)); }
  double Between(double least, double most) { return least + (most - least) * Uniform(); }
  double Scattered(double least, double most);  // uniform in the logarithm
  double Exponential(double mean);
  int Poisson(double mean);                     // by inversion: for small means

 private:
  static uint64_t Rotated(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }
  std::array<uint64_t, 4> s_;
};

// Standard normal numbers by the ziggurat of 256 layers (Marsaglia and Tsang 2000, in the form of Doornik 2005): exact, tail included.
class Normals {
 public:
  Normals();
  double Draw(Random* random) const;
  void Fill(Random* random, std::span<double> out) const;

 private:
  double Unusual(int layer, double u, Random* random) const;
  std::array<double, 257> edge_;
  std::array<double, 256> ratio_;
};

// Student t with 3 degrees of freedom at unit variance, as a normal number times a random scale 1 / sqrt(chi-square of 3): the scale
// from 4,096 equally likely cells, the last of them drawn from its law, so that the tail has its index of 3 for ever.
class HeavyTails {
 public:
  HeavyTails();
  void Fill(const Normals& normals, Random* random, std::span<double> out) const;

 private:
  static constexpr int kCells = 4096;
  std::vector<double> scale_;  // descending
};

// A law over 0, 1, 2, ... given by its probabilities, drawn by inversion with 32 random bits.
class Counts {
 public:
  explicit Counts(const std::function<double(int)>& probability);
  static Counts OfPoisson(double mean);
  // Poisson whose rate is log-normal: median times e^(sigma n), new for each draw.
  static Counts OfLogNormalRate(double median, double sigma);
  int Draw(Random* random) const { return At(static_cast<uint32_t>(random->Bits() >> 32)); }
  int At(uint32_t u) const {
    int k = guide_[u >> 24];
    while (k + 1 < static_cast<int>(below_.size()) && u >= below_[k]) ++k;
    return k;
  }

 private:
  std::vector<uint32_t> below_;         // 2^32 P(X <= k)
  std::array<uint16_t, 256> guide_{};   // where to begin, by the highest bits
};

}  // namespace outlier::quality
