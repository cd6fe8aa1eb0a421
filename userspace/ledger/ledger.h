// The ledger: what outlier-relay must not forget. Cursors, what state sinks hold, which incidents a stream sink follows, dead letters, silences,
// counters and the spool, in one SQLite file (write-ahead log, synchronous FULL): what Write has acknowledged survives a power cut.
//
// One process; thread-safe. Errors: RESOURCE_EXHAUSTED = disk full, DATA_LOSS = damaged, UNAVAILABLE = the rest; after any, nothing was written.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "outlier/relay/v1/admin.pb.h"
#include "outlier/relay/v1/ledger.pb.h"
#include "userspace/base/sqlite.h"

namespace outlier {

// Everything of that source up to `sequence` was dealt with for a sink.
struct Cursor {
  std::string source;    // address
  std::string feed_id;
  uint64_t sequence = 0;
};

struct Counters {
  uint64_t delivered = 0, retried = 0, refused = 0, expired = 0, withheld = 0, samples_delivered = 0, samples_lost = 0, letters_dropped = 0;
};

// What one answer means for one sink: written together or not at all.
struct Entry {
  std::string sink;
  std::vector<Cursor> cursors;
  std::vector<relay::v1::Held> held;              // put or replaced
  std::vector<std::string> no_longer_held;        // incident keys
  std::vector<relay::v1::Followed> followed;      // put or replaced
  std::vector<std::string> unfollowed;            // incident keys
  std::vector<relay::v1::DeadLetter> refused;     // new dead letters, without id
  std::vector<std::string> buried;                // ids of dead letters that are gone
  Counters counted;                               // added
  bool empty() const;
};

class Ledger {
 public:
  // Dead letters kept for a sink; beyond it the oldest give way, counted in letters_dropped.
  static constexpr size_t kMostDeadLetters = 10'000;
  // Feeds of one source that a sink has a cursor for; beyond it the oldest give way.
  static constexpr int64_t kMostFeeds = 8;

  // Makes the file. UNAVAILABLE where another process holds it, FAILED_PRECONDITION for one of a later version, left untouched. A damaged one is
  // set aside, a row that cannot be read is dropped: DATA_LOSS never stops a start; `messages` say so.
  static absl::StatusOr<std::unique_ptr<Ledger>> Open(const std::string& path, std::vector<std::string>* messages);
  ~Ledger();

  absl::Status Write(const Entry& entry);
  absl::StatusOr<std::vector<Cursor>> Cursors(const std::string& sink) const;             // the newest of each source last
  absl::StatusOr<std::vector<relay::v1::Held>> Held(const std::string& sink) const;
  absl::StatusOr<std::vector<relay::v1::Followed>> Followed(const std::string& sink) const;
  absl::StatusOr<std::vector<relay::v1::DeadLetter>> DeadLetters(const std::string& sink, size_t limit) const;  // "" = all sinks; oldest first
  absl::StatusOr<bool> HasDeadLetter(const std::string& sink, const std::string& id) const;
  absl::StatusOr<uint64_t> DeadLetterCount(const std::string& sink) const;
  absl::StatusOr<Counters> Counted(const std::string& sink) const;

  absl::Status PutSilence(const relay::v1::Silence& silence);
  absl::Status DropSilence(const std::string& id);
  absl::StatusOr<std::vector<relay::v1::Silence>> Silences() const;

  // The spool: changes of a feed that its source is about to forget, for cursors that still need them.
  absl::Status Spool(const std::vector<v1::IncidentChange>& changes, const std::string& feed_id);
  absl::StatusOr<std::vector<v1::IncidentChange>> Spooled(const std::string& feed_id, uint64_t after, size_t limit) const;
  absl::Status ForgetSpooled(const std::string& feed_id, uint64_t up_to);
  absl::StatusOr<uint64_t> SpooledBytes() const;
  absl::StatusOr<std::vector<std::string>> SpooledFeeds() const;

 private:
  Ledger(std::unique_ptr<sqlite::Connection> connection, int lock) : connection_(std::move(connection)), lock_(lock) {}
  absl::Status WriteLocked(const Entry& entry);
  mutable std::mutex mutex_;
  std::unique_ptr<sqlite::Connection> connection_;
  const int lock_;
};

}  // namespace outlier
