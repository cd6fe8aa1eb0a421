// outlierctl status: one object that says whether the daemon keeps its promises.
#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/feed_connection.h"
#include "userspace/outlierctl/probe_report.h"
#include "userspace/outlierctl/text_output.h"

namespace outlier::ctl {
namespace {

std::string ThresholdText(const v1::Budgets& b) {
  std::string text = fmt::format("told: what chance brings at most {:.3g} times a week", b.threshold_per_week());
  if (b.stretched() > 1) text += fmt::format(", {:.2g} times rarer than anything that could have been seen yet", b.stretched());
  if (b.from_prior()) text += "; by what is known of other hosts, until this one was watched for longer";
  return text;
}

void PrintBudgets(Context& context, const v1::Status& status) {
  const v1::Budgets& b = status.budgets();
  const v1::Overhead& o = status.overhead();
  Table table;
  table.AddRow({{"budget", Style::kDim}, {"promised", Style::kDim}, {"achieved", Style::kDim}});
  table.AddRow({{"false alarms a week"},
                {fmt::format("<= {:.3g}", b.false_alarms_per_week_promised())},
                {fmt::format("{:.3g} a week (95 %: {:.2g} to {:.2g}) over {}, {:.2g} expected; {:.0f} called false, {:.0f} useful",
                             b.false_alarms_per_week_achieved(), b.false_alarms_per_week_lower(), b.false_alarms_per_week_upper(),
                             HumanDuration(b.watched_seconds()), b.false_alarms_per_week_expected(), b.false_alarms_confirmed(),
                             b.useful_confirmed())}});
  table.AddRow({{""}, {""}, {ThresholdText(b), Style::kDim}});
  table.AddRow({{"CPU of one core"},
                {fmt::format("<= {:.3g} %", b.cpu_percent_promised())},
                {fmt::format("{:.2f} % ({:.2f} % in the kernel, {:.2f} % of its own)", b.cpu_percent_achieved(),
                             o.cpu_in_kernel_percent(), o.cpu_own_percent()),
                 b.cpu_percent_achieved() > b.cpu_percent_promised() ? Style::kYellow : Style::kPlain}});
  table.AddRow({{"memory"},
                {"<= " + HumanValue(static_cast<double>(b.memory_promised_bytes()), "By")},
                {fmt::format("{} ({} resident, {} maps)", HumanValue(static_cast<double>(b.memory_achieved_bytes()), "By"),
                             HumanValue(static_cast<double>(o.resident_set_bytes()), "By"),
                             HumanValue(static_cast<double>(o.map_memory_bytes()), "By")),
                 b.memory_achieved_bytes() > b.memory_promised_bytes() ? Style::kYellow : Style::kPlain}});
  table.Print(context);
}

void PrintLosses(Context& context, const v1::Status& status) {
  Table table;
  for (const v1::LossCounter& loss : status.losses()) {
    table.AddRow({{loss.name()},
                  {std::to_string(loss.count()), loss.count() > 0 ? Style::kYellow : Style::kPlain, true},
                  {loss.meaning(), Style::kDim}});
  }
  context.out << "\nlost\n";
  if (status.losses().empty()) context.out << "  nothing is counted\n";
  table.Print(context, "  ");
}

}  // namespace

void PrintProbes(Context& context, const v1::Status& status) {
  Table table;
  for (const v1::ProbeState& probe : status.probes()) {
    const Style style = probe.state() == v1::ProbeState::ON       ? Style::kGreen
                        : probe.state() == v1::ProbeState::FAILED ? Style::kRed
                                                                  : Style::kYellow;
    const std::string cost = probe.nanoseconds_per_run() <= 0 ? "" : fmt::format("{} runs, {:.0f} ns each", probe.runs(), probe.nanoseconds_per_run());
    std::string remark = probe.reason();
    if (!probe.blind_to().empty()) remark += (remark.empty() ? "does not see: " : "; does not see: ") + probe.blind_to();
    table.AddRow({{probe.name()}, {Word(probe.state()), style}, {cost, Style::kDim}, {remark}});
  }
  table.Print(context, "  ");
}

void AddStatus(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("status", "What is watched, budgets promised and achieved, losses, probes");
  command->callback([&context] {
    context.action = [&context]() -> absl::Status {
      auto feed = FeedConnection::Open(context.address);
      if (!feed.ok()) return feed.status();
      auto answer = feed->Call(&v1::OutlierFeed::Stub::GetStatus, v1::GetStatusRequest(), "ask for the status");
      if (!answer.ok()) return answer.status();
      const v1::Status& status = *answer;
      if (context.json) {
        PrintJson(context, status);
        return absl::OkStatus();
      }
      context.out << fmt::format("outlierd {} on {}, up {}, tick {}, mode {}\n", Printable(status.version()),
                                 Printable(status.source().host_name()),
                                 HumanDuration(static_cast<double>(status.uptime().seconds())), status.ticks(), Printable(status.mode()));
      context.out << fmt::format("{} processes in {} workloads ({} still learning), {} series, {} open incidents, {} changes in the feed\n\n",
                                 status.processes(), status.workloads(), status.warming_up(), status.series(),
                                 status.open_incidents(), status.last_sequence());
      PrintBudgets(context, status);
      PrintLosses(context, status);
      context.out << "\nprobes\n";
      PrintProbes(context, status);
      for (const std::string& message : status.messages()) context.out << "\nnote: " << Printable(message) << "\n";
      return absl::OkStatus();
    };
  });
}

}  // namespace outlier::ctl
