// ProcessTable: what is remembered of each process, ordered by key. Made for a walk over all of them each tick: the order
// is an array of keys and places, and states keep their place when others come and go. Not thread-safe.
//
// Adding and erasing are O(n) moves of 24 bytes; new pids are mostly the highest, so there is mostly nothing to move.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "userspace/stream/tick_input.h"

namespace outlier {

template <class State>
class ProcessTable {
 public:
  static constexpr size_t kNone = SIZE_MAX;

  size_t size() const { return order_.size(); }
  const ProcessKey& key(size_t i) const { return order_[i].key; }
  // Valid until a process is added.
  State& state(size_t i) { return states_[order_[i].place]; }
  const State& state(size_t i) const { return states_[order_[i].place]; }

  // The first whose key is not less than this one; size() if there is none.
  size_t LowerBound(const ProcessKey& key) const {
    const auto at = std::lower_bound(order_.begin(), order_.end(), key, [](const Entry& entry, const ProcessKey& wanted) { return entry.key < wanted; });
    return static_cast<size_t>(at - order_.begin());
  }
  size_t Find(const ProcessKey& key) const {
    const size_t i = LowerBound(key);
    return i < size() && order_[i].key == key ? i : kNone;
  }
  // The youngest that has this pid.
  size_t Latest(int32_t pid) const {
    const size_t after = LowerBound({pid + 1, 0});
    return after > 0 && order_[after - 1].key.pid == pid ? after - 1 : kNone;
  }

  // Before `i`, which must be LowerBound(key); there must be none of this key.
  void Insert(size_t i, const ProcessKey& key, State state) {
    uint32_t place = static_cast<uint32_t>(states_.size());
    if (free_.empty()) {
      states_.push_back(std::move(state));
    } else {
      place = free_.back();
      free_.pop_back();
      states_[place] = std::move(state);
    }
    order_.insert(order_.begin() + static_cast<ptrdiff_t>(i), Entry{key, place});
  }
  void Erase(size_t i) {
    states_[order_[i].place] = State();
    free_.push_back(order_[i].place);
    order_.erase(order_.begin() + static_cast<ptrdiff_t>(i));
  }
  void Clear() {
    order_.clear();
    states_.clear();
    free_.clear();
  }

  // As std::map<ProcessKey, State> is archived.
  template <class Archive>
  void Serialize(Archive& a) {
    uint64_t n = size();
    a(n);
    if constexpr (Archive::kReading) {
      Clear();
      for (; n > 0 && a.ok(); --n) {
        ProcessKey key;
        State state;
        a(key, state);
        if (!order_.empty() && key <= order_.back().key) a.Fail();
        if (a.ok()) Insert(size(), key, std::move(state));
      }
    } else {
      for (Entry& entry : order_) a(entry.key, states_[entry.place]);
    }
  }

 private:
  struct Entry {
    ProcessKey key;
    uint32_t place = 0;
  };
  std::vector<Entry> order_;
  std::vector<State> states_;
  std::vector<uint32_t> free_;
};

}  // namespace outlier
