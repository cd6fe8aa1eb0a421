// TwoPartModel: the frame of a family whose state is two records a series: what every tick touches, in four series together, and what it seldom does. What is left
// to the family is Score and Update, and what older versions saved.
#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "models/block_table.h"
#include "models/model.h"
#include "models/record_table.h"

namespace outlier::models {

template <class Open, class Block, class Past>
class TwoPartModel : public Model {
 public:
  std::string_view name() const override { return open_.family(); }
  int width() const override { return 1; }
  int64_t series() const override { return open_.series(); }
  void Resize(int64_t series) override {
    open_.Resize(series);
    past_.Resize(series);
  }
  void Forget(int64_t series) override {
    open_.Forget(series);
    past_.Forget(series);
  }
  void Adopt(int64_t from, int64_t to) override {
    open_.Copy(from, to);
    past_.Copy(from, to);
  }
  int64_t state_bytes_per_series() const override { return open_.bytes_per_series() + past_.bytes_per_series(); }
  void Save(std::string* out) const override {
    open_.Save(out);
    past_.Save(out);
  }
  bool Load(std::string_view bytes) override {
    BlockTable<Open, Block> open = open_;
    RecordTable<Past> past = past_;
    if (!open.Load(&bytes) || !past.Load(&bytes) || !bytes.empty() || open.series() != past.series()) return false;
    open_ = std::move(open);
    past_ = std::move(past);
    return true;
  }

 protected:
  TwoPartModel(BlockTable<Open, Block> open, RecordTable<Past> past) : open_(std::move(open)), past_(std::move(past)) {}
  BlockTable<Open, Block> open_;
  RecordTable<Past> past_;
};

}  // namespace outlier::models
