// outlierctl silence add | list | expire: whom the relay pages nobody for, until when, by whose word.
#include <cctype>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "userspace/base/text.h"
#include "userspace/config/quantity.h"
#include "userspace/outlierctl/author.h"
#include "userspace/outlierctl/commands.h"
#include "userspace/outlierctl/relay_connection.h"
#include "userspace/outlierctl/text_output.h"

namespace outlier::ctl {
namespace {

using relay::v1::RelayAdmin;
using relay::v1::Silence;

struct Options {
  std::string workload, host, signal, max_severity, lasts, starts, ends, author, reason, id;
  std::vector<std::string> patterns, labels;
  bool expired = false;
};

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp out;
  const int64_t ns = absl::ToUnixNanos(time);
  out.set_seconds(ns / 1'000'000'000);
  out.set_nanos(static_cast<int32_t>(ns % 1'000'000'000));
  return out;
}

absl::StatusOr<absl::Time> ParseTime(const char* option, const std::string& text) {
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    return absl::InvalidArgumentError(fmt::format("{} '{}': expected RFC 3339, such as 2026-03-01T10:00:00Z", option, Printable(text, 60)));
  }
  return time;
}

std::string Words(const relay::v1::Matcher& match) {
  std::vector<std::string> words;
  if (!match.workload().empty()) words.push_back("workload " + Printable(match.workload(), 100));
  if (!match.host().empty()) words.push_back("host " + Printable(match.host(), 100));
  if (!match.signal().empty()) words.push_back("signal " + Printable(match.signal(), 100));
  for (const int pattern : match.patterns()) words.push_back("pattern " + Word(static_cast<v1::Incident::Pattern>(pattern)));
  for (const std::string& label : match.labels()) words.push_back(Printable(label, 100));
  if (match.max_severity() != v1::Incident::SEVERITY_UNSPECIFIED && match.max_severity() != v1::Incident::CRITICAL) words.push_back("up to " + Word(match.max_severity()));
  return words.empty() ? "everything" : fmt::format("{}", fmt::join(words, ", "));
}

void PrintSilence(Context& context, const Silence& silence) {
  if (context.json) {
    PrintJson(context, silence);
    return;
  }
  const absl::Time ends = ToTime(silence.ends());
  context.out << fmt::format("{}  {}: {}, until {} by {}: {}{}\n", Printable(silence.id()), ends <= context.now() ? "ended" : ToTime(silence.starts()) > context.now() ? "to come" : "active",
                             Words(silence.match()), ClockTime(context, ends), Printable(silence.author(), 64), Printable(silence.reason(), 300),
                             silence.read_only() ? " (of the configuration)" : "");
}

absl::Status Add(Context& context, const Options& options) {
  relay::v1::AddSilenceRequest request;
  Silence& silence = *request.mutable_silence();
  relay::v1::Matcher& match = *silence.mutable_match();
  match.set_workload(options.workload);
  match.set_host(options.host);
  match.set_signal(options.signal);
  for (std::string word : options.patterns) {
    for (char& c : word) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    v1::Incident::Pattern pattern;
    if (!v1::Incident::Pattern_Parse(word, &pattern)) return absl::InvalidArgumentError(fmt::format("--pattern '{}': one of spike, step, drift, silence, count, shape", Printable(word, 40)));
    match.add_patterns(pattern);
  }
  for (const std::string& label : options.labels) match.add_labels(label);
  if (!options.max_severity.empty()) {
    std::string word = options.max_severity;
    for (char& c : word) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    v1::Incident::Severity severity;
    if (!v1::Incident::Severity_Parse(word, &severity)) return absl::InvalidArgumentError(fmt::format("--max-severity '{}': one of warning, minor, major, critical", Printable(word, 40)));
    match.set_max_severity(severity);
  }
  if (match.ByteSizeLong() == 0) return absl::InvalidArgumentError("a silence for everything: say which, such as --workload 'backup*', or --workload '*' where you mean it");
  absl::Time starts = context.now();
  if (!options.starts.empty()) {
    const auto time = ParseTime("--starts", options.starts);
    if (!time.ok()) return time.status();
    starts = *time;
  }
  absl::Time ends;
  if (!options.ends.empty()) {
    const auto time = ParseTime("--ends", options.ends);
    if (!time.ok()) return time.status();
    ends = *time;
  } else {
    const auto lasts = ParseDuration(options.lasts);
    if (!lasts.ok()) return absl::InvalidArgumentError(fmt::format("--for: {}", std::string(lasts.status().message())));
    ends = starts + absl::Nanoseconds(*lasts);
  }
  *silence.mutable_starts() = ToProto(starts);
  *silence.mutable_ends() = ToProto(ends);
  silence.set_author(options.author.empty() ? Author() : options.author);
  silence.set_reason(options.reason);
  auto relay = RelayConnection::Open(context.relay_address);
  if (!relay.ok()) return relay.status();
  const auto added = relay->Call(&RelayAdmin::Stub::AddSilence, request, "add a silence");
  if (!added.ok()) return added.status();
  PrintSilence(context, *added);
  return absl::OkStatus();
}

absl::Status List(Context& context, const Options& options) {
  auto relay = RelayConnection::Open(context.relay_address);
  if (!relay.ok()) return relay.status();
  relay::v1::ListSilencesRequest request;
  request.set_expired(options.expired);
  const auto response = relay->Call(&RelayAdmin::Stub::ListSilences, request, "list silences");
  if (!response.ok()) return response.status();
  if (response->silences().empty() && !context.json) context.out << "no silences\n";
  for (const Silence& silence : response->silences()) PrintSilence(context, silence);
  return absl::OkStatus();
}

absl::Status Expire(Context& context, const Options& options) {
  auto relay = RelayConnection::Open(context.relay_address);
  if (!relay.ok()) return relay.status();
  relay::v1::ExpireSilenceRequest request;
  request.set_id(options.id);
  const auto silence = relay->Call(&RelayAdmin::Stub::ExpireSilence, request, fmt::format("expire silence '{}'", options.id));
  if (!silence.ok()) return silence.status();
  PrintSilence(context, *silence);
  return absl::OkStatus();
}

}  // namespace

void AddSilence(CLI::App& app, Context& context) {
  CLI::App* command = app.add_subcommand("silence", "Nobody is paged for what it matches; it is still indexed, and told there");
  command->require_subcommand(1);
  auto options = std::make_shared<Options>();
  CLI::App* add = command->add_subcommand("add", "Silences incidents from now, or --starts, on");
  add->add_option("--workload", options->workload, "glob on its name");
  add->add_option("--host", options->host, "glob on the host's name");
  add->add_option("--signal", options->signal, "glob on the signal of any contribution");
  add->add_option("--pattern", options->patterns, "spike, step, drift, silence, count or shape; repeatable");
  add->add_option("--label", options->labels, "key=glob; repeatable");
  add->add_option("--max-severity", options->max_severity, "what is worse pages all the same");
  add->add_option("--starts", options->starts, "RFC 3339; a maintenance window to come");
  CLI::Option_group* end = add->add_option_group("end");
  end->add_option("--for", options->lasts, "such as 2h");
  end->add_option("--ends", options->ends, "RFC 3339");
  end->require_option(1);
  add->add_option("--reason", options->reason, "why; people will ask")->required();
  add->add_option("--author", options->author, "who; else whoever is logged in");
  CLI::App* list = command->add_subcommand("list", "Silences that are active or to come");
  list->add_flag("--expired", options->expired, "those that ended within a week, too");
  CLI::App* expire = command->add_subcommand("expire", "Ends one now");
  expire->add_option("ID", options->id, "of the silence")->required();
  command->callback([&context, options, add, list] {
    context.action = [&context, options, add, list]() -> absl::Status {
      if (add->parsed()) return Add(context, *options);
      return list->parsed() ? List(context, *options) : Expire(context, *options);
    };
  });
}

}  // namespace outlier::ctl
