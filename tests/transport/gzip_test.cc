// What the relay packs is gzip that others read, whatever it holds.
#include "userspace/transport/gzip.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <random>

namespace outlier {
namespace {

std::string Unpacked(const std::string& packed, size_t most) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 16 + MAX_WBITS), Z_OK);  // gzip only
  std::string out(most + 1, 0);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  EXPECT_EQ(stream.avail_in, 0u) << "nothing lies behind its end";
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

TEST(Gzip, IsReadByZlibWhateverItHolds) {
  std::mt19937_64 random(3);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{100}, size_t{65535}, size_t{65536}, size_t{3} << 20}) {
    std::string same(size, 'a'), noise(size, 0);
    for (char& c : noise) c = static_cast<char>(random());
    for (const std::string& text : {same, noise}) {
      const std::string packed = Gzip(text);
      ASSERT_EQ(Unpacked(packed, size), text);
      EXPECT_LE(packed.size(), size + size / 64 + 512);
    }
  }
}

TEST(Gzip, MakesJsonManyTimesSmaller) {
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "{\"@timestamp\":\"2026-11-28T10:00:" + std::to_string(i % 60) + "Z\",\"event\":{\"kind\":\"alert\",\"id\":" + std::to_string(i * 7919) + "}}\n";
  EXPECT_LT(Gzip(text).size(), text.size() / 6);
}

}  // namespace
}  // namespace outlier
