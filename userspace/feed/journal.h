// Journal: sequence -> incident change, durable. SQLite in WAL mode, synchronous=FULL for commits.
//
// One writer; any number of reading threads (each read uses its own connection). feed_id is made once with the file.
// A damaged journal is set aside (renamed *.damaged-N) with a message, and a new one, with a new feed_id, is begun.
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

class Journal {
 public:
  // Opens or creates. UNAVAILABLE when another process holds it. `message` says what was set aside, if anything.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(const std::string& path, std::string* message);
  virtual ~Journal() = default;

  virtual const std::string& feed_id() const = 0;
  // All changes of one tick in one transaction; assigns consecutive sequences (written into `changes`).
  // A tick at or below last_tick() was committed before a crash: nothing is written, OK is returned, and `changes` get
  // the sequences they had.
  virtual absl::Status Append(uint64_t tick, std::vector<v1::IncidentChange>* changes) = 0;
  virtual uint64_t last_tick() const = 0;      // last tick with a committed change
  virtual uint64_t last_sequence() const = 0;
  virtual uint64_t oldest_sequence() const = 0;  // the oldest still held; last_sequence()+1 when empty

  // Changes with sequence > after, in order, at most `limit`.
  virtual absl::StatusOr<std::vector<v1::IncidentChange>> Read(uint64_t after, int limit) const = 0;
  // Current state of incidents, newest first.
  virtual absl::StatusOr<std::vector<v1::Incident>> Incidents(const v1::Filter& filter, int64_t changed_since_wall_ns,
                                                              int limit, const std::string& page_token,
                                                              std::string* next_page_token) const = 0;
  virtual absl::StatusOr<v1::Incident> Get(const std::string& id) const = 0;  // NOT_FOUND; a unique prefix of >= 4 characters will do
  // Drops changes older than this whose incident is resolved and later changed by none newer.
  virtual absl::Status Compact(int64_t before_wall_ns) = 0;
  // The last tick the daemon handed to the engine plus everything else that must survive with the journal.
  virtual absl::Status PutMeta(const std::string& key, const std::string& value) = 0;
  virtual std::optional<std::string> GetMeta(const std::string& key) const = 0;
};

}  // namespace outlier
