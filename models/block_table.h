// BlockTable: what RecordTable keeps, in blocks of four series whose like numbers lie together, for families most of whose ticks do the same to
// four series. Save writes the bytes that RecordTable<Record> would; restores give equal bits.
//
// Record: as RecordTable's Element. Block: all zero when fresh, with Record Get(int lane) const and void Put(int lane, const Record&), which
// lose nothing.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/lanes.h"
#include "models/record_table.h"

namespace outlier::models {

template <class Record, class Block>
class BlockTable {
 public:
  // `family` must outlive the table (a literal).
  BlockTable(std::string_view family, uint32_t version) : family_(family), version_(version) {}

  std::string_view family() const { return family_; }
  int64_t series() const { return series_; }
  void Resize(int64_t series) {
    for (int64_t i = series; i < series_; ++i) Forget(i);  // the last block may stay
    blocks_.resize((series + kLanes - 1) / kLanes, Block{});
    series_ = series;
  }
  void Forget(int64_t series) { Put(series, Record{}); }
  void Copy(int64_t from, int64_t to) { Put(to, Get(from)); }
  Record Get(int64_t series) const { return block(series).Get(static_cast<int>(series % kLanes)); }
  void Put(int64_t series, const Record& record) { block(series).Put(static_cast<int>(series % kLanes), record); }
  // The block that `series` is in.
  Block& block(int64_t series) { return blocks_[series / kLanes]; }
  const Block& block(int64_t series) const { return blocks_[series / kLanes]; }
  int64_t bytes_per_series() const { return sizeof(Block) / kLanes; }

  void Save(std::string* out) const {
    RecordTable<Record> table(family_, version_);
    table.Resize(series_);
    for (int64_t i = 0; i < series_; ++i) *table.at(i) = Get(i);
    table.Save(out);
  }
  // As RecordTable's.
  bool Load(std::string_view* in) {
    RecordTable<Record> table(family_, version_);
    if (!table.Load(in)) return false;
    Resize(0);
    Resize(table.series());
    for (int64_t i = 0; i < series_; ++i) Put(i, *table.at(i));
    return true;
  }

 private:
  std::string_view family_;
  uint32_t version_;
  int64_t series_ = 0;
  std::vector<Block> blocks_;
};

}  // namespace outlier::models
