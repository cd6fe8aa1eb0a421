#include "userspace/pipeline/recovery.h"

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/status.h"
#include "userspace/recorder/recorder.h"

namespace outlier {
namespace {

// Loads the snapshot file; sets it aside when it cannot be used. Returns whether the engine has it.
bool LoadSnapshot(const std::string& path, Engine* engine, std::vector<std::string>* messages) {
  const absl::StatusOr<std::string> bytes = ReadFile(path, size_t{4} << 30);
  if (absl::IsNotFound(bytes.status())) return false;
  const absl::Status loaded = bytes.ok() ? engine->Load(*bytes) : bytes.status();
  if (loaded.ok()) return true;
  const absl::StatusOr<std::string> aside = SetAside(path);
  messages->push_back(fmt::format("{}; it is {} and what it held is taken from the recordings, else learned again", MessageOf(loaded),
                                  aside.ok() ? "kept as " + *aside : "left where it is"));
  return false;
}

}  // namespace

StatePaths::StatePaths(const std::string& state_dir)
    : journal(state_dir + "/journal.sqlite"), snapshot(state_dir + "/models.snapshot"), recordings(state_dir + "/recordings") {}

absl::StatusOr<std::unique_ptr<Engine>> Recover(const Engine::Options& options, const StatePaths& paths, Journal* journal,
                                                std::vector<std::string>* messages) {
  std::unique_ptr<Engine> engine = Engine::Make(options);
  const bool loaded = LoadSnapshot(paths.snapshot, engine.get(), messages);

  absl::StatusOr<std::unique_ptr<RecordingReader>> log =
      RecordingReader::OpenDirectory(paths.recordings, loaded ? engine->last_tick() : UINT64_MAX);
  if (absl::IsNotFound(log.status())) return engine;
  if (!log.ok()) {
    messages->push_back(fmt::format("{}; ticks after the last snapshot are learned again", MessageOf(log.status())));
    return engine;
  }
  if (!loaded && !(*log)->snapshot().empty()) {
    if (const absl::Status status = engine->Load((*log)->snapshot()); !status.ok()) {
      messages->push_back(fmt::format("{} (in the newest recording); baselines are learned again", MessageOf(status)));
      return engine;
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
      if (output.changes.empty() || !same_feed) continue;
      if (const absl::Status status = journal->Append(output.tick, &output.changes); !status.ok()) return status;
    }
  }
  if (replayed > 0) messages->push_back(fmt::format("recovered {} ticks from the input log", replayed));
  return engine;
}

}  // namespace outlier
