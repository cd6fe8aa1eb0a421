// outlierctl score: the engine over someone's own table.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "userspace/detectors/csv_table.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/filter_options.h"

namespace outlier::ctl {
namespace {

struct ScoreOptions {
  std::string file;
  std::string interval = "60s";
};

}  // namespace

void AddScore(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("score", "How unusual each row of a table is: row,tail_probability,score,features as CSV");
  auto options = std::make_shared<ScoreOptions>();
  command->add_option("FILE", options->file, "CSV with a header line, plain or .gz; columns timestamp, label, is_test are not features")->required();
  command->add_option("--interval", options->interval, "time from one row to the next")->capture_default_str();
  command->callback([&context, options] {
    context.action = [&context, options]() -> absl::Status {
      const auto interval = DurationOption("--interval", options->interval);
      if (!interval.ok()) return interval.status();
      if (*interval <= 0) return absl::InvalidArgumentError(fmt::format("--interval '{}': must be more than nothing", options->interval));
      // For a person who waits; over a file or a pipe nobody reads it. Not where the rows themselves run over the terminal.
      const bool watched = isatty(STDERR_FILENO) == 1 && !context.terminal;
      const auto progress = [](int64_t rows) { fmt::print(stderr, "\rrow {}", rows); };
      ScoreListener listener;
      if (watched) listener.progress = progress;
      listener.warn = [&context](const std::string& warning) { context.err << "outlierctl: " << warning << "\n"; };
      const absl::Status status = ScoreTable(options->file, static_cast<double>(*interval) * 1e-9, &context.out, listener);
      if (watched) fmt::print(stderr, "\r\033[K");
      return status;
    };
  });
}

}  // namespace outlier::ctl
