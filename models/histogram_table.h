// HistogramTable: counts in the buckets of one histogram a series, in single precision, in blocks of four buckets; and which blocks hold any, since
// a workload's calls take a few of all the times there are. Save writes counts alone, one series after the other: restores give equal bits.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "models/lanes.h"

namespace outlier::models {

class HistogramTable {
 public:
  // Blocks of four buckets, from one up to another; from = to where there is nothing.
  struct Extent {
    uint16_t from = 0, to = 0;
    bool empty() const { return from == to; }
    void Add(const Extent& other) {
      if (other.empty()) return;
      *this = empty() ? other : Extent{std::min(from, other.from), std::max(to, other.to)};
    }
  };

  explicit HistogramTable(int width) : width_(width), blocks_((width + kLanes - 1) / kLanes) {}
  void Resize(int64_t series) {
    cells_.resize(series * blocks_, Lanes{});
    used_.resize(series);
  }
  void Clear(int64_t i) {
    std::fill(at(i) + used_[i].from, at(i) + used_[i].to, Lanes{});
    used_[i] = {};
  }
  void Copy(int64_t from, int64_t to) { Assign(to, at(from), used_[from]); }
  // `counts` may not be those of `i`.
  void Assign(int64_t i, const Lanes* counts, const Extent& used) {
    Clear(i);
    std::copy(counts + used.from, counts + used.to, at(i) + used.from);
    used_[i] = used;
  }
  Lanes* at(int64_t i) { return cells_.data() + i * blocks_; }
  const Lanes* at(int64_t i) const { return cells_.data() + i * blocks_; }
  const Extent& used(int64_t i) const { return used_[i]; }
  void Use(int64_t i, const Extent& more) { used_[i].Add(more); }
  // After counts became less: what is left follows from them alone, so that it is the same after a restore.
  void Tighten(int64_t i) {
    Extent& used = used_[i];
    while (!used.empty() && !Any(at(i)[used.from] != 0.0f)) ++used.from;
    while (!used.empty() && !Any(at(i)[used.to - 1] != 0.0f)) --used.to;
    if (used.empty()) used = {};
  }
  // What is used of a series, which will be asked for soon.
  void Fetch(int64_t i) const {
    constexpr int kBlocksInLine = 4;
    for (int block = used_[i].from; block < used_[i].to; block += kBlocksInLine) __builtin_prefetch(at(i) + block);
  }
  float Total(int64_t i) const {
    Lanes sum{};
    for (int b = used_[i].from; b < used_[i].to; ++b) sum += at(i)[b];
    return Sum(sum);
  }
  double count(int64_t i, int bucket) const { return at(i)[bucket / kLanes][bucket % kLanes]; }

  void Save(std::string* out) const {
    for (size_t i = 0; i < used_.size(); ++i) out->append(reinterpret_cast<const char*>(at(i)), width_ * sizeof(float));
  }
  // `in` is long enough. False where a count is none.
  template <class Number>
  bool Load(int64_t series, std::string_view* in) {
    Resize(0);
    Resize(series);
    for (int64_t i = 0; i < series; ++i) {
      for (int k = 0; k < width_; ++k) {
        Number number;
        std::memcpy(&number, in->data(), sizeof number);
        in->remove_prefix(sizeof number);
        if (!(number >= 0 && static_cast<float>(number) <= std::numeric_limits<float>::max())) return false;
        at(i)[k / kLanes][k % kLanes] = static_cast<float>(number);
      }
      used_[i] = {0, static_cast<uint16_t>(blocks_)};
      Tighten(i);
    }
    return true;
  }

 private:
  int width_, blocks_;
  std::vector<Lanes> cells_;
  std::vector<Extent> used_;
};

}  // namespace outlier::models
