// Recovery: the engine brought to where the last run left it, from its snapshot and the input log behind it.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "userspace/feed/journal.h"
#include "userspace/pipeline/engine.h"

namespace outlier {

struct StatePaths {
  explicit StatePaths(const std::string& state_dir);
  std::string journal;      // journal.sqlite
  std::string snapshot;     // models.snapshot
  std::string recordings;   // recordings/
  std::string journal_mark; // journal.mark
};

struct Recovered {
  std::unique_ptr<Engine> engine;
  std::deque<TickOutput> unjournalled;  // in order: changes that the journal does not take at present
};

// An engine with everything learned and under way up to the last recorded tick. Changes that a crash kept from the
// journal are appended to it; those that are there already are not written again. What cannot be used is set aside,
// said in `messages`, and never fatal: at worst learning begins anew.
//
// A journal that is behind its mark has lost changes that subscribers may have seen (its write-ahead log was removed, an
// older copy was put back): they are found again from the recordings. Where those do not reach back, their sequence
// numbers stay unused, for a number never means two changes.
Recovered Recover(const Engine::Options& options, const StatePaths& paths, Journal* journal, std::vector<std::string>* messages);

// Where the journal is now, kept beside it. Must be written before a snapshot of a later tick: recovery replays what comes
// after the snapshot, and finds by the mark what is missing before it.
absl::Status WriteJournalMark(const StatePaths& paths, const Journal& journal);

}  // namespace outlier
