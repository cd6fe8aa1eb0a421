#include "models/series_table.h"

#include <cstring>

#include "models/state_bytes.h"

namespace outlier::models {
void SeriesTable::Resize(int64_t series) {
  const int64_t old = cells_.rows();
  if (series == old) return;
  cells_.conservativeResize(series, Eigen::NoChange);
  if (series > old) cells_.bottomRows(series - old).setZero();
}

void SeriesTable::Save(std::string* out) const {
  PutHeader({family_, version_, static_cast<uint32_t>(cells_.cols()), static_cast<uint64_t>(cells_.rows())}, out);
  const Eigen::ArrayXXd columns = cells_;
  out->append(reinterpret_cast<const char*>(columns.data()), columns.size() * sizeof(double));
}

bool SeriesTable::Load(std::string_view* in) {
  std::string_view rest = *in;
  StateShape shape{family_, version_, static_cast<uint32_t>(cells_.cols()), 0};
  if (!TakeHeader(&rest, sizeof(double), &shape)) return false;
  Eigen::ArrayXXd cells(static_cast<int64_t>(shape.series), cells_.cols());
  if (cells.size() > 0) std::memcpy(cells.data(), rest.data(), cells.size() * sizeof(double));
  if (!cells.isFinite().all()) return false;
  rest.remove_prefix(cells.size() * sizeof(double));
  cells_ = cells;
  *in = rest;
  return true;
}

}  // namespace outlier::models
