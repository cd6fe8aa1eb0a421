// RecordTable: the state of one model family, one contiguous record a series: what one series needs lies in a few cache
// lines, so series in memory order stream. For families that touch most of a record on every tick; SeriesTable is the
// structure of arrays. Save and Load as there: restores give equal bits.
//
// Element: trivially copyable, without padding, all zero when fresh, with bool IsFinite(const Element&) beside it.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "models/state_bytes.h"

namespace outlier::models {

inline bool IsFinite(double value) { return std::isfinite(value); }

template <class Element>
class RecordTable {
  static_assert(std::is_trivially_copyable_v<Element>);

 public:
  // `family` must outlive the table (a literal). `elements` >= 1 a series.
  RecordTable(std::string_view family, uint32_t version, int elements = 1) : family_(family), version_(version), elements_(elements) {}

  std::string_view family() const { return family_; }
  int64_t series() const { return static_cast<int64_t>(cells_.size()) / elements_; }
  void Resize(int64_t series) { cells_.resize(series * elements_); }
  void Forget(int64_t series) { std::fill_n(at(series), elements_, Element{}); }
  void Copy(int64_t from, int64_t to) { std::copy_n(at(from), elements_, at(to)); }
  Element* at(int64_t series) { return cells_.data() + series * elements_; }
  const Element* at(int64_t series) const { return cells_.data() + series * elements_; }
  int64_t bytes_per_series() const { return elements_ * static_cast<int64_t>(sizeof(Element)); }

  void Save(std::string* out) const {
    PutHeader({family_, version_, static_cast<uint32_t>(elements_), static_cast<uint64_t>(series())}, out);
    out->append(reinterpret_cast<const char*>(cells_.data()), cells_.size() * sizeof(Element));
  }
  // Takes this table's bytes from the front of `in`. False and unchanged unless family, version and width agree, all values
  // are finite and enough bytes are there.
  bool Load(std::string_view* in) {
    std::string_view rest = *in;
    StateShape shape{family_, version_, static_cast<uint32_t>(elements_), 0};
    if (!TakeHeader(&rest, sizeof(Element), &shape)) return false;
    std::vector<Element> cells(shape.series * elements_);
    const size_t bytes = cells.size() * sizeof(Element);
    if (bytes > 0) std::memcpy(static_cast<void*>(cells.data()), rest.data(), bytes);
    for (const Element& element : cells) {
      if (!IsFinite(element)) return false;
    }
    rest.remove_prefix(bytes);
    cells_.swap(cells);
    *in = rest;
    return true;
  }

 private:
  std::string_view family_;
  uint32_t version_;
  int elements_;
  std::vector<Element> cells_;
};

}  // namespace outlier::models
