// LaneTable: the state of one model family, in blocks of four (eight: models/lane_width.h) series: within a block the values of one field lie together, as
// arithmetic on lanes wants them, and what one series needs lies in a few cache lines, so series in memory order stream.
// Save writes one series after the other: the format knows nothing of blocks. Restores give equal bits.
//
// Block: a struct of WideLanes, `Block::kWide` of them, then Lanes; all zero when fresh. Lanes without a series stay zero. Apart from
// the blocks lie `Block::kSeldom` more Lanes each, which most ticks leave alone: so the blocks stream. The last `Block::kBits` of them are bits, any
// of which mean something.
#pragma once
#include <array>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "models/lane_width.h"
#include "models/state_bytes.h"

OUTLIER_LANES_BEGIN

template <class Block>
class LaneTable {
  static constexpr size_t kWideBytes = Block::kWide * sizeof(WideLanes);
  static constexpr size_t kNarrow = (sizeof(Block) - kWideBytes) / sizeof(Lanes);
  static constexpr size_t kFields = 2 * Block::kWide + kNarrow + Block::kSeldom;  // of four bytes
  static_assert(alignof(Block) == sizeof(Lanes));  // has to be asked for: to allocators, vector types do not say theirs
  static_assert(std::is_trivially_copyable_v<Block> && sizeof(Block) == kWideBytes + kNarrow * sizeof(Lanes));

 public:
  struct alignas(sizeof(Lanes)) Seldom : std::array<Lanes, Block::kSeldom> {};

  // `family` must outlive the table (a literal).
  LaneTable(std::string_view family, uint32_t version) : family_(family), version_(version) {}

  std::string_view family() const { return family_; }
  int64_t series() const { return series_; }
  void Resize(int64_t series) {
    for (int64_t i = series; i < series_; ++i) Forget(i);  // the last block may stay
    blocks_.resize((series + kLanes - 1) / kLanes, Block{});
    seldom_.resize(blocks_.size(), Seldom{});
    series_ = series;
  }
  void Forget(int64_t series) {
    CopyLane(Block{}, series % kLanes, &block(series));
    for (Lanes& lanes : seldom(series)) lanes[series % kLanes] = 0.0f;
  }
  void Copy(int64_t from, int64_t to) {
    const Block source = block(from);
    CopyLane(source, from % kLanes, &block(to), to % kLanes);
    const Seldom seldom_source = seldom(from);
    for (size_t k = 0; k < Block::kSeldom; ++k) seldom(to)[k][to % kLanes] = seldom_source[k][from % kLanes];
  }
  Block& block(int64_t series) { return blocks_[series / kLanes]; }
  const Block& block(int64_t series) const { return blocks_[series / kLanes]; }
  Seldom& seldom(int64_t series) { return seldom_[series / kLanes]; }
  const Seldom& seldom(int64_t series) const { return seldom_[series / kLanes]; }
  int64_t bytes_per_series() const { return kFields * sizeof(float); }

  static void CopyLane(const Block& from, int lane, Block* to) { CopyLane(from, lane, to, lane); }
  // These lanes are again as they were.
  static void Undo(LaneMask lanes, const Block& before, const Seldom& seldom_before, Block* block, Seldom* seldom) {
    const auto* wide_before = reinterpret_cast<const WideLanes*>(&before);
    auto* wide = reinterpret_cast<WideLanes*>(block);
    for (size_t k = 0; k < Block::kWide; ++k) {
      for (int lane = 0; lane < kLanes; ++lane) wide[k].Set(lane, (lanes[lane] != 0 ? wide_before : wide)[k].at(lane));
    }
    const auto* narrow_before = reinterpret_cast<const Lanes*>(Bytes(&before) + kWideBytes);
    auto* narrow = reinterpret_cast<Lanes*>(Bytes(block) + kWideBytes);
    for (size_t k = 0; k < kNarrow; ++k) narrow[k] = lanes ? narrow_before[k] : narrow[k];
    for (size_t k = 0; k < Block::kSeldom; ++k) (*seldom)[k] = lanes ? seldom_before[k] : (*seldom)[k];
  }
  static void CopyLane(const Block& from, int lane, Block* to, int to_lane) {
    Visit(lane, [&](size_t at, size_t bytes) { std::memcpy(Bytes(to) + at + (to_lane - lane) * static_cast<ptrdiff_t>(bytes), Bytes(&from) + at, bytes); });
  }

  void Save(std::string* out) const {
    PutHeader({family_, version_, kFields, static_cast<uint64_t>(series_)}, out);
    for (int64_t i = 0; i < series_; ++i) {
      Visit(i % kLanes, [&](size_t at, size_t bytes) { out->append(Bytes(&block(i)) + at, bytes); });
      for (const Lanes& lanes : seldom(i)) {
        const float value = lanes[i % kLanes];
        out->append(reinterpret_cast<const char*>(&value), sizeof value);
      }
    }
  }
  // Takes this table's bytes from the front of `in`. False and unchanged unless family, version and fields agree, all values are
  // finite and enough bytes are there.
  bool Load(std::string_view* in) {
    std::string_view rest = *in;
    StateShape shape{family_, version_, kFields, 0};
    if (!TakeHeader(&rest, sizeof(float), &shape)) return false;
    LaneTable loaded(family_, version_);
    loaded.Resize(static_cast<int64_t>(shape.series));
    bool finite = true;
    for (int64_t i = 0; i < loaded.series_; ++i) {
      Visit(i % kLanes, [&](size_t at, size_t bytes) {
        std::memcpy(Bytes(&loaded.block(i)) + at, rest.data(), bytes);
        finite &= bytes == sizeof(double) ? std::isfinite(Number<double>(rest)) : std::isfinite(Number<float>(rest));
        rest.remove_prefix(bytes);
      });
      for (size_t k = 0; k < Block::kSeldom; ++k) {
        const float value = Number<float>(rest);
        finite &= k + Block::kBits >= Block::kSeldom || std::isfinite(value);
        loaded.seldom(i)[k][i % kLanes] = value;
        rest.remove_prefix(sizeof value);
      }
    }
    if (!finite) return false;
    *this = std::move(loaded);
    *in = rest;
    return true;
  }

 private:
  // Calls f(offset in the block, bytes) for each value of one lane.
  template <class F>
  static void Visit(int lane, F f) {
    for (size_t k = 0; k < Block::kWide; ++k) f(k * sizeof(WideLanes) + lane * sizeof(double), sizeof(double));
    for (size_t k = 0; k < kNarrow; ++k) f(kWideBytes + k * sizeof(Lanes) + lane * sizeof(float), sizeof(float));
  }
  static char* Bytes(Block* block) { return reinterpret_cast<char*>(block); }
  static const char* Bytes(const Block* block) { return reinterpret_cast<const char*>(block); }
  template <class T>
  static T Number(std::string_view bytes) {
    T number;
    std::memcpy(&number, bytes.data(), sizeof number);
    return number;
  }

  std::string_view family_;
  uint32_t version_;
  int64_t series_ = 0;
  std::vector<Block> blocks_;
  std::vector<Seldom> seldom_;
};

OUTLIER_LANES_END
