// outlierctl incidents, outlierctl show: what is wrong, in one line each and in full.
#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/feed_connection.h"
#include "userspace/outlierctl/filter_options.h"
#include "userspace/outlierctl/incident_view.h"
#include "userspace/outlierctl/text_output.h"

namespace outlier::ctl {
namespace {

struct IncidentsOptions {
  FilterOptions filter;
  std::string since;
};

void PrintList(Context& context, const std::vector<v1::Incident>& incidents) {
  if (incidents.empty()) {
    context.out << "no incidents\n";
    return;
  }
  Table table;
  table.AddRow({{"ID", Style::kDim}, {"STATE", Style::kDim}, {"SEVERITY", Style::kDim}, {"SCORE", Style::kDim, true},
                {"SINCE", Style::kDim}, {"WHAT", Style::kDim}});
  for (const v1::Incident& i : incidents) {
    const bool open = i.state() == v1::Incident::OPEN;
    table.AddRow({{i.id()},
                  {Word(i.state()) + (i.acknowledged() ? ", acknowledged" : ""), open ? Style::kBold : Style::kDim},
                  {Word(i.severity()), open ? SeverityStyle(i.severity()) : Style::kDim},
                  {fmt::format("{:.0f}", i.score()), Style::kPlain, true},
                  {RelativeTime(context, ToTime(i.onset_time()))},
                  {i.summary()}});
  }
  table.Print(context);
}

}  // namespace

absl::StatusOr<std::vector<v1::Incident>> FetchIncidents(FeedConnection& feed, const v1::Filter& filter, int64_t since_ns) {
  v1::ListIncidentsRequest request;
  *request.mutable_filter() = filter;
  if (since_ns > 0) *request.mutable_since() = ToProto(since_ns);
  std::vector<v1::Incident> incidents;
  do {
    auto answer = feed.Call(&v1::OutlierFeed::Stub::ListIncidents, request, "list incidents");
    if (!answer.ok()) return answer.status();
    incidents.insert(incidents.end(), answer->incidents().begin(), answer->incidents().end());
    request.set_page_token(answer->next_page_token());
  } while (!request.page_token().empty());
  return incidents;
}

absl::StatusOr<v1::Incident> FetchIncident(FeedConnection& feed, const std::string& id) {
  v1::GetIncidentRequest request;
  request.set_id(id);
  return feed.Call(&v1::OutlierFeed::Stub::GetIncident, request, fmt::format("get incident '{}'", id));
}

void AddIncidents(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("incidents", "Incidents, newest first");
  auto options = std::make_shared<IncidentsOptions>();
  options->filter.AddTo(*command, /*with_state=*/true);
  command->add_option("--since", options->since, "changed within this time, such as 1h");
  command->callback([&context, options] {
    context.action = [&context, options]() -> absl::Status {
      auto since = DurationOption("--since", options->since);
      if (!since.ok()) return since.status();
      auto feed = FeedConnection::Open(context.address);
      if (!feed.ok()) return feed.status();
      auto incidents = FetchIncidents(*feed, options->filter.filter(), *since);
      if (!incidents.ok()) return incidents.status();
      if (!context.json) {
        PrintList(context, *incidents);
        return absl::OkStatus();
      }
      for (const v1::Incident& i : *incidents) PrintJson(context, i);
      return absl::OkStatus();
    };
  });
}

void AddShow(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("show", "One incident in full");
  auto id = std::make_shared<std::string>();
  AddIncidentId(*command, id.get());
  command->callback([&context, id] {
    context.action = [&context, id]() -> absl::Status {
      auto feed = FeedConnection::Open(context.address);
      if (!feed.ok()) return feed.status();
      auto incident = FetchIncident(*feed, *id);
      if (!incident.ok()) return incident.status();
      if (context.json) {
        PrintJson(context, *incident);
      } else {
        PrintIncident(context, *incident);
      }
      return absl::OkStatus();
    };
  });
}

}  // namespace outlier::ctl
