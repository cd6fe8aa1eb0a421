// The nouns that outlier-relay hands from room to room: what a source said, as a sink gets it. Values; no thread of their own.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "outlier/relay/v1/admin.pb.h"
#include "outlier/v1/feed.pb.h"

namespace outlier {

// Wall time, which is passed in everywhere: outages of days are tested in seconds.
using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;

using Labels = std::vector<std::pair<std::string, std::string>>;  // of relay.yaml, in its order

// What a source could not give: told to stream sinks as a record of its own, so that silence never looks like peace.
struct Gap {
  uint64_t first_sequence = 0, last_sequence = 0;  // 0, 0 = unknown
  uint64_t lost = 0;                               // changes; 0 = unknown
  std::string reason;                              // compacted, feed_replaced, journal_rewound, not_journalled
};

// Of a journal that was put back to an older state, at `time`: it had told what had the numbers up to `last`, and tells others under them now.
struct Rewind {
  uint64_t last = 0;
  WallTime time;
};

// One change of an incident, or a gap.
struct Finding {
  v1::IncidentChange change;               // of a gap: time and incident.source only
  std::optional<Gap> gap;
  std::optional<relay::v1::Silence> silence;  // that covered the incident at the time of the change
  std::shared_ptr<const Labels> labels;    // never null
  std::optional<Rewind> rewind = std::nullopt;  // its sequence was, or will be, another's

  const v1::Incident& incident() const { return change.incident(); }
  const std::string& feed_id() const { return change.incident().source().feed_id(); }
};

// Workload scores and signals of one source at one tick. Best effort.
struct Samples {
  v1::Source source;
  v1::SampleResponse sample;               // workloads without values where only scores are wanted
  std::optional<v1::Status> status;        // of the host, once a minute
  std::shared_ptr<const Labels> labels;
};

// One over the life of an incident, over all sources: "<feed_id>:<incident id>". At most 128 bytes of a well-behaved source.
std::string IncidentKey(const v1::Incident& incident);
// One a change: "<feed_id>:<sequence>", after a rewind "<feed_id>:<sequence>:<its time>"; of a gap "<feed_id>:gap:<first>-<last>-<time>".
std::string FindingKey(const Finding& finding);

// Of a time that no clock shows, before 1970 or after 2255, the nearer end; Rfc3339 says the years 1 to 9999.
WallTime TimeOf(const google::protobuf::Timestamp& time);
google::protobuf::Timestamp ToTimestamp(WallTime time);
// RFC 3339 in UTC, milliseconds: "2026-03-01T10:00:00.123Z".
std::string Rfc3339(const google::protobuf::Timestamp& time);
std::string Rfc3339(WallTime time);
int64_t Milliseconds(const google::protobuf::Timestamp& time);
int64_t Seconds(const google::protobuf::Timestamp& time);

// "process.syscall.rate{syscall.class=file}": signal and its attributes.
std::string SeriesName(const v1::Contribution& contribution);
std::string SeriesName(const v1::SeriesValue& value);

}  // namespace outlier
