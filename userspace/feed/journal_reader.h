// JournalReader: one read-only connection with its statements prepared. One thread at a time; JournalReaders lends them out.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "outlier/v1/feed.pb.h"
#include "userspace/base/sqlite.h"
#include "userspace/feed/journal.h"

namespace outlier::journal {

class JournalReader {
 public:
  static absl::StatusOr<std::unique_ptr<JournalReader>> Open(const std::string& path);

  absl::StatusOr<std::vector<v1::IncidentChange>> Read(uint64_t after, int limit);
  absl::StatusOr<std::vector<StoredChange>> ReadStored(uint64_t after, int limit, size_t most_bytes);
  absl::StatusOr<std::vector<v1::Incident>> Incidents(const v1::Filter& filter, int64_t since_wall_ns, int limit,
                                                      const std::string& page_token, std::string* next_page_token);
  absl::StatusOr<v1::Incident> Get(const std::string& id);
  std::optional<std::string> GetMeta(const std::string& key);

 private:
  explicit JournalReader(std::unique_ptr<sqlite::Connection> connection);
  // Rows after a sequence, until `take` says that it is enough.
  template <class Take>
  absl::Status EachAfter(uint64_t after, int limit, Take take);
  std::unique_ptr<sqlite::Connection> connection_;
  sqlite::Statement changes_;
  sqlite::Statement incidents_;
  sqlite::Statement get_;
  sqlite::Statement meta_;
};

// Lends a reader to each call and keeps it for the next. Thread-safe.
class JournalReaders {
 public:
  explicit JournalReaders(std::string path) : path_(std::move(path)) {}
  absl::StatusOr<std::unique_ptr<JournalReader>> Take();
  void GiveBack(std::unique_ptr<JournalReader> reader);

 private:
  const std::string path_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<JournalReader>> idle_;
};

}  // namespace outlier::journal
