// Journal: sequence -> incident change, durable. SQLite in WAL mode, synchronous=FULL for commits.
//
// One writing process, kept so by `journal.lock` beside the file; in it any thread may call any member (writes wait for one
// another, reads use connections of their own). feed_id is made once with the file, 128 random bits in hex.
// A damaged journal is set aside (renamed *.damaged-N) with a message, and a new one, with a new feed_id, is begun.
// Errors of writes: RESOURCE_EXHAUSTED = disk full, UNAVAILABLE = input/output; nothing is then half written.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "outlier/v1/feed.pb.h"

namespace outlier {

// A change as it lies in the journal: a serialised IncidentChange, sequence included.
struct StoredChange {
  uint64_t sequence = 0;
  std::string bytes;
};

class Journal {
 public:
  // Opens or creates, checks every page and row. UNAVAILABLE when another process holds it (named), FAILED_PRECONDITION for
  // a journal of a later version, left untouched. `message` says what was set aside, if anything.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(const std::string& path, std::string* message);
  virtual ~Journal() = default;

  virtual const std::string& feed_id() const = 0;
  // All changes of one tick in one transaction; assigns consecutive sequences (written into `changes`).
  // A tick at or below last_tick() was committed before a crash: nothing is written, OK is returned, and `changes` get
  // the sequences they had (0 for one that was not among them). INVALID_ARGUMENT for a change that could not be read back.
  virtual absl::Status Append(uint64_t tick, std::vector<v1::IncidentChange>* changes) = 0;
  virtual uint64_t last_tick() const = 0;      // last tick with a committed change
  virtual uint64_t last_sequence() const = 0;
  // From this sequence on every change is held; last_sequence()+1 when empty. Changes of incidents that are still open
  // are held from before it, too, with gaps between them.
  virtual uint64_t oldest_sequence() const = 0;

  // Changes with sequence > after, in order, at most `limit`. DATA_LOSS when one does not match its checksum.
  virtual absl::StatusOr<std::vector<v1::IncidentChange>> Read(uint64_t after, int limit) const = 0;
  // The same, not taken apart, for who sends them on. At most `limit`, and no further one beyond `most_bytes`.
  virtual absl::StatusOr<std::vector<StoredChange>> ReadStored(uint64_t after, int limit, size_t most_bytes) const = 0;
  // Current state of incidents, newest (opened last) first. limit <= 0 = all. `next_page_token` is empty at the end.
  virtual absl::StatusOr<std::vector<v1::Incident>> Incidents(const v1::Filter& filter, int64_t changed_since_wall_ns,
                                                              int limit, const std::string& page_token,
                                                              std::string* next_page_token) const = 0;
  virtual absl::StatusOr<v1::Incident> Get(const std::string& id) const = 0;  // NOT_FOUND; a unique prefix of >= 4 characters will do, INVALID_ARGUMENT when it is not unique
  // The changes up to `sequence`, made until `tick`, were lost: their numbers are not given out again. Subscribers are told
  // as of compacted ones. Nothing happens where the journal is as far.
  virtual absl::Status Skip(uint64_t sequence, uint64_t tick) = 0;
  // Drops changes older than this whose incident is resolved and later changed by none newer.
  virtual absl::Status Compact(int64_t before_wall_ns) = 0;
  // The last tick the daemon handed to the engine plus everything else that must survive with the journal.
  virtual absl::Status PutMeta(const std::string& key, const std::string& value) = 0;
  virtual std::optional<std::string> GetMeta(const std::string& key) const = 0;
};

}  // namespace outlier
