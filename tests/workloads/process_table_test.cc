// The table against the ordered map it stands in for.
#include "userspace/workloads/process_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "userspace/base/archive.h"

namespace outlier {
namespace {

struct State {
  int32_t number = 0;
  std::string name;
  template <class Archive>
  void Serialize(Archive& a) { a(number, name); }
};
using Table = ProcessTable<State>;

template <class T>
std::string Archived(const T& value) {
  std::string bytes;
  ArchiveWriter writer(&bytes);
  writer(const_cast<T&>(value));
  return bytes;
}

void ExpectEqual(const Table& table, const std::map<ProcessKey, State>& map) {
  ASSERT_EQ(table.size(), map.size());
  size_t i = 0;
  for (const auto& [key, state] : map) {
    ASSERT_EQ(table.key(i), key);
    ASSERT_EQ(table.state(i).number, state.number);
    ASSERT_EQ(table.Find(key), i++);
  }
  ASSERT_EQ(Archived(table), Archived(map)) << "saved state is that of a map";
}

TEST(ProcessTable, DoesWhatAMapDoesUnderRandomOperations) {
  std::mt19937 random(20240917);
  Table table;
  std::map<ProcessKey, State> map;
  for (int step = 0; step < 20'000; ++step) {
    const ProcessKey key{static_cast<int32_t>(random() % 60), random() % 4};
    const size_t at = table.LowerBound(key);
    const bool there = at < table.size() && table.key(at) == key;
    ASSERT_EQ(there, map.count(key) == 1);
    ASSERT_EQ(table.Find(key), there ? at : Table::kNone);
    if (!there) {
      const State state{step, std::string(random() % 40, 'x')};
      table.Insert(at, key, state);
      map[key] = state;
    } else if (random() % 2 == 0) {
      table.Erase(at);
      map.erase(key);
    } else {
      table.state(at).number = map[key].number = -step;
    }
    const auto pid = static_cast<int32_t>(random() % 60);
    auto after = map.lower_bound({pid + 1, 0});
    const size_t latest = table.Latest(pid);
    if (after == map.begin() || std::prev(after)->first.pid != pid) {
      ASSERT_EQ(latest, Table::kNone);
    } else {
      ASSERT_EQ(table.key(latest), std::prev(after)->first);
    }
    if (step % 500 == 0) ExpectEqual(table, map);
  }
  Table restored;
  const std::string bytes = Archived(table);
  ArchiveReader reader(bytes);
  reader(restored);
  ASSERT_TRUE(reader.done());
  ExpectEqual(restored, map);
}

TEST(ProcessTable, BytesWhoseKeysAreOutOfOrderOrCutShortAreRefused) {
  Table table;
  table.Insert(0, {1, 1}, {});
  table.Insert(1, {2, 1}, {});
  std::string bytes = Archived(table);
  std::string twice = bytes;
  twice[8 + (bytes.size() - 8) / 2] = 1;  // the second key becomes the first
  ArchiveReader unordered(twice);
  Table into;
  unordered(into);
  EXPECT_FALSE(unordered.ok());
  bytes.pop_back();
  ArchiveReader cut(bytes);
  cut(into);
  EXPECT_FALSE(cut.ok());
}

}  // namespace
}  // namespace outlier
