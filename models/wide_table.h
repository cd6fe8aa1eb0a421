// WideTable: what SeriesTable keeps, in blocks of four series: the four doubles of a field lie together, for families that take four series
// through the same instructions and need double precision. Save writes the bytes that SeriesTable would; restores give equal bits.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/lanes.h"
#include "models/series_table.h"

namespace outlier::models {

class WideTable {
 public:
  // `family` must outlive the table (a literal). `fields` values a series, all zero when fresh.
  WideTable(std::string_view family, uint32_t version, int fields) : family_(family), version_(version), fields_(fields) {}

  std::string_view family() const { return family_; }
  int64_t series() const { return series_; }
  int fields() const { return fields_; }
  void Resize(int64_t series) {
    for (int64_t i = series; i < series_; ++i) Forget(i);  // the last block may stay
    cells_.resize((series + kLanes - 1) / kLanes * 2 * fields_, LanePair{});
    series_ = series;
  }
  void Forget(int64_t series) {
    for (int f = 0; f < fields_; ++f) at(f, series) = 0.0;
  }
  void Copy(int64_t from, int64_t to) {
    for (int f = 0; f < fields_; ++f) at(f, to) = at(f, from);
  }

  const double& at(int field, int64_t series) const { return Doubles()[PlaceOf(field, series)]; }
  double& at(int field, int64_t series) { return const_cast<double*>(Doubles())[PlaceOf(field, series)]; }
  // The block that `series` is in: two pairs a field.
  LanePair* block(int64_t series) { return cells_.data() + series / kLanes * 2 * fields_; }
  const LanePair* block(int64_t series) const { return cells_.data() + series / kLanes * 2 * fields_; }
  int64_t bytes_per_series() const { return fields_ * static_cast<int64_t>(sizeof(double)); }

  void Save(std::string* out) const {
    SeriesTable table(family_, version_, fields_);
    table.Resize(series_);
    for (int64_t i = 0; i < series_; ++i) {
      for (int f = 0; f < fields_; ++f) table.at(f, i) = at(f, i);
    }
    table.Save(out);
  }
  // As SeriesTable's.
  bool Load(std::string_view* in) {
    SeriesTable table(family_, version_, fields_);
    if (!table.Load(in)) return false;
    Resize(0);
    Resize(table.series());
    for (int64_t i = 0; i < series_; ++i) {
      for (int f = 0; f < fields_; ++f) at(f, i) = table.at(f, i);
    }
    return true;
  }

 private:
  int64_t PlaceOf(int field, int64_t series) const { return (series / kLanes * fields_ + field) * kLanes + series % kLanes; }
  const double* Doubles() const { return reinterpret_cast<const double*>(cells_.data()); }

  std::string_view family_;
  uint32_t version_;
  int fields_;
  int64_t series_ = 0;
  std::vector<LanePair> cells_;
};

}  // namespace outlier::models
