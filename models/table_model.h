// TableModel: the frame of a family whose whole state is one table (SeriesTable or RecordTable). What is left to the family
// is Score and Update.
#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "models/model.h"

namespace outlier::models {

template <class Table>
class TableModel : public Model {
 public:
  std::string_view name() const override { return table_.family(); }
  int width() const override { return 1; }
  int64_t series() const override { return table_.series(); }
  void Resize(int64_t series) override { table_.Resize(series); }
  void Forget(int64_t series) override { table_.Forget(series); }
  void Adopt(int64_t from, int64_t to) override { table_.Copy(from, to); }
  int64_t state_bytes_per_series() const override { return table_.bytes_per_series(); }
  void Save(std::string* out) const override { table_.Save(out); }
  // The table takes its bytes from the front; a rest means that something else wrote them.
  bool Load(std::string_view bytes) override {
    Table loaded = table_;
    if (!loaded.Load(&bytes) || !bytes.empty()) return false;
    table_ = std::move(loaded);
    return true;
  }

 protected:
  explicit TableModel(Table table) : table_(std::move(table)) {}
  Table table_;
};

}  // namespace outlier::models
