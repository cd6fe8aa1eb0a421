// outlierctl workloads, outlierctl top: what runs here and how unusual each is now.
#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/filter_options.h"
#include "userspace/outlierctl/text_output.h"
#include "userspace/outlierctl/workload_table.h"

namespace outlier::ctl {
namespace {

constexpr size_t kNameBytes = 60;  // a table, not an inventory: `--format json` has names in full

struct TopOptions {
  bool once = false;
  std::string interval = "2s";
};

absl::Status PrintOnce(Context& context, FeedConnection& feed, const std::string& glob, bool sorted) {
  auto workloads = FetchWorkloads(feed, glob);
  if (!workloads.ok()) return workloads.status();
  if (sorted) SortMostAnomalousFirst(&*workloads);
  if (context.json) {
    for (const v1::WorkloadState& w : *workloads) PrintJson(context, w);
  } else {
    PrintWorkloads(context, *workloads);
  }
  context.out.flush();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<v1::WorkloadState>> FetchWorkloads(FeedConnection& feed, const std::string& glob) {
  v1::ListWorkloadsRequest request;
  request.mutable_filter()->set_workload(glob);
  auto answer = feed.Call(&v1::OutlierFeed::Stub::ListWorkloads, request, "list workloads");
  if (!answer.ok()) return answer.status();
  return std::vector<v1::WorkloadState>(answer->workloads().begin(), answer->workloads().end());
}

void SortMostAnomalousFirst(std::vector<v1::WorkloadState>* workloads) {
  std::stable_sort(workloads->begin(), workloads->end(), [](const v1::WorkloadState& a, const v1::WorkloadState& b) {
    return std::make_tuple(-a.score(), -a.cpu_utilization(), a.workload().name()) <
           std::make_tuple(-b.score(), -b.cpu_utilization(), b.workload().name());
  });
}

void PrintWorkloads(Context& context, const std::vector<v1::WorkloadState>& workloads) {
  Table table;
  std::vector<Table::Cell> header;
  for (const char* title : {"SCORE", "WORKLOAD", "KIND", "PROCESSES", "CPU", "MEMORY", "RESTARTS", "UPTIME", ""}) {
    const std::string_view t = title;
    header.push_back({title, Style::kDim, t != "WORKLOAD" && t != "KIND" && !t.empty()});
  }
  table.AddRow(header);
  for (const v1::WorkloadState& w : workloads) {
    table.AddRow({{fmt::format("{:.0f}", w.score()), ScoreStyle(w.score()), true},
                  {Printable(w.workload().name(), kNameBytes), w.score() >= 25 ? Style::kBold : Style::kPlain},
                  {Word(w.workload().kind())},
                  {std::to_string(w.processes()), Style::kPlain, true},
                  {fmt::format("{:.1f} %", w.cpu_utilization() * 100), Style::kPlain, true},
                  {HumanValue(static_cast<double>(w.memory_bytes()), "By"), Style::kPlain, true},
                  {std::to_string(w.restarts()), Style::kPlain, true},
                  {w.uptime_seconds() > 0 ? HumanDuration(w.uptime_seconds()) : "-", Style::kPlain, true},
                  {w.warming_up() ? "learning" : "", Style::kDim}});
  }
  table.Print(context);
}

void AddWorkloads(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("workloads", "One line each: name, kind, processes, CPU, memory, restarts, score now");
  auto glob = std::make_shared<std::string>();
  command->add_option("--workload", *glob, "only workloads whose name matches this glob");
  command->callback([&context, glob] {
    context.action = [&context, glob]() -> absl::Status {
      auto feed = FeedConnection::Open(context.address);
      if (!feed.ok()) return feed.status();
      return PrintOnce(context, *feed, *glob, /*sorted=*/false);
    };
  });
}

void AddTop(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("top", "Live table, most anomalous workload first; Ctrl-C ends it");
  auto options = std::make_shared<TopOptions>();
  command->add_flag("--once", options->once, "print the table once and end");
  command->add_option("--interval", options->interval, "time between two tables")->capture_default_str();
  command->callback([&context, options] {
    context.action = [&context, options]() -> absl::Status {
      auto interval = DurationOption("--interval", options->interval);
      if (!interval.ok()) return interval.status();
      auto feed = FeedConnection::Open(context.address);
      if (!feed.ok()) return feed.status();
      const auto pause = std::chrono::milliseconds(std::max<int64_t>(100, *interval / 1'000'000));
      for (bool first = true;; first = false) {
        if (context.terminal && !options->once && !context.json) context.out << (first ? "\x1b[2J\x1b[H" : "\x1b[H\x1b[J");
        if (!context.json && !options->once) context.out << "outlierctl top, " << ClockTime(context, context.now()) << "\n";
        if (absl::Status s = PrintOnce(context, *feed, "", /*sorted=*/true); !s.ok()) return s;
        if (options->once || !context.out.good() || context.interrupt.WaitFor(pause)) return absl::OkStatus();
      }
    };
  });
}

}  // namespace outlier::ctl
