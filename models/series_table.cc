#include "models/series_table.h"

#include <cstring>

namespace outlier::models {
namespace {

constexpr uint32_t kMagic = 0x4c444f4d;  // "MODL" in the little-endian order of x86-64 and arm64

template <class T>
void Put(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
bool Take(std::string_view* in, T* value) {
  if (in->size() < sizeof *value) return false;
  std::memcpy(value, in->data(), sizeof *value);
  in->remove_prefix(sizeof *value);
  return true;
}

}  // namespace

void SeriesTable::Resize(int64_t series) {
  const int64_t old = cells_.rows();
  if (series == old) return;
  cells_.conservativeResize(series, Eigen::NoChange);
  if (series > old) cells_.bottomRows(series - old).setZero();
}

void SeriesTable::Save(std::string* out) const {
  Put(kMagic, out);
  Put(static_cast<uint32_t>(family_.size()), out);
  out->append(family_);
  Put(version_, out);
  Put(static_cast<uint32_t>(cells_.cols()), out);
  Put(static_cast<uint64_t>(cells_.rows()), out);
  out->append(reinterpret_cast<const char*>(cells_.data()), cells_.size() * sizeof(double));
}

bool SeriesTable::Load(std::string_view* in) {
  std::string_view rest = *in;
  uint32_t magic = 0, length = 0, version = 0, fields = 0;
  uint64_t series = 0;
  if (!Take(&rest, &magic) || magic != kMagic || !Take(&rest, &length) || length != family_.size() ||
      rest.substr(0, length) != family_) {
    return false;
  }
  rest.remove_prefix(length);
  if (!Take(&rest, &version) || version != version_ || !Take(&rest, &fields) || fields != cells_.cols() || !Take(&rest, &series) ||
      series > rest.size() / sizeof(double) / fields) {
    return false;
  }
  Eigen::ArrayXXd cells(static_cast<int64_t>(series), static_cast<int64_t>(fields));
  std::memcpy(cells.data(), rest.data(), cells.size() * sizeof(double));
  if (!cells.isFinite().all()) return false;
  rest.remove_prefix(cells.size() * sizeof(double));
  cells_.swap(cells);
  *in = rest;
  return true;
}

}  // namespace outlier::models
