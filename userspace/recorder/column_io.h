// Rows to columns of differences and back. `before` gives the row that row i is told relative to, nullptr = a row of zeros.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "outlier/recording/v1/recording.pb.h"

namespace outlier::recording {

using Column = google::protobuf::RepeatedField<int64_t>;
using Gaps = google::protobuf::RepeatedField<uint32_t>;

template <class T>
uint64_t ToWord(const T& value) {
  // Sign extension: int32 and int64 fields come back through the same truncation.
  if constexpr (std::is_enum_v<T>) {
    return static_cast<uint64_t>(value);
  } else {
    return static_cast<uint64_t>(static_cast<std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>(value));
  }
}

template <class T>
void FromWord(uint64_t word, T* value) {
  if constexpr (std::is_same_v<T, bool>) {
    *value = word != 0;
  } else {
    *value = static_cast<T>(word);
  }
}

// Rows [begin, end) of one column, after those before `begin`. A column of zeros only stays empty: most of them are, and each
// would be 8 bytes a row to write and read again.
template <class Row, class Before, class Get>
void WritePart(const std::vector<Row>& rows, size_t begin, size_t end, const Before& before, Get get, Column* column) {
  static const Row kZeros{};
  for (size_t i = begin; i < end; ++i) {
    const Row* from = before(i);
    const uint64_t difference = ToWord(get(rows[i])) - ToWord(get(from != nullptr ? *from : kZeros));
    if (column->empty()) {
      if (difference == 0) continue;
      column->Reserve(static_cast<int>(rows.size()));
      column->Resize(static_cast<int>(i), 0);
    }
    column->AddAlreadyReserved(static_cast<int64_t>(difference));
  }
}

template <class Row, class Before, class Get>
void WriteColumn(const std::vector<Row>& rows, const Before& before, Get get, Column* column) {
  WritePart(rows, 0, rows.size(), before, get, column);
}

// False when the column has neither no value nor one a row.
template <class Row, class Before, class Get>
bool ReadColumn(const Column& column, const Before& before, Get get, std::vector<Row>* rows) {
  static const Row kZeros{};
  if (!column.empty() && static_cast<size_t>(column.size()) != rows->size()) return false;
  for (size_t i = 0; i < rows->size(); ++i) {
    const Row* from = before(i);
    const uint64_t difference = column.empty() ? 0 : static_cast<uint64_t>(column[static_cast<int>(i)]);
    FromWord(ToWord(get(from != nullptr ? *from : kZeros)) + difference, &get((*rows)[i]));
  }
  return true;
}

inline void AddText(const std::string& text, v1::Texts* texts) {
  texts->add_length(static_cast<uint32_t>(text.size()));
  texts->mutable_text()->append(text);
}

// All rows' texts, none if all are empty.
template <class Row, class Get>
void WriteTexts(const std::vector<Row>& rows, Get get, v1::Texts* texts) {
  bool any = false;
  for (const Row& row : rows) any |= !get(row).empty();
  if (!any) return;
  for (const Row& row : rows) AddText(get(row), texts);
}

// Takes texts one after the other; a length beyond what is there fails.
class TextReader {
 public:
  explicit TextReader(const v1::Texts& texts) : texts_(texts) {}
  bool Next(std::string* out) {
    if (index_ >= texts_.length_size()) return false;
    const uint32_t length = texts_.length(index_++);
    if (length > texts_.text().size() - at_) return false;
    out->assign(texts_.text(), at_, length);
    at_ += length;
    return true;
  }
  bool done() const { return index_ == texts_.length_size() && at_ == texts_.text().size(); }

 private:
  const v1::Texts& texts_;
  int index_ = 0;
  size_t at_ = 0;
};

template <class Row, class Get>
bool ReadTexts(const v1::Texts& texts, Get get, std::vector<Row>* rows) {
  if (texts.length_size() == 0) return texts.text().empty();
  TextReader reader(texts);
  for (Row& row : *rows) {
    if (!reader.Next(&get(row))) return false;
  }
  return reader.done();
}

// Ascending row numbers as gaps, and back. False when one lies at or beyond `size`.
inline void AddGap(size_t row, size_t* next, Gaps* gaps) {
  gaps->Add(static_cast<uint32_t>(row - *next));
  *next = row + 1;
}
inline bool FromGaps(const Gaps& gaps, size_t size, std::vector<size_t>* out) {
  size_t next = 0;
  out->clear();
  for (const uint32_t gap : gaps) {
    if (next >= size || gap >= size - next) return false;
    out->push_back(next + gap);
    next += gap + size_t{1};
  }
  return true;
}

inline constexpr size_t kNew = static_cast<size_t>(-1);

// Writes how `current` follows `previous` (both ordered by `key`) and returns for each current row the previous one, or kNew.
template <class Row, class Key>
std::vector<size_t> WriteRows(const std::vector<Row>& previous, const std::vector<Row>& current, Key key, v1::Rows* rows) {
  const auto ordered = [&](const std::vector<Row>& all) {
    for (size_t i = 1; i < all.size(); ++i) {
      if (!(key(all[i - 1]) < key(all[i]))) return false;
    }
    return true;
  };
  std::vector<size_t> from(current.size(), kNew);
  // Out of order input is no reason to fail: it is told in full.
  const bool reset = !ordered(previous) || !ordered(current);
  rows->set_reset(reset);
  const size_t known = reset ? 0 : previous.size();
  size_t old = 0, next_gone = 0, next_added = 0;
  for (size_t i = 0; i < current.size(); ++i) {
    while (old < known && key(previous[old]) < key(current[i])) AddGap(old++, &next_gone, rows->mutable_gone());
    if (old < known && key(previous[old]) == key(current[i])) {
      from[i] = old++;
    } else {
      AddGap(i, &next_added, rows->mutable_added());
    }
  }
  while (old < known) AddGap(old++, &next_gone, rows->mutable_gone());
  return from;
}

// The inverse. False when it does not fit together or gives more than `max_rows`.
inline bool ReadRows(const v1::Rows& rows, size_t previous_size, size_t max_rows, std::vector<size_t>* from) {
  const size_t known = rows.reset() ? 0 : previous_size;
  std::vector<size_t> gone, added;
  if (!FromGaps(rows.gone(), known, &gone)) return false;
  const size_t size = known - gone.size() + static_cast<size_t>(rows.added_size());
  if (size > max_rows || !FromGaps(rows.added(), size, &added)) return false;
  from->assign(size, kNew);
  size_t old = 0, g = 0, a = 0;
  for (size_t i = 0; i < size; ++i) {
    if (a < added.size() && added[a] == i) {
      ++a;
      continue;
    }
    while (g < gone.size() && gone[g] == old) {
      ++g;
      ++old;
    }
    (*from)[i] = old++;
  }
  return true;
}

}  // namespace outlier::recording
