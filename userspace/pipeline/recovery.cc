#include "userspace/pipeline/recovery.h"

#include <optional>
#include <sstream>

#include <fmt/format.h>
#include <xxhash.h>

#include "userspace/base/file.h"
#include "userspace/base/status.h"
#include "userspace/recorder/recorder.h"

namespace outlier {
namespace {

// Loads the snapshot file; sets it aside when it cannot be used. Returns whether the engine has it.
bool LoadSnapshot(const std::string& path, Engine* engine, std::vector<std::string>* messages) {
  const absl::StatusOr<std::string> bytes = ReadFile(path, size_t{4} << 30);
  if (absl::IsNotFound(bytes.status())) return false;
  if (!bytes.ok()) {  // the disk's fault, perhaps, or rights: the file may be whole
    messages->push_back(fmt::format("{}; it is left where it is until the next snapshot, and what it held is taken from the recordings, else learned again",
                                    MessageOf(bytes.status())));
    return false;
  }
  const absl::Status loaded = engine->Load(*bytes);
  if (loaded.ok()) return true;
  const absl::StatusOr<std::string> aside = SetAside(path);
  messages->push_back(fmt::format("{}; it is {} and what it held is taken from the recordings, else learned again", MessageOf(loaded),
                                  aside.ok() ? "kept as " + *aside : "left where it is"));
  return false;
}

struct JournalMark {
  std::string feed_id;
  uint64_t sequence = 0;
  uint64_t tick = 0;
};

std::string MarkWords(const std::string& feed_id, uint64_t sequence, uint64_t tick) { return fmt::format("{} {} {}", feed_id, sequence, tick); }

std::string Signed(const std::string& words) { return fmt::format("{} {:016x}", words, XXH3_64bits(words.data(), words.size())); }

// A mark that is damaged is none: numbers of changes would be given up for it.
std::optional<JournalMark> ReadJournalMark(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, 4096);
  if (!text.ok()) return std::nullopt;
  std::istringstream words(*text);
  JournalMark mark;
  std::string hash;
  if (!(words >> mark.feed_id >> mark.sequence >> mark.tick)) return std::nullopt;
  const std::string marked = MarkWords(mark.feed_id, mark.sequence, mark.tick);
  if (words >> hash && Signed(marked) != marked + " " + hash) return std::nullopt;  // without one: of an older build
  return mark;
}

// Appends in order; after a first failure everything is kept, for the journal does not take an earlier tick after a later.
class Appender {
 public:
  Appender(Journal* journal, std::deque<TickOutput>* unjournalled) : journal_(*journal), unjournalled_(*unjournalled) {}
  void Append(TickOutput output) {
    if (output.changes.empty() || (!unjournalled_.empty() && output.tick <= unjournalled_.back().tick)) return;
    if (status_.ok()) status_ = journal_.Append(output.tick, &output.changes);
    if (!status_.ok()) unjournalled_.push_back(std::move(output));
  }
  const absl::Status& status() const { return status_; }

