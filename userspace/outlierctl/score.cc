// outlierctl score: the engine over someone's own table.
#include <fmt/format.h>

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
      return ScoreTable(options->file, static_cast<double>(*interval) * 1e-9, &context.out);
    };
  });
}

}  // namespace outlier::ctl
