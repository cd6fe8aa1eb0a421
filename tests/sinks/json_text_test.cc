#include "userspace/sinks/json_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "tests/sinks/examples.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

template <class Fill>
std::string Written(Fill fill) {
  std::string out;
  JsonText json(&out);
  json.Object([&] { fill(json); });
  return out;
}

TEST(JsonText, WritesNestedObjectsAndArraysWithTheirCommas) {
  EXPECT_EQ(Written([](JsonText& json) {
              json.Text("a", "x");
              json.Object("b", [&] {
                json.Integer("c", -1);
                json.Flag("d", false);
              });
              json.Array("e", [&] {
                json.Text("one");
                json.Text("");
                json.Object([&] { json.Real("f", 0.5); });
              });
              json.Joined("g", "p", "{", "q=\"r\"", "}");
            }),
            R"({"a":"x","b":{"c":-1,"d":false},"e":["one","",{"f":0.5}],"g":"p{q=\"r\"}"})");
}

TEST(JsonText, LeavesOutWhatIsEmptyAndKeepsTheCommasRight) {
  EXPECT_EQ(Written([](JsonText& json) {
              json.Text("a", "");
              json.Object("b", [&] { json.Object("c", [] {}); });
              json.Array("d", [] {});
              json.Integer("e", 1);
              json.Object("f", [&] { json.Text("g", ""); });
              json.Integer("h", 2);
            }),
            R"({"e":1,"h":2})");
  std::string out;
  JsonText json(&out);
  json.Object([] {});
  EXPECT_EQ(out, "");
}

TEST(JsonText, LeavesOutNumbersThatJsonOrTheFieldHasNot) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(Written([](JsonText& json) {
              json.Real("a", std::nan(""));
              json.Real("b", kInfinity);
              json.Single("c", -kInfinity);
              json.Single("d", 1e39);
              json.Single("e", std::nan(""));
              json.Unsigned("f", std::numeric_limits<uint64_t>::max());
              json.Integer("g", std::numeric_limits<int64_t>::min());
              json.Real("h", 1e39);
            }),
            R"({"f":9223372036854775807,"g":-9223372036854775808,"h":1e+39})");
}

TEST(JsonText, NumbersReadBackAsTheSame) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t bits = random();
    double value = 0;
    static_assert(sizeof(value) == sizeof(bits));
    std::memcpy(&value, &bits, sizeof(value));
    if (!std::isfinite(value)) continue;
    const Json json = ParseJson(Written([&](JsonText& text) { text.Real("x", value); }));
    ASSERT_FALSE(json.is_discarded());
    EXPECT_EQ(json["x"].get<double>(), value);
  }
}

TEST(JsonText, EveryHostileTextReadsBackAsTheSame) {
  for (const std::string& text : examples::HostileTexts()) {
    const std::string written = Written([&](JsonText& json) { json.Text("x", text); });
    EXPECT_EQ(written.find('\n'), std::string::npos) << "a line of a bulk body would end here";
    const Json json = ParseJson(written);
    ASSERT_FALSE(json.is_discarded()) << written;
    EXPECT_EQ(json["x"].get<std::string>(), text);
  }
}

TEST(JsonText, AnyBytesGiveValidJsonOfWhichEveryCharacterSurvives) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes(random() % 24, '\0');
    // Many lead and tail bytes, so that whole and broken characters of all lengths come up.
    for (char& c : bytes) c = static_cast<char>(random() % 3 == 0 ? 0x80 | (random() & 0x3f) : random() % 2 == 0 ? 0xc0 | (random() & 0x3f) : random());
    const std::string written = Written([&](JsonText& json) { json.Text("x", bytes + "."); });
    const Json json = ParseJson(written);  // refuses what is no UTF-8
    ASSERT_FALSE(json.is_discarded()) << testing::PrintToString(bytes);
    // An independent reading of the same bytes agrees on which of them are characters: what is dumped leniently differs only in how many
    // U+FFFD stand for one broken sequence.
    const auto without_replacements = [](std::string text) {
      for (size_t at; (at = text.find("\xef\xbf\xbd")) != std::string::npos;) text.erase(at, 3);
      return text;
    };
    Json lenient;
    lenient["x"] = bytes + ".";
    EXPECT_EQ(without_replacements(json["x"].get<std::string>()), without_replacements(ParseJson(Dump(lenient))["x"].get<std::string>()))
        << testing::PrintToString(bytes);
  }
}

TEST(JsonText, TimesAreThoseOfRfc3339WithinTheYearsThatHaveFourDigits) {
  std::mt19937_64 random(13);
  for (int i = 0; i < 20'000; ++i) {
    google::protobuf::Timestamp time;
    time.set_seconds(static_cast<int64_t>(random() % 300'000'000'000) - 60'000'000'000);
    time.set_nanos(static_cast<int32_t>(random() % 1'000'000'000));
    if (time.seconds() > 253'402'300'799) continue;
    const Json json = ParseJson(Written([&](JsonText& text) { text.Time("t", time); }));
    EXPECT_EQ(json["t"].get<std::string>(), Rfc3339(time));
  }
  google::protobuf::Timestamp beyond;
  beyond.set_seconds(std::numeric_limits<int64_t>::max());
  beyond.set_nanos(-5);
  EXPECT_EQ(Written([&](JsonText& text) { text.Time("t", beyond); }), R"({"t":"9999-12-31T23:59:59.000Z"})");
  beyond.set_seconds(std::numeric_limits<int64_t>::min());
  EXPECT_EQ(Written([&](JsonText& text) { text.Time("t", beyond); }), R"({"t":"0001-01-01T00:00:00.000Z"})");
}

TEST(FieldNames, AreMadeOfHarmlessCharactersAndNeverTwice) {
  FieldNames with_dots(true);
  EXPECT_EQ(with_dots.Of("syscall.class"), "syscall.class");
  EXPECT_EQ(with_dots.Of(".a..b."), "_a._b_");
  EXPECT_EQ(with_dots.Of(""), "_");
  EXPECT_EQ(with_dots.Of("a \"b\"\n"), "a__b__");
  EXPECT_EQ(with_dots.Of("a /b/\t"), "") << "the same name as before";
  EXPECT_EQ(with_dots.Of(std::string(500, 'x')).size(), 128u);
  FieldNames without(false);
  EXPECT_EQ(without.Of("syscall.class"), "syscall_class");
  EXPECT_EQ(without.Of("syscall_class"), "");
}

}  // namespace
}  // namespace outlier
