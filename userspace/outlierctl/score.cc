// outlierctl score: the engine over someone's own table.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <optional>

#include "userspace/base/text.h"
#include "userspace/config/config.h"
#include "userspace/detectors/csv_table.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/filter_options.h"

namespace outlier::ctl {
namespace {

struct ScoreOptions {
  std::string file;
  std::string interval = "60s";
  std::vector<std::string> sets;
};

bool IsUsed(std::string_view assignment) { return assignment.starts_with("detection.") || assignment.starts_with("detection="); }

// Of the daemon's configuration, what has a meaning for a table. The daemon's defaults are not its own, so what is left alone is absent:
// it follows whatever lies below.
absl::Status ReadSets(const std::vector<std::string>& sets, TableScorer::Options* table) {
  const auto over = ParseConfig("detection: {warm_up: 1s, half_life: 1d}", "score", sets);
  if (!over.ok()) return over.status();
  const auto other = ParseConfig("detection: {warm_up: 2s, half_life: 2d}", "score", sets);
  if (!other.ok()) return other.status();
  const auto given = [](int64_t one, int64_t two) { return one == two ? std::optional(static_cast<double>(one) * 1e-9) : std::nullopt; };
  table->half_life_seconds = given(over->detection().half_life(), other->detection().half_life());
  table->warm_up_seconds = given(over->detection().warm_up(), other->detection().warm_up());
  return absl::OkStatus();
}

}  // namespace

void AddScore(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("score", "How unusual each row of a table is: row,tail_probability,score,features as CSV, or an object a line");
  auto options = std::make_shared<ScoreOptions>();
  command->add_option("FILE", options->file, "CSV with a header line, plain or .gz, - for standard input; columns timestamp, label, is_test are not features")->required();
  command->add_option("--interval", options->interval, "time from one row to the next")->capture_default_str();
  command
      ->add_option("--set", options->sets,
                   "key.path=value as for outlierd; repeatable. Used: detection.half_life (else 16d, at least 500 rows), detection.warm_up (else 60 rows); "
                   "all other keys are checked and say that they have no effect here")
      ->allow_extra_args(false);
  command->callback([&context, options] {
    context.action = [&context, options]() -> absl::Status {
      const auto interval = DurationOption("--interval", options->interval);
      if (!interval.ok()) return interval.status();
      if (*interval <= 0) return absl::InvalidArgumentError(fmt::format("--interval '{}': must be more than nothing", options->interval));
      TableScorer::Options table{.interval_seconds = static_cast<double>(*interval) * 1e-9};
      if (const absl::Status read = ReadSets(options->sets, &table); !read.ok()) return read;
      const auto warn = [&context](const std::string& warning) { context.err << "outlierctl: " << Printable(warning) << "\n"; };
      for (const std::string& set : options->sets) {
        if (!IsUsed(set)) warn(fmt::format("--set {}: has no effect on a table; used: detection.half_life, detection.warm_up", set));
      }
      // For a person who waits; over a file or a pipe nobody reads it. Not where the rows themselves run over the terminal.
      const bool watched = isatty(STDERR_FILENO) == 1 && !context.terminal;
      const auto progress = [](int64_t rows) { fmt::print(stderr, "\rrow {}", rows); };
      ScoreListener listener;
      if (watched) listener.progress = progress;
      listener.warn = warn;
      const absl::Status status = ScoreTable(options->file, table, {&context.out, context.json, context.terminal}, listener);
      if (watched) fmt::print(stderr, "\r\033[K");
      return status;
    };
  });
}

}  // namespace outlier::ctl
