// outlierctl replay: the same engine over a recording; incident changes as JSON lines, always.
#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/config/config.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/filter_options.h"
#include "userspace/outlierctl/text_output.h"
#include "userspace/pipeline/engine.h"
#include "userspace/recorder/recorder.h"

namespace outlier::ctl {
namespace {

struct ReplayOptions {
  std::string file;
  std::vector<std::string> sets;
  std::string since;
  uint32_t batch = 1;
};

// A recorded configuration with the overrides.
absl::StatusOr<config::v1::Config> Overridden(const std::string& recorded, const ReplayOptions& options) {
  config::v1::Config config;
  if (!config.ParseFromString(recorded)) {
    return absl::DataLossError(fmt::format("cannot replay {}: a configuration in it is damaged", options.file));
  }
  if (options.sets.empty()) return config;
  return ParseConfig(ConfigToYaml(config), options.file, options.sets);
}

// A recorded reload must not undo what the user set for this replay.
absl::Status OverrideReloads(const ReplayOptions& options, TickInput* input) {
  if (options.sets.empty()) return absl::OkStatus();
  for (Command& command : input->commands) {
    if (command.kind != Command::Kind::kReload) continue;
    const auto config = Overridden(command.config, options);
    if (!config.ok()) return config.status();
    command.config = config->SerializeAsString();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const RecordingReader& recording, const ReplayOptions& options, Context& context) {
  Engine::Options engine_options;
  auto config = Overridden(recording.config(), options);
  if (!config.ok()) return config.status();
  engine_options.config = *config;
  engine_options.source.set_feed_id(recording.feed_id());
  std::unique_ptr<Engine> engine = Engine::Make(engine_options);
  if (recording.snapshot().empty()) return engine;
  const absl::Status loaded = engine->Load(recording.snapshot());
  if (loaded.ok()) return engine;
  if (!absl::IsFailedPrecondition(loaded)) {
    return absl::Status(loaded.code(), fmt::format("cannot replay {}: its snapshot: {}", options.file, std::string(loaded.message())));
  }
  // Recorded by another build. A recording that begins with a daemon's first tick had learned nothing: nothing is missed.
  if (recording.snapshot_tick() > 0) {
    context.err << fmt::format("outlierctl: {}: its snapshot: {}; replayed from no baselines at all, so incidents differ until they are learned\n",
                               Printable(options.file), std::string(loaded.message()));
  }
  return engine;
}

// Prints as it goes, or, where only the end of the recording is wanted, once its end is known.
class ChangePrinter {
 public:
  ChangePrinter(Context& context, int64_t since_ns) : context_(context), since_ns_(since_ns) {}
  void Take(const TickOutput& output, int64_t wall_ns) {
    last_ns_ = wall_ns;
    for (v1::IncidentChange change : output.changes) {
      change.set_sequence(0);  // the journal's to give: a recording has none
      if (since_ns_ == 0) {
        PrintJson(context_, change);
      } else {
        held_.emplace_back(wall_ns, JsonLine(change));
      }
    }
  }
  void Finish() {
    for (const auto& [wall_ns, line] : held_) {
      if (wall_ns >= last_ns_ - since_ns_) context_.out << line << '\n';
    }
    context_.out.flush();
  }

 private:
  Context& context_;
  int64_t since_ns_;
  int64_t last_ns_ = 0;
  std::vector<std::pair<int64_t, std::string>> held_;
};

absl::Status Replay(Context& context, const ReplayOptions& options) {
  auto since = DurationOption("--since", options.since);
  if (!since.ok()) return since.status();
  auto recording = RecordingReader::OpenFile(options.file);
  if (absl::IsInvalidArgument(recording.status())) return absl::DataLossError(recording.status().message());  // not wrong usage: exit status 1
  if (!recording.ok()) return recording.status();
  auto engine = MakeEngine(**recording, options, context);
  if (!engine.ok()) return engine.status();
  ChangePrinter printer(context, *since);
  std::vector<TickInput> batch;
  const auto step = [&] {
    const std::vector<TickOutput> outputs = (*engine)->Step(batch);
    for (size_t k = 0; k < outputs.size(); ++k) printer.Take(outputs[k], batch[k].wall_time_ns);
    batch.clear();
  };
  absl::Status damage;
  uint64_t ticks = 0;
  for (;;) {
    auto input = (*recording)->Next();
    if (!input.ok()) damage = input.status();
    if (!input.ok() || !input->has_value()) break;
    ++ticks;
    if (absl::Status s = OverrideReloads(options, &**input); !s.ok()) return s;
    batch.push_back(std::move(**input));
    if (batch.size() >= options.batch) step();
  }
  if (!batch.empty()) step();
  printer.Finish();
  if (!damage.ok()) return absl::Status(damage.code(), fmt::format("replayed {} ticks, then: {}", ticks, std::string(damage.message())));
  if ((*recording)->torn_tail()) {
    context.err << fmt::format("outlierctl: {}: the end was cut short (a crash); replayed the {} ticks before it\n", Printable(options.file), ticks);
  }
  return absl::OkStatus();
}

}  // namespace

void AddReplay(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("replay", "The same engine over a recording; incident changes as JSON lines");
  auto options = std::make_shared<ReplayOptions>();
  command->add_option("FILE", options->file, "what `outlierctl record` wrote")->required();
  command->add_option("--set", options->sets, "key.path=value over the recorded configuration; repeatable")->allow_extra_args(false);
  command->add_option("--since", options->since, "print only changes of this last part of the recording, such as 10m");
  command->add_option("--batch", options->batch, "ticks handed to the engine at once; the result is the same")
      ->check(CLI::Range(1u, 100000u))
      ->capture_default_str();
  command->callback([&context, options] { context.action = [&context, options] { return Replay(context, *options); }; });
}

}  // namespace outlier::ctl
