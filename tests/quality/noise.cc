#include "tests/quality/noise.h"

#include <algorithm>
#include <cmath>

namespace outlier::quality {
namespace {

constexpr double kRim = 3.6541528853610088;       // where the tail begins, for 256 layers
constexpr double kArea = 0.00492867323399;        // of each layer

double Density(double x) { return std::exp(-0.5 * x * x); }

}  // namespace

Random::Random(uint64_t seed) {
  for (uint64_t& word : s_) {
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    word = z ^ (z >> 31);
  }
}

double Random::Scattered(double least, double most) { return least * std::pow(most / least, Uniform()); }

double Random::Exponential(double mean) { return -mean * std::log(Positive()); }

int Random::Poisson(double mean) {
  double left = Uniform(), term = std::exp(-mean);
  int n = 0;
  for (; left >= term && n < 10000; ++n) {
    left -= term;
    term *= mean / (n + 1);
  }
  return n;
}

Normals::Normals() {
  edge_[0] = kArea / Density(kRim);
  edge_[1] = kRim;
  for (int i = 2; i < 256; ++i) edge_[i] = std::sqrt(-2 * std::log(kArea / edge_[i - 1] + Density(edge_[i - 1])));
  edge_[256] = 0;
  for (int i = 0; i < 256; ++i) ratio_[i] = edge_[i + 1] / edge_[i];
}

double Normals::Unusual(int layer, double u, Random* random) const {
  for (;;) {
    if (std::abs(u) < ratio_[layer]) return u * edge_[layer];
    if (layer == 0) {
      double beyond, y;
      do {
        beyond = random->Exponential(1 / kRim);
        y = random->Exponential(1);
      } while (2 * y < beyond * beyond);
      return u > 0 ? kRim + beyond : -kRim - beyond;
    }
    const double x = u * edge_[layer];
    const double low = std::exp(-0.5 * (edge_[layer] * edge_[layer] - x * x));
    const double high = std::exp(-0.5 * (edge_[layer + 1] * edge_[layer + 1] - x * x));
    if (high + random->Uniform() * (low - high) < 1.0) return x;
    const uint64_t bits = random->Bits();
    layer = static_cast<int>(bits & 255);
    u = static_cast<double>(static_cast<int64_t>(bits) >> 11) * 0x1p-52;
  }
}

double Normals::Draw(Random* random) const {
  const uint64_t bits = random->Bits();
  const int layer = static_cast<int>(bits & 255);  // the lowest bits: the others make u
  const double u = static_cast<double>(static_cast<int64_t>(bits) >> 11) * 0x1p-52;  // [-1, 1)
  if (std::abs(u) < ratio_[layer]) return u * edge_[layer];
  return Unusual(layer, u, random);
}

void Normals::Fill(Random* random, std::span<double> out) const {
  Random mine = *random;  // its state in registers
  for (double& x : out) x = Draw(&mine);
  *random = mine;
}

HeavyTails::HeavyTails() : scale_(kCells) {
  const auto below = [](double c) { return std::erf(std::sqrt(c / 2)) - std::sqrt(2 * c / M_PI) * std::exp(-c / 2); };  // chi-square of 3
  for (int i = 0; i < kCells; ++i) {
    // The last cell begins at the edge of the one before it, all others are at their middle.
    const double wanted = i == 0 ? 1.0 / kCells : (i + 0.5) / kCells;
    double low = 0, high = 60;
    for (int step = 0; step < 60; ++step) {
      const double middle = (low + high) / 2;
      (below(middle) < wanted ? low : high) = middle;
    }
    scale_[i] = 1 / std::sqrt(low);
  }
}

void HeavyTails::Fill(const Normals& normals, Random* random, std::span<double> out) const {
  normals.Fill(random, out);
  Random mine = *random;
  uint64_t bits = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    bits = i % 5 == 0 ? mine.Bits() : bits >> 12;
    const uint64_t cell = bits & (kCells - 1);
    // Near 0 the chi-square of 3 grows as c^1.5, so that the scale c^-1/2 exceeds s with s^-3.
    out[i] *= cell == 0 ? scale_[0] / std::cbrt(mine.Positive()) : scale_[cell];
  }
  *random = mine;
}

Counts::Counts(const std::function<double(int)>& probability) {
  double sum = 0;
  for (int k = 0; k < 4096 && sum < 1 - 1e-10; ++k) {
    sum += probability(k);
    below_.push_back(static_cast<uint32_t>(std::min(sum, 1 - 0x1p-32) * 0x1p32));
  }
  for (uint32_t g = 0, k = 0; g < guide_.size(); ++g) {
    while (k + 1 < below_.size() && (g << 24) >= below_[k]) ++k;
    guide_[g] = static_cast<uint16_t>(k);
  }
}

Counts Counts::OfPoisson(double mean) {
  return Counts([mean](int k) { return std::exp(k * std::log(mean) - mean - std::lgamma(k + 1.0)); });
}

Counts Counts::OfLogNormalRate(double median, double sigma) {
  return Counts([=](int k) {
    double sum = 0;
    constexpr double kStep = 0.05;  // the trapezoidal rule on a smooth function that vanishes at both ends
    for (double n = -8; n <= 8; n += kStep) {
      const double rate = median * std::exp(sigma * n);
      sum += Density(n) * std::exp(k * std::log(rate) - rate - std::lgamma(k + 1.0));
    }
    return sum * kStep / std::sqrt(2 * M_PI);
  });
}

}  // namespace outlier::quality
