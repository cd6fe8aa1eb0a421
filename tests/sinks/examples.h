// What a source tells, for the tests of sinks: one incident's whole life, a crash loop, names that attack, the least and the most there can be.
// The same at every call.
#pragma once
#include <string>
#include <vector>

#include "userspace/delivery/finding.h"
#include "userspace/sinks/sink.h"

namespace outlier::examples {

inline constexpr char kFeedId[] = "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40";
inline constexpr char kIncidentId[] = "9a3f6c1e55d07b28";

WallTime Now();  // 2026-03-01T10:20:00Z, after everything below
v1::Source Source();

// One incident over its life: resident memory of redis-server.service drifts, on the host db-1; sequences 101 to 105.
Finding Opened();        // MAJOR
Finding Updated();       // CRITICAL: crosses a line of severity; with suspects
Finding Acknowledged();
Finding Feedback();      // a person called it useful
Finding Resolved();
std::vector<Finding> Life();

Finding RestartLoop();   // billing.js in a pod, CRITICAL; sequence 106; nothing departs, a kernel fact opened it
Finding Silenced();      // MINOR, under a maintenance window; sequence 107
Finding Minimal();       // all that is sure: feed, sequence, kind, time, id; sequence 108
// Every text quotes, breaks lines, ends tags, hides escapes, runs to the right or is 3,000 characters long; numbers that JSON has not; sequence 109.
Finding Hostile();
Finding Huge();          // 200 contributions, 100 suspects of 20 sentences each, 50 events of its life: some 370 KB as JSON; sequence 110
Finding GapRecord();     // 40 changes compacted away, 60 to 99
Finding UnknownGap();    // a feed that was replaced: nobody knows what was lost
std::vector<Finding> All();  // all of the above

// `count` different incidents of 50 workloads, sequences from `first` on, all opened.
std::vector<Finding> Many(size_t count, uint64_t first = 1000);

Samples Scores();        // three workloads with scores and no values
Samples Signals();       // the same with values
Samples HostStatus();    // the same, and the host's status with losses
Samples HostileSamples();

Page PageOf(Page::Action action, Finding finding);
std::vector<Page> Pages();  // every action once, in the order of an incident's life, for the incident of Life(); last a digest

// Every hostile text that a name in Hostile() holds, so that a test can look for what has to survive.
std::vector<std::string> HostileTexts();

}  // namespace outlier::examples
