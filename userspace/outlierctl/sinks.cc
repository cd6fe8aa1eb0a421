// outlierctl sinks: where each sink of the relay stands; retry NAME, dead-letters [NAME], resend NAME.
#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/relay_connection.h"
#include "userspace/outlierctl/text_output.h"

namespace outlier::ctl {
namespace {

using relay::v1::RelayAdmin;
using relay::v1::SinkStatus;

std::string StateWord(const SinkStatus& sink) {
  switch (sink.state()) {
    case SinkStatus::DELIVERING: return "delivering";
    case SinkStatus::BACKING_OFF: return "backing off";
    case SinkStatus::SUSPENDED: return "suspended";
    case SinkStatus::STALLED: return "stalled";
    default: return "unknown";
  }
}

Style StateStyle(const SinkStatus& sink) {
  return sink.state() == SinkStatus::DELIVERING ? Style::kGreen : sink.state() == SinkStatus::BACKING_OFF ? Style::kYellow : Style::kRed;
}

void PrintSinks(Context& context, const relay::v1::ListSinksResponse& response) {
  if (response.sinks().empty()) context.out << "the relay has no sinks; see sinks in its configuration\n";
  Table table;
  table.AddRow({{"SINK", Style::kDim}, {"KIND", Style::kDim}, {"STATE", Style::kDim}, {"SOURCE", Style::kDim}, {"POSITION", Style::kDim, true}, {"LAG", Style::kDim, true},
                {"DELIVERED", Style::kDim, true}, {"RETRIED", Style::kDim, true}, {"DEAD LETTERS", Style::kDim, true}, {"EXPIRED", Style::kDim, true}});
  for (const SinkStatus& sink : response.sinks()) {
    for (int i = 0; i < std::max(sink.sources_size(), 1); ++i) {
      const relay::v1::SourcePosition position = i < sink.sources_size() ? sink.sources(i) : relay::v1::SourcePosition{};
      const bool first = i == 0;
      const std::string lag = position.has_lag() ? HumanDuration(static_cast<double>(position.lag().seconds()) + position.lag().nanos() * 1e-9) : "-";
      const std::string host = position.host_name().empty() ? position.source() : position.host_name();
      table.AddRow({{first ? sink.name() : "", Style::kBold}, {first ? sink.kind() : ""}, {first ? StateWord(sink) : "", StateStyle(sink)},
                    {position.connected() ? host : host + " (away)"}, {fmt::format("{}/{}", position.sequence(), position.last_sequence()), Style::kPlain, true}, {lag, Style::kPlain, true},
                    {first ? std::to_string(sink.delivered()) : "", Style::kPlain, true}, {first ? std::to_string(sink.retried()) : "", Style::kPlain, true},
                    {first ? std::to_string(sink.dead_letters()) : "", sink.dead_letters() > 0 ? Style::kRed : Style::kPlain, true},
                    {first ? std::to_string(sink.expired()) : "", Style::kPlain, true}});
    }
  }
  if (!response.sinks().empty()) table.Print(context);
  for (const SinkStatus& sink : response.sinks()) {
    if (!sink.message().empty()) {
      const std::string again = sink.has_retry_time() ? fmt::format(", tried again at {}", ClockTime(context, ToTime(sink.retry_time()))) : "";
      context.out << fmt::format("{}: {}{}\n", Printable(sink.name()), Printable(sink.message(), 600), again);
    }
    if (sink.pages_withheld() > 0) context.out << fmt::format("{}: {} pages were held back, by its cap or because their workload flaps\n", Printable(sink.name()), sink.pages_withheld());
    for (const auto& position : sink.sources()) {
      if (!position.message().empty()) context.out << fmt::format("{}: {}\n", Printable(sink.name()), Printable(position.message(), 600));
    }
  }
}

absl::Status ListSinks(Context& context) {
  auto relay = RelayConnection::Open(context.relay_address);
  if (!relay.ok()) return relay.status();
  const auto response = relay->Call(&RelayAdmin::Stub::ListSinks, relay::v1::ListSinksRequest{}, "list sinks");
  if (!response.ok()) return response.status();
  if (!context.json) {
    PrintSinks(context, *response);
    return absl::OkStatus();
  }
  for (const SinkStatus& sink : response->sinks()) {
    if (!PrintJson(context, sink)) break;
  }
  return absl::OkStatus();
}

absl::Status RetrySink(Context& context, const std::string& name) {
  auto relay = RelayConnection::Open(context.relay_address);
  if (!relay.ok()) return relay.status();
  relay::v1::RetrySinkRequest request;
  request.set_name(name);
  const auto sink = relay->Call(&RelayAdmin::Stub::RetrySink, request, fmt::format("retry sink '{}'", name));
  if (!sink.ok()) return sink.status();
  if (context.json) {
    PrintJson(context, *sink);
  } else {
    context.out << fmt::format("{} is tried now; `outlierctl sinks` shows what comes of it\n", Printable(name));
  }
  return absl::OkStatus();
}

absl::Status ListDeadLetters(Context& context, const std::string& sink) {
  auto relay = RelayConnection::Open(context.relay_address);
  if (!relay.ok()) return relay.status();
  relay::v1::ListDeadLettersRequest request;
  request.set_sink(sink);
  const auto response = relay->Call(&RelayAdmin::Stub::ListDeadLetters, request, "list dead letters");
  if (!response.ok()) return response.status();
  if (!context.json && response->dead_letters().empty()) context.out << "no dead letters\n";
  for (const relay::v1::DeadLetter& letter : response->dead_letters()) {
    if (context.json) {
      if (!PrintJson(context, letter)) break;
      continue;
    }
    context.out << fmt::format("{} {} {}: {} ({}): {}\n", Printable(letter.id()), Printable(letter.sink()), RelativeTime(context, ToTime(letter.time())),
                               Printable(letter.change().incident().id()), Word(letter.change().kind()), Printable(letter.reason(), 400));
  }
  return absl::OkStatus();
}

absl::Status Resend(Context& context, const std::string& sink, const std::vector<std::string>& ids) {
  auto relay = RelayConnection::Open(context.relay_address);
  if (!relay.ok()) return relay.status();
  relay::v1::ResendDeadLettersRequest request;
  request.set_sink(sink);
  for (const std::string& id : ids) request.add_ids(id);
  const auto response = relay->Call(&RelayAdmin::Stub::ResendDeadLetters, request, fmt::format("resend dead letters of '{}'", sink));
  if (!response.ok()) return response.status();
  if (context.json) {
    PrintJson(context, *response);
  } else {
    context.out << fmt::format("{} put before {} again; what it refuses again stays a dead letter\n", response->resent(), Printable(sink));
  }
  return absl::OkStatus();
}

}  // namespace

void AddSinks(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("sinks", "Where each sink of the relay stands: position, lag, retries, dead letters");
  command->require_subcommand(0, 1);
  struct Options {
    std::string sink;
    std::vector<std::string> ids;
  };
  auto options = std::make_shared<Options>();
  CLI::App* retry = command->add_subcommand("retry", "Tries a sink at once that is backing off or suspended");
  retry->add_option("NAME", options->sink, "of the sink")->required();
  CLI::App* letters = command->add_subcommand("dead-letters", "What a sink refused for good");
  letters->add_option("NAME", options->sink, "of the sink; none = all");
  CLI::App* resend = command->add_subcommand("resend", "Puts dead letters before their sink again");
  resend->add_option("NAME", options->sink, "of the sink")->required();
  resend->add_option("IDS", options->ids, "of dead letters; none = all");
  command->callback([&context, options, retry, letters, resend] {
    context.action = [&context, options, retry, letters, resend]() -> absl::Status {
      if (retry->parsed()) return RetrySink(context, options->sink);
      if (letters->parsed()) return ListDeadLetters(context, options->sink);
      if (resend->parsed()) return Resend(context, options->sink, options->ids);
      return ListSinks(context);
    };
  });
}

}  // namespace outlier::ctl
