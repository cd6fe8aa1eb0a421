// Sentences about incidents, for the person who is woken by them: plain words, numbers with units, no internal names.
//
//   redis-server: resident memory 412 MiB, expected 96-118 MiB, growing 5.1 MiB/s since 14:02:11, full in about 9 min
//   billing.js: restarted 4 times, exit code 1 (crash loop)
//
// Pure functions of their arguments. Names inside an incident are made Printable here, so that a sentence can be shown on
// a terminal whatever a process calls itself. One line each, valid UTF-8.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "outlier/v1/feed.pb.h"

namespace outlier {

// Formats a moment (Unix time, nanoseconds) as the reader's time of day, e.g. "14:02:11".
using TimeOfDay = std::function<std::string(int64_t wall_ns)>;

// Without clock times, so that it means the same in every time zone: what Incident.summary holds.
std::string SummarySentence(const v1::Incident& incident);

// What changed, and the incident with the time of its onset: "opened, critical (score 91): redis-server: ...".
std::string ChangeSentence(const v1::IncidentChange& change, const TimeOfDay& time_of_day);

// "resident memory", "time of file calls": what people call a signal; an unknown signal keeps its name.
std::string SignalWords(const v1::Contribution& contribution);

// "412 MiB, expected 96-118 MiB".
std::string ObservedAndExpected(const v1::Contribution& contribution);

}  // namespace outlier
