#include "userspace/pipeline/pipeline.h"

#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kMostUnjournalled = 4096;  // ticks with changes, kept in memory while the journal cannot be written
constexpr uint64_t kCompactEvery = 3600ull * 1'000'000'000;
constexpr uint64_t kSayAgain = 60ull * 1'000'000'000;
constexpr uint64_t kNoRoom = 256 << 10;  // bytes: a journal does not begin with less

void AddLoss(std::vector<LossSample>* losses, const std::string& name, uint64_t count) {
  LossSample loss{name, count};
  losses->insert(std::lower_bound(losses->begin(), losses->end(), loss, [](const auto& a, const auto& b) { return a.name < b.name; }), loss);
}

// Of bytes or of files, for who we are.
bool IsFull(const std::string& folder) {
  struct statvfs disk;
  if (statvfs(folder.c_str(), &disk) != 0) return false;
  const bool root = geteuid() == 0;
  const uint64_t blocks = root ? disk.f_bfree : disk.f_bavail, files = root ? disk.f_ffree : disk.f_favail;
  return blocks * disk.f_frsize < kNoRoom || (disk.f_files > 0 && files == 0);
}

// What a person should know before the reload takes it away; "" = nothing.
std::string TickNote(const Engine& engine, const config::v1::Config& config) {
  const int64_t learned = engine.learned_tick_ns();
  if (learned == 0 || learned == config.tick()) return "";
  const auto words = [](int64_t ns) { return HumanDuration(static_cast<double>(ns) * 1e-9); };
  return fmt::format("tick changed from {} to {}: baselines are counted in ticks, so each workload's normal is learned again", words(learned), words(config.tick()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Pipeline>> Pipeline::Open(Options options) {
  std::unique_ptr<Pipeline> pipeline(new Pipeline(std::move(options)));
  if (absl::Status status = pipeline->Start(); !status.ok()) return status;
  return pipeline;
}

absl::Status Pipeline::Start() {
  std::vector<std::string> messages;
  absl::StatusOr<std::unique_ptr<Journal>> journal = OpenJournal(&messages);
  if (!journal.ok()) return journal.status();
  journal_ = *std::move(journal);

  v1::Source source = options_.source;
  source.set_feed_id(journal_->feed_id());
  Recovered recovered = Recover({options_.config, source}, paths_, journal_.get(), &messages);
  engine_ = std::move(recovered.engine);
  unjournalled_ = std::move(recovered.unjournalled);

  if (std::string note = TickNote(*engine_, options_.config); !note.empty()) messages.push_back(std::move(note));
  // What the recovered engine cannot know: who we are now, and the configuration of this start.
  Command who;
  who.kind = Command::Kind::kSource;
  who.config = source.SerializeAsString();
  own_commands_.push_back(std::move(who));
  Command reload;
  reload.kind = Command::Kind::kReload;
  reload.config = options_.config.SerializeAsString();
  own_commands_.push_back(std::move(reload));
  // Incidents that the journal holds open and the engine does not know would stay open for ever.
  const std::vector<std::string> open = engine_->OpenIncidents();
  const std::set<std::string> known(open.begin(), open.end());
  v1::Filter filter;
  filter.set_state(v1::Incident::OPEN);
  std::string next;
  absl::StatusOr<std::vector<v1::Incident>> journalled = journal_->Incidents(filter, 0, 10000, "", &next);
  if (!journalled.ok()) return journalled.status();
  for (const v1::Incident& incident : *journalled) {
    if (known.count(incident.id())) continue;
    Command abandon;
    abandon.kind = Command::Kind::kAbandon;
    abandon.incident_id = incident.id();
    abandon.incident = incident.SerializeAsString();
    own_commands_.push_back(std::move(abandon));
  }

  RecorderOptions recording;
  recording.directory = paths_.recordings;
  recording.max_bytes = options_.config.recorder().max_size();
  recording.max_age_ns = options_.config.recorder().max_age();
  recording.feed_id = journal_->feed_id();
  recording.config = options_.config.SerializeAsString();
  absl::StatusOr<std::unique_ptr<Recorder>> recorder = Recorder::Open(recording);
  if (recorder.ok()) {
    recorder_ = *std::move(recorder);
    const absl::Status begun = recorder_->BeginSegment(LastTick(), engine_->Save(), recording.config);
    if (!begun.ok()) {
      messages.push_back(fmt::format("{}; going on without recording", MessageOf(begun)));
      recorder_.reset();
    }
  } else {
    messages.push_back(fmt::format("{}; going on without recording", MessageOf(recorder.status())));
  }
  for (const std::string& text : messages) options_.say(text);
  degradations_ = messages;
  return absl::OkStatus();
}

Pipeline::~Pipeline() = default;

// Detection goes on without a disk: a journal in memory tells what happens from now on.
absl::StatusOr<std::unique_ptr<Journal>> Pipeline::OpenJournal(std::vector<std::string>* messages) {
  std::string message;
  const absl::Status made = MakeFolders(paths_.recordings);
  auto journal = made.ok() ? Journal::Open(paths_.journal, &message) : absl::StatusOr<std::unique_ptr<Journal>>(made);
  if (!message.empty()) messages->push_back(message);
  if (journal.ok() || options_.volatile_dir.empty() || !IsFull(options_.state_dir)) return journal;
  std::string folder = options_.volatile_dir + "/journal-XXXXXX";
  if (!MakeFolders(options_.volatile_dir, 0755).ok() || mkdtemp(folder.data()) == nullptr) return journal;
  volatile_.path = folder;
  const absl::Status why = journal.status();
  paths_.journal = folder + "/journal.sqlite";
  journal = Journal::Open(paths_.journal, &message);
  if (journal.ok()) {
    messages->push_back(fmt::format("{}; incidents are kept in memory as a feed of their own until outlierd is started again: make room in {}, then restart it",
                                    MessageOf(why), options_.state_dir));
  }
  return journal;
}

Pipeline::Temporary::~Temporary() {
  std::error_code ignored;
  if (!path.empty()) std::filesystem::remove_all(path, ignored);
}

void Pipeline::SetProbes(std::unique_ptr<ProbeSet> probes, std::vector<std::string> messages, int64_t wall_time_ns) {
  const std::lock_guard lock(mutex_);
  probes_ = std::move(probes);
  epoch_ = static_cast<uint64_t>(wall_time_ns);
  first_of_epoch_ = true;
  degradations_.insert(degradations_.end(), messages.begin(), messages.end());
}

void Pipeline::Tick(uint64_t boot_time_ns, int64_t wall_time_ns) {
  TickInput input;
  Observe(boot_time_ns, wall_time_ns, &input);
  Record(input);
  std::vector<TickOutput> outputs;
  {
    const std::lock_guard lock(mutex_);
    outputs = engine_->Step(std::span(&input, 1));
  }
  for (TickOutput& output : outputs) Publish(input, std::move(output));
  const bool full = recorder_ != nullptr && recorder_->segment_is_full();
  if (full || boot_time_ns - last_snapshot_ns_ >= static_cast<uint64_t>(options_.config.state().snapshot_interval())) {
    if (last_snapshot_ns_ != 0) Snapshot();
    last_snapshot_ns_ = boot_time_ns;
  }
  if (boot_time_ns - last_compaction_ns_ >= kCompactEvery) {
    const absl::Status status = journal_->Compact(wall_time_ns - options_.config.feed().retain());
    status.ok() ? Over("compact") : Trouble("compact", MessageOf(status));
    last_compaction_ns_ = boot_time_ns;
  }
}

// An engine that had to begin anew does not begin at 1: the journal would take its ticks for those it has.
uint64_t Pipeline::LastTick() const { return std::max(engine_->last_tick(), journal_->last_tick()); }

void Pipeline::Observe(uint64_t boot_time_ns, int64_t wall_time_ns, TickInput* input) {
  input->boot_time_ns = boot_time_ns;
  input->wall_time_ns = wall_time_ns;
  input->epoch = epoch_;
  input->boot_id = options_.source.boot_id();
  bool keeps_no_arguments = false;
  {
    const std::lock_guard lock(mutex_);
    keeps_no_arguments = options_.config.privacy().arguments() == "none";
    input->tick = LastTick() + 1;
    input->commands = std::exchange(own_commands_, {});
    for (const std::shared_ptr<Waiting>& waiting : waiting_) {
      if (!std::exchange(waiting->taken, true)) input->commands.push_back(waiting->command);
    }
  }
  if (const absl::Status status = probes_->Collect(input); !status.ok()) {
    ticks_failed_ += 1;
    Trouble("collect", fmt::format("{}; this tick saw only a part", MessageOf(status)));
  } else {
    Over("collect");
  }
  if (input->boot_time_ns == 0) input->boot_time_ns = boot_time_ns;
  if (first_of_epoch_) {
    for (const v1::ProbeState& probe : probes_->states()) {
      if (probe.state() != v1::ProbeState::ON) input->probes_missing.push_back(probe.name());
    }
    started_boot_time_ns_ = started_boot_time_ns_ == 0 ? boot_time_ns : started_boot_time_ns_;
  } else {
    input->interval_ns = input->boot_time_ns - last_boot_time_ns_;
  }
  first_of_epoch_ = false;
  last_boot_time_ns_ = input->boot_time_ns;
  last_wall_time_ns_ = wall_time_ns;
  std::vector<IdentityObservation> answers;
  identities_.LookUp(*input, &answers);
  for (IdentityObservation& answer : answers) input->identities.push_back(std::move(answer));
  cgroups_.Describe(&input->identities);
  if (keeps_no_arguments) {
    for (IdentityObservation& seen : input->identities) seen.script.clear();  // before anything is recorded
  }
  identities_.AppendLosses(&input->losses);
  AddLoss(&input->losses, "changes_not_journalled", changes_lost_);
  AddLoss(&input->losses, "ticks_not_recorded", ticks_not_recorded_);
  AddLoss(&input->losses, "ticks_partly_failed", ticks_failed_);
}

// The recorder goes first when the disk is full, the journal last, detection never.
void Pipeline::Record(const TickInput& input) {
  if (recorder_ == nullptr) {
    ticks_not_recorded_ += 1;
    return;
  }
  const absl::Status status = recorder_->Append(input);
  if (status.ok()) return Over("record");
  ticks_not_recorded_ += 1;
  Trouble("record", fmt::format("{}; ticks are not recorded until the next segment", MessageOf(status)));
}

void Pipeline::Publish(const TickInput& input, TickOutput output) {
  probes_->Assign(output.assignments);
  if (!output.changes.empty()) unjournalled_.push_back(std::move(output));
  while (!unjournalled_.empty()) {
    TickOutput& oldest = unjournalled_.front();
    const absl::Status status = journal_->Append(oldest.tick, &oldest.changes);
    if (!status.ok()) {
      Trouble("journal", fmt::format("{}; changes are kept in memory and tried again each tick", MessageOf(status)));
      if (unjournalled_.size() > kMostUnjournalled) {
        changes_lost_ += oldest.changes.size();
        unjournalled_.pop_front();
      }
      break;
    }
    if (server_ != nullptr) server_->ChangesAppended(journal_->last_sequence(), changes_lost_);
    Answer(oldest.changes);
    unjournalled_.pop_front();
    Over("journal");
  }
  overhead_.Measure(input.boot_time_ns);

  const bool sampled = server_ != nullptr && server_->wants_samples();
  v1::SampleResponse sample;
  {
    const std::lock_guard lock(mutex_);
    status_.Clear();
    status_.set_version(options_.version);
    *status_.mutable_source() = options_.source;
    status_.mutable_source()->set_feed_id(journal_->feed_id());
    const uint64_t up = input.boot_time_ns - started_boot_time_ns_;
    status_.mutable_uptime()->set_seconds(up / 1'000'000'000);
    status_.mutable_uptime()->set_nanos(up % 1'000'000'000);
    v1::Overhead& overhead = *status_.mutable_overhead();
    overhead.set_cpu_in_kernel_percent(probes_->kernel_cpu_percent());
    overhead.set_cpu_own_percent(overhead_.cpu_own_percent());
    overhead.set_resident_set_bytes(overhead_.resident_set_bytes());
    overhead.set_map_memory_bytes(probes_->map_memory_bytes());
    v1::Budgets& budgets = *status_.mutable_budgets();
    budgets.set_cpu_percent_achieved(overhead.cpu_in_kernel_percent() + overhead.cpu_own_percent());
    budgets.set_memory_achieved_bytes(overhead.resident_set_bytes() + overhead.map_memory_bytes());
    for (const v1::ProbeState& probe : probes_->states()) *status_.add_probes() = probe;
    status_.set_last_sequence(journal_->last_sequence());
    status_.set_oldest_sequence(journal_->oldest_sequence());
    status_.set_mode(probes_->mode());
    for (const std::string& message : degradations_) status_.add_messages(message);
    for (const auto& [topic, message] : troubles_) status_.add_messages(message);
    if (sampled) {
      for (v1::WorkloadState& state : engine_->Workloads(true)) *sample.add_workloads() = std::move(state);
    }
  }
  if (!sampled) return;
  sample.set_tick(input.tick);
  sample.mutable_time()->set_seconds(input.wall_time_ns / 1'000'000'000);
  sample.mutable_time()->set_nanos(input.wall_time_ns % 1'000'000'000);
  server_->PublishSample(sample);
}

void Pipeline::Snapshot() {
  std::string bytes;
  uint64_t tick = 0;
  {
    const std::lock_guard lock(mutex_);
    bytes = engine_->Save();
    tick = LastTick();
  }
  // While changes wait for the journal, recovery must begin before them; and the mark must not be older than the snapshot.
  if (unjournalled_.empty()) {
    absl::Status status = WriteJournalMark(paths_, *journal_);
    if (status.ok()) status = WriteFileAtomically(paths_.snapshot, bytes);
    status.ok() ? Over("snapshot") : Trouble("snapshot", fmt::format("{}; model state is kept in memory", MessageOf(status)));
  }
  if (recorder_ == nullptr) return;
  const absl::Status status = recorder_->BeginSegment(tick, bytes, options_.config.SerializeAsString());
  if (!status.ok()) Trouble("record", fmt::format("{}; ticks are not recorded until the next segment", MessageOf(status)));
}

void Pipeline::SaveAll() { Snapshot(); }

void Pipeline::Reload(const config::v1::Config& config) {
  const std::lock_guard lock(mutex_);
  options_.config = config;
  if (const std::string note = TickNote(*engine_, config); !note.empty()) options_.say(note);
  Command command;
  command.kind = Command::Kind::kReload;
  command.config = config.SerializeAsString();
  own_commands_.push_back(std::move(command));
}

absl::Status Pipeline::Export(absl::Duration since, const std::function<bool(std::string_view)>& sink) {
  if (recorder_ == nullptr) return absl::FailedPreconditionError("cannot export a recording: nothing is recorded (see `outlierctl status`)");
  const int64_t from = since > absl::ZeroDuration() ? last_wall_time_ns_.load() - absl::ToInt64Nanoseconds(since) : 0;
  return recorder_->Export(from, sink);
}

v1::Status Pipeline::GetStatus() const {
  const std::lock_guard lock(mutex_);
  v1::Status status = status_;
  engine_->FillStatus(&status);
  return status;
}

std::vector<v1::WorkloadState> Pipeline::Workloads() const {
  const std::lock_guard lock(mutex_);
  return engine_->Workloads(false);
}

v1::QuerySeriesResponse Pipeline::Query(const v1::QuerySeriesRequest& request) const {
  const std::lock_guard lock(mutex_);
  return engine_->Query(request);
}

absl::StatusOr<v1::IncidentChange> Pipeline::Submit(Command command, absl::Duration timeout) {
  std::unique_lock lock(mutex_);
  auto waiting = std::make_shared<Waiting>();
  waiting->command = std::move(command);
  waiting_.push_back(waiting);
  answered_.wait_for(lock, absl::ToChronoNanoseconds(timeout), [&] { return waiting->done || stopping_; });
  const bool done = waiting->done;
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), waiting));
  if (!done && stopping_) {
    return absl::UnavailableError(fmt::format("{} was not changed: the daemon is stopping; try again when it runs", waiting->command.incident_id));
  }
  if (!done) {
    return absl::DeadlineExceededError(fmt::format("{} was not carried out within {}; it may still be",
                                                   waiting->command.incident_id, absl::FormatDuration(timeout)));
  }
  return waiting->change;
}

void Pipeline::StopWaiting() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  answered_.notify_all();
}

void Pipeline::Answer(const std::vector<v1::IncidentChange>& changes) {
  const std::lock_guard lock(mutex_);
  for (const v1::IncidentChange& change : changes) {
    for (const std::shared_ptr<Waiting>& waiting : waiting_) {
      const bool acknowledges = waiting->command.kind == Command::Kind::kAcknowledge;
      const auto kind = acknowledges ? v1::IncidentChange::ACKNOWLEDGED : v1::IncidentChange::FEEDBACK;
      if (!waiting->taken || waiting->done || change.kind() != kind || change.incident().id() != waiting->command.incident_id) continue;
      waiting->change = change;
      waiting->done = true;
      break;  // one change answers one command
    }
  }
  answered_.notify_all();
}

// The same trouble each tick is one line, and one that comes and goes one a minute.
void Pipeline::Trouble(const std::string& topic, const std::string& message) {
  {
    const std::lock_guard lock(mutex_);
    if (!troubles_.emplace(topic, message).second) return;
  }
  const auto said = said_.find(topic);
  if (said != said_.end() && last_boot_time_ns_ - said->second < kSayAgain) return;
  said_[topic] = last_boot_time_ns_;
  options_.say(message);
}

void Pipeline::Over(const std::string& topic) {
  const std::lock_guard lock(mutex_);
  troubles_.erase(topic);
}

}  // namespace outlier
