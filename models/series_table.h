// SeriesTable: the state of one model family, one double a field. In memory the fields of a series lie together, because a tick touches
// most of them, and of few series; Save writes a header (magic, family, version, shape) and one column a field: restores give equal bits.
#pragma once
#include <Eigen/Core>
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace outlier::models {

class SeriesTable {
 public:
  // `family` must outlive the table (a literal). `fields` values a series, all zero when fresh.
  SeriesTable(std::string_view family, uint32_t version, int fields) : family_(family), version_(version), fields_(fields), cells_(0, fields) {}

  std::string_view family() const { return family_; }
  int64_t series() const { return cells_.rows(); }
  int fields() const { return fields_; }
  void Resize(int64_t series);
  void Forget(int64_t series) { cells_.row(series).setZero(); }
  void Copy(int64_t from, int64_t to) { cells_.row(to) = cells_.row(from); }

  const double& at(int field, int64_t series) const { return cells_.data()[series * fields_ + field]; }
  double& at(int field, int64_t series) { return cells_.data()[series * fields_ + field]; }
  // `fields` from `field` on, of a series that will be asked for soon.
  void Fetch(int64_t series, int field, int fields) const {
    constexpr int kInLine = 64 / sizeof(double);
    for (int f = 0; f < fields + kInLine - 1; f += kInLine) __builtin_prefetch(&at(field + std::min(f, fields - 1), series));
  }
  int64_t bytes_per_series() const { return fields_ * static_cast<int64_t>(sizeof(double)); }

  void Save(std::string* out) const;
  // Takes this table's bytes from the front of `in`. False and unchanged unless family, version and fields agree, all
  // values are finite and enough bytes are there.
  bool Load(std::string_view* in);

 private:
  std::string_view family_;
  uint32_t version_;
  int fields_;
  Eigen::Array<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> cells_;
};

}  // namespace outlier::models
