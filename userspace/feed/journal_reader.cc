#include "userspace/feed/journal_reader.h"

#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/feed/filter.h"
#include "userspace/feed/journal_schema.h"

namespace outlier::journal {
namespace {

constexpr size_t kMaxIdleReaders = 16;
constexpr size_t kLeastPrefix = 4;

// The statement is ready for the next use however the call ends.
class Use {
 public:
  explicit Use(sqlite::Statement* statement) : statement_(statement) {}
  ~Use() { statement_->Reset(); }

 private:
  sqlite::Statement* statement_;
};

absl::StatusOr<v1::IncidentChange> ChangeOf(const sqlite::Statement& statement) {
  Row row;
  if (const absl::Status status = ReadRow(statement, &row); !status.ok()) return status;
  v1::IncidentChange change;
  if (!change.ParseFromArray(row.change.data(), static_cast<int>(row.change.size()))) {
    return absl::DataLossError(fmt::format("sequence {} is not a change", row.sequence));
  }
  change.set_sequence(static_cast<uint64_t>(row.sequence));
  return change;
}

std::string Select(std::string_view rest) { return fmt::format("SELECT {} {}", kRowColumns, rest); }

}  // namespace

absl::StatusOr<std::unique_ptr<JournalReader>> JournalReader::Open(const std::string& path) {
  auto connection = sqlite::Connection::Open(path, /*read_only=*/true);
  if (!connection.ok()) return connection.status();
  return std::unique_ptr<JournalReader>(new JournalReader(*std::move(connection)));
}

JournalReader::JournalReader(std::unique_ptr<sqlite::Connection> connection)
    : connection_(std::move(connection)),
      changes_(connection_.get(), Select("FROM changes c WHERE c.sequence > ? ORDER BY c.sequence LIMIT ?")),
      incidents_(connection_.get(), Select(", i.first_sequence FROM incidents i JOIN changes c ON c.sequence = i.last_sequence"
                                           " WHERE i.first_sequence < ? AND i.changed_wall_ns >= ? ORDER BY i.first_sequence DESC")),
      get_(connection_.get(), Select("FROM incidents i JOIN changes c ON c.sequence = i.last_sequence"
                                     " WHERE substr(i.id, 1, ?) = ? ORDER BY length(i.id) LIMIT 2")),
      meta_(connection_.get(), "SELECT value FROM meta WHERE key = ?") {}

template <class Take>
absl::Status JournalReader::EachAfter(uint64_t after, int limit, Take take) {
  if (after > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) || limit <= 0) return absl::OkStatus();
  const Use use(&changes_);
  changes_.Bind(0, static_cast<int64_t>(after));
  changes_.Bind(1, static_cast<int64_t>(limit));
  for (;;) {
    const auto row = changes_.Step();
    if (!row.ok()) return row.status();
    if (!*row) return absl::OkStatus();
    const absl::StatusOr<bool> more = take();
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
  }
}

absl::StatusOr<std::vector<v1::IncidentChange>> JournalReader::Read(uint64_t after, int limit) {
  std::vector<v1::IncidentChange> out;
  const absl::Status status = EachAfter(after, limit, [&]() -> absl::StatusOr<bool> {
    auto change = ChangeOf(changes_);
    if (!change.ok()) return change.status();
    out.push_back(*std::move(change));
    return true;
  });
  if (!status.ok()) return status;
  return out;
}

absl::StatusOr<std::vector<StoredChange>> JournalReader::ReadStored(uint64_t after, int limit, size_t most_bytes) {
  std::vector<StoredChange> out;
  size_t bytes = 0;
  const absl::Status status = EachAfter(after, limit, [&]() -> absl::StatusOr<bool> {
    Row row;
    if (const absl::Status read = ReadRow(changes_, &row); !read.ok()) return read;
    out.push_back({static_cast<uint64_t>(row.sequence), std::string(row.change)});
    bytes += row.change.size();
    return bytes < most_bytes;
  });
  if (!status.ok()) return status;
  return out;
}

absl::StatusOr<std::vector<v1::Incident>> JournalReader::Incidents(const v1::Filter& filter, int64_t since_wall_ns, int limit,
                                                                   const std::string& page_token, std::string* next_page_token) {
  int64_t before = std::numeric_limits<int64_t>::max();
  if (!page_token.empty()) {
    const auto parsed = std::from_chars(page_token.data(), page_token.data() + page_token.size(), before);
    if (parsed.ec != std::errc() || parsed.ptr != page_token.data() + page_token.size() || before <= 0) {
      return absl::InvalidArgumentError("page_token: not one that an earlier answer gave");
    }
  }
  next_page_token->clear();  // not before now: it may be the same string
  const Use use(&incidents_);
  incidents_.Bind(0, before);
  incidents_.Bind(1, since_wall_ns);
  std::vector<v1::Incident> out;
  int64_t last = 0;
  for (;;) {
    const auto row = incidents_.Step();
    if (!row.ok()) return row.status();
    if (!*row) return out;
    auto change = ChangeOf(incidents_);
    if (!change.ok()) return change.status();
    if (!Matches(filter, change->incident())) continue;
    if (limit > 0 && out.size() == static_cast<size_t>(limit)) {
      *next_page_token = std::to_string(last);
      return out;
    }
    last = incidents_.Int(8);  // after the eight row columns
    out.push_back(std::move(*change->mutable_incident()));
  }
}

absl::StatusOr<v1::Incident> JournalReader::Get(const std::string& id) {
  const Use use(&get_);
  const auto unknown = [&] { return absl::NotFoundError(fmt::format("no incident {}", Printable(id, 80))); };
  if (id.empty()) return unknown();
  get_.Bind(0, static_cast<int64_t>(id.size()));
  get_.Bind(1, std::string_view(id));
  std::vector<v1::Incident> found;
  for (;;) {
    const auto row = get_.Step();
    if (!row.ok()) return row.status();
    if (!*row) break;
    auto change = ChangeOf(get_);
    if (!change.ok()) return change.status();
    if (change->incident().id() == id) return change->incident();
    found.push_back(std::move(*change->mutable_incident()));
  }
  if (found.empty() || id.size() < kLeastPrefix) return unknown();
  if (found.size() > 1) return absl::InvalidArgumentError(fmt::format("id: several incidents begin with {}", Printable(id, 80)));
  return found.front();
}

std::optional<std::string> JournalReader::GetMeta(const std::string& key) {
  const Use use(&meta_);
  meta_.Bind(0, std::string_view(key));
  const auto row = meta_.Step();
  if (!row.ok() || !*row) return std::nullopt;
  return std::string(meta_.Bytes(0));
}

absl::StatusOr<std::unique_ptr<JournalReader>> JournalReaders::Take() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto reader = std::move(idle_.back());
      idle_.pop_back();
      return reader;
    }
  }
  return JournalReader::Open(path_);
}

void JournalReaders::GiveBack(std::unique_ptr<JournalReader> reader) {
  const std::lock_guard lock(mutex_);
  if (idle_.size() < kMaxIdleReaders) idle_.push_back(std::move(reader));
}

}  // namespace outlier::journal
