#include "userspace/base/archive.h"

#include <gtest/gtest.h>

#include <random>

namespace outlier {
namespace {

enum class Colour : uint8_t { kRed, kBlue };

struct Inner {
  int32_t a = 0;
  std::string b;
  template <class A>
  void Serialize(A& archive) {
    archive(a, b);
  }
  bool operator==(const Inner&) const = default;
};

struct Outer {
  bool flag = false;
  double number = 0;
  Colour colour = Colour::kRed;
  std::vector<Inner> inners;
  std::deque<uint16_t> queue;
  std::map<std::string, Inner> named;
  std::optional<int64_t> maybe;
  std::array<uint32_t, 3> three{};
  Eigen::ArrayXXd matrix;
  template <class A>
  void Serialize(A& archive) {
    archive(flag, number, colour, inners, queue, named, maybe, three, matrix);
  }
};

Outer Example() {
  Outer outer{true, -0.0, Colour::kBlue, {{1, "x"}, {-2, std::string("\0\xff", 2)}}, {1, 2}, {{"k", {3, ""}}}, 7, {4, 5, 6}, Eigen::ArrayXXd::Random(3, 2)};
  return outer;
}

std::string Bytes(Outer outer) {
  std::string bytes;
  ArchiveWriter writer(&bytes);
  writer(outer);
  return bytes;
}

TEST(Archive, WhatIsSavedIsReadBackToTheSameBits) {
  const Outer before = Example();
  const std::string bytes = Bytes(before);
  Outer after;
  ArchiveReader reader(bytes);
  reader(after);
  EXPECT_TRUE(reader.done());
  EXPECT_EQ(after.inners, before.inners);
  EXPECT_EQ(after.named, before.named);
  EXPECT_EQ(after.maybe, before.maybe);
  EXPECT_TRUE((after.matrix == before.matrix).all());
  EXPECT_EQ(Bytes(after), bytes);
}

TEST(Archive, EveryTruncationFailsAndYieldsNoMore) {
  const std::string bytes = Bytes(Example());
  for (size_t size = 0; size < bytes.size(); ++size) {
    Outer outer;
    ArchiveReader reader(std::string_view(bytes).substr(0, size));
    reader(outer);
    EXPECT_FALSE(reader.ok()) << size;
    int32_t later = 5;
    reader(later);
    EXPECT_EQ(later, 0);
  }
}

TEST(Archive, DamagedLengthsNeverAllocateMoreThanThereIs) {
  const std::string valid = Bytes(Example());
  std::mt19937 random(9);
  int refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = valid;
    for (int n = 1 + static_cast<int>(random() % 4); n > 0; --n) bytes[random() % bytes.size()] = static_cast<char>(random());
    Outer outer;
    ArchiveReader reader(bytes);
    reader(outer);
    refused += reader.ok() ? 0 : 1;
    EXPECT_LE(outer.inners.size(), bytes.size());
    EXPECT_LE(static_cast<size_t>(outer.matrix.size()), bytes.size());
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace outlier