 private:
  Journal& journal_;
  std::deque<TickOutput>& unjournalled_;
  absl::Status status_;
};

// Ticks after the journal's last, up to the mark's, replayed by an engine of their own.
absl::Status FindLostChanges(const Engine::Options& options, const StatePaths& paths, const JournalMark& mark, const Journal& journal, Appender* append) {
  absl::StatusOr<std::unique_ptr<RecordingReader>> log = RecordingReader::OpenDirectory(paths.recordings, journal.last_tick());
  if (!log.ok()) return log.status();
  if ((*log)->feed_id() != mark.feed_id) return absl::NotFoundError("the recordings are of another feed");
  Engine::Options then = options;
  if (!then.config.ParseFromString((*log)->config())) return absl::DataLossError("the recording holds no configuration");
  const std::unique_ptr<Engine> engine = Engine::Make(then);
  if (!(*log)->snapshot().empty()) {
    if (const absl::Status status = engine->Load((*log)->snapshot()); !status.ok()) return status;
  }
  while (engine->last_tick() < mark.tick) {
    absl::StatusOr<std::optional<TickInput>> input = (*log)->Next();
    if (!input.ok()) return input.status();
    if (!input->has_value()) return absl::NotFoundError(fmt::format("the recordings end with tick {}", engine->last_tick()));
    if ((**input).tick != engine->last_tick() + 1) return absl::NotFoundError(fmt::format("tick {} was not recorded", engine->last_tick() + 1));
    for (TickOutput& output : engine->Step(std::span(&**input, 1))) append->Append(std::move(output));
  }
  return absl::OkStatus();
}

void MendJournal(const Engine::Options& options, const StatePaths& paths, Journal* journal, Appender* append, std::vector<std::string>* messages) {
  const std::optional<JournalMark> mark = ReadJournalMark(paths.journal_mark);
  if (!mark || mark->feed_id != journal->feed_id() || mark->sequence <= journal->last_sequence()) return;
  const uint64_t had = journal->last_sequence();
  const absl::Status found = FindLostChanges(options, paths, *mark, *journal, append);
  std::string outcome = "they were found again from the recordings";
  if (!append->status().ok()) {
    outcome = "what the recordings tell of them waits until it can be written";
  } else if (journal->last_sequence() < mark->sequence) {
    const uint64_t missing = journal->last_sequence() + 1;
    const absl::Status skipped = journal->Skip(mark->sequence, mark->tick);
    outcome = fmt::format("{} to {} are gone ({}) and their numbers stay unused{}", missing, mark->sequence,
                          found.ok() ? "the recordings tell of other changes" : MessageOf(found),
                          skipped.ok() ? "" : "; " + MessageOf(skipped));
  }
  messages->push_back(fmt::format("journal {} ends with change {}, and had {} (was its file {}-wal removed, or an older copy put back?); {}", paths.journal,
                                  had, mark->sequence, paths.journal, outcome));
}

}  // namespace

StatePaths::StatePaths(const std::string& state_dir)
    : journal(state_dir + "/journal.sqlite"), snapshot(state_dir + "/models.snapshot"), recordings(state_dir + "/recordings"), journal_mark(state_dir + "/journal.mark") {}

absl::Status WriteJournalMark(const StatePaths& paths, const Journal& journal) {
  return WriteFileAtomically(paths.journal_mark, Signed(MarkWords(journal.feed_id(), journal.last_sequence(), journal.last_tick())) + "\n");
}

Recovered Recover(const Engine::Options& options, const StatePaths& paths, Journal* journal, std::vector<std::string>* messages) {
  Recovered recovered;
  recovered.engine = Engine::Make(options);
  Engine* const engine = recovered.engine.get();
  Appender append(journal, &recovered.unjournalled);
  MendJournal(options, paths, journal, &append, messages);
  const bool loaded = LoadSnapshot(paths.snapshot, engine, messages);

  absl::StatusOr<std::unique_ptr<RecordingReader>> log =
      RecordingReader::OpenDirectory(paths.recordings, loaded ? engine->last_tick() : UINT64_MAX);
  if (absl::IsNotFound(log.status())) return recovered;
  if (!log.ok()) {
    messages->push_back(fmt::format("{}; ticks after the last snapshot are learned again", MessageOf(log.status())));
    return recovered;
  }
  if (!loaded && !(*log)->snapshot().empty()) {
    if (const absl::Status status = engine->Load((*log)->snapshot()); !status.ok()) {
      messages->push_back(fmt::format("{} (in the newest recording); baselines are learned again", MessageOf(status)));
      return recovered;
    }
  }
  // Changes of another feed are history that this journal never had.
  const bool same_feed = (*log)->feed_id() == journal->feed_id();
  uint64_t replayed = 0;
  for (;;) {
    absl::StatusOr<std::optional<TickInput>> input = (*log)->Next();
    if (!input.ok()) {
      messages->push_back(fmt::format("{}; later ticks are learned again", MessageOf(input.status())));
      break;
    }
    if (!input->has_value()) break;
    if ((**input).tick <= engine->last_tick()) continue;
    std::vector<TickOutput> outputs = engine->Step(std::span(&**input, 1));
    replayed += 1;
    for (TickOutput& output : outputs) {
      if (same_feed) append.Append(std::move(output));
    }
  }
  if (!append.status().ok()) {
    messages->push_back(fmt::format("{}; the changes of {} recovered ticks are kept in memory and tried again each tick", MessageOf(append.status()),
                                    recovered.unjournalled.size()));
  }
  if (replayed > 0) messages->push_back(fmt::format("recovered {} ticks from the input log", replayed));
  return recovered;
}

}  // namespace outlier
