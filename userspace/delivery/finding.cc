#include "userspace/delivery/finding.h"

#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

// A feed may hold anything. What lies outside of 1970 .. 2255 is moved to the nearer end: no difference of two of them, and no sum with a
// duration of the configuration, overflows 64 bits of nanoseconds.
constexpr int64_t kLastSecond = 9'000'000'000;
constexpr int64_t kYear1 = -62'135'596'800, kYear9999 = 253'402'300'799;  // what RFC 3339 can say; what lies outside is moved likewise

int64_t SecondsOf(const google::protobuf::Timestamp& time) { return std::clamp<int64_t>(time.seconds(), 0, kLastSecond); }
int64_t NanosOf(const google::protobuf::Timestamp& time) { return std::clamp<int64_t>(time.nanos(), 0, 999'999'999); }

// No locale, no zone, no lock.
std::string Format(int64_t seconds, int64_t milliseconds) {
  const std::chrono::sys_seconds at{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(at - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()), time.hours().count(), time.minutes().count(), time.seconds().count(), milliseconds);
}

template <class Attributes>
std::string Named(const std::string& signal, const Attributes& attributes) {
  if (attributes.empty()) return signal;
  const auto& [key, value] = *attributes.begin();
  return fmt::format("{}{{{}={}}}", signal, key, value);
}

}  // namespace

std::string IncidentKey(const v1::Incident& incident) { return incident.source().feed_id() + ":" + incident.id(); }

std::string FindingKey(const Finding& finding) {
  if (!finding.gap && finding.rewind) {
    const auto time = std::chrono::duration_cast<std::chrono::milliseconds>(finding.rewind->time.time_since_epoch());
    return fmt::format("{}:{}:{}", finding.feed_id(), finding.change.sequence(), time.count());
  }
  if (!finding.gap) return fmt::format("{}:{}", finding.feed_id(), finding.change.sequence());
  return fmt::format("{}:gap:{}-{}-{}", finding.feed_id(), finding.gap->first_sequence, finding.gap->last_sequence, Milliseconds(finding.change.time()));
}

WallTime TimeOf(const google::protobuf::Timestamp& time) {
  return WallTime(std::chrono::seconds(SecondsOf(time)) + std::chrono::nanoseconds(NanosOf(time)));
}

google::protobuf::Timestamp ToTimestamp(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(seconds.time_since_epoch().count());
  timestamp.set_nanos(static_cast<int32_t>((time - seconds).count()));
  return timestamp;
}

std::string Rfc3339(const google::protobuf::Timestamp& time) { return Format(std::clamp(time.seconds(), kYear1, kYear9999), NanosOf(time) / 1'000'000); }
std::string Rfc3339(WallTime time) { return Rfc3339(ToTimestamp(time)); }
int64_t Milliseconds(const google::protobuf::Timestamp& time) { return SecondsOf(time) * 1000 + NanosOf(time) / 1'000'000; }
int64_t Seconds(const google::protobuf::Timestamp& time) { return SecondsOf(time); }
std::string SeriesName(const v1::Contribution& contribution) { return Named(contribution.signal(), contribution.attributes()); }
std::string SeriesName(const v1::SeriesValue& value) { return Named(value.signal(), value.attributes()); }

}  // namespace outlier
