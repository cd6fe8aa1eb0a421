// outlierctl ack, outlierctl feedback: what people say of an incident, kept in the journal and told in the feed.
#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/outlierctl/author.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/feed_connection.h"
#include "userspace/outlierctl/incident_view.h"
#include "userspace/outlierctl/text_output.h"

namespace outlier::ctl {
namespace {

struct FeedbackOptions {
  std::string id;
  bool false_alarm = false;
  bool useful = false;
};

absl::Status Print(Context& context, const absl::StatusOr<v1::IncidentChange>& change) {
  if (!change.ok()) return change.status();
  if (context.json) {
    PrintJson(context, *change);
  } else {
    context.out << fmt::format("{}: {}\n", Printable(change->incident().id()), ChangeLine(context, *change));
  }
  return absl::OkStatus();
}

}  // namespace

void AddAck(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("ack", "Says that somebody looks after an incident");
  auto id = std::make_shared<std::string>();
  AddIncidentId(*command, id.get());
  command->callback([&context, id] {
    context.action = [&context, id]() -> absl::Status {
      auto feed = FeedConnection::Open(context.address);
      if (!feed.ok()) return feed.status();
      v1::AcknowledgeIncidentRequest request;
      request.set_id(*id);
      request.set_author(Author());
      return Print(context, feed->Call(&v1::OutlierFeed::Stub::AcknowledgeIncident, request,
                                       fmt::format("acknowledge incident '{}'", *id), kCommandDeadline));
    };
  });
}

void AddFeedback(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("feedback", "Says whether an incident meant something");
  auto options = std::make_shared<FeedbackOptions>();
  AddIncidentId(*command, &options->id);
  CLI::Option_group* verdict = command->add_option_group("verdict");
  verdict->add_flag("--false-alarm", options->false_alarm, "it meant nothing");
  verdict->add_flag("--useful", options->useful, "it was worth telling");
  verdict->require_option(1);
  command->callback([&context, options] {
    context.action = [&context, options]() -> absl::Status {
      auto feed = FeedConnection::Open(context.address);
      if (!feed.ok()) return feed.status();
      v1::SubmitFeedbackRequest request;
      request.set_id(options->id);
      request.set_author(Author());
      request.set_verdict(options->useful ? v1::SubmitFeedbackRequest::USEFUL : v1::SubmitFeedbackRequest::FALSE_ALARM);
      return Print(context, feed->Call(&v1::OutlierFeed::Stub::SubmitFeedback, request,
                                       fmt::format("give feedback on incident '{}'", options->id), kCommandDeadline));
    };
  });
}

}  // namespace outlier::ctl
