// A stream sink at the end of a pipe, for tests that send its requests to a real server: sink_driver CONFIG, with a Sink of relay.proto as JSON.
// Each line of input asks for one thing, each line of output answers it:
//   {"do": "prepare"}                                    the next preparation, null where there is none
//   {"do": "prepared", "response": {...}}                what became of it
//   {"do": "check"}, {"do": "checked", "response": ...}  the request of a check, and its verdict: {"error": ""}
//   {"do": "setup"}                                      {"steps": [...]}
//   {"do": "encode", "findings": ["life", ...]}          a request; {"error": ...} where there is none
//   {"do": "judge", "findings": [...], "response": ...}  what became of them
//   {"do": "samples", "of": "host_status"}               {"requests": [...]}
//   {"do": "judge_samples", "response": ...}
// A finding is a function of examples.h by its name ("life" and "all" are several), "many:1000", or an IncidentChange of feed.proto as JSON.
// Bodies are base64. The time is always examples::Now().
#include <cstdio>
#include <iostream>
#include <map>
#include <span>
#include <stdexcept>

#include <google/protobuf/util/json_util.h>

#include "absl/strings/escaping.h"
#include "tests/sinks/examples.h"
#include "userspace/config/message_from_yaml.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using examples::Now;

template <class Message>
void Read(const Json& json, Message* message) {
  const auto status = google::protobuf::util::JsonStringToMessage(Dump(json), message);
  if (!status.ok()) throw std::invalid_argument(status.ToString());
}

std::vector<Finding> Named(const Json& wanted) {
  if (wanted.is_object()) {
    Finding finding;
    Read(wanted, &finding.change);
    finding.labels = std::make_shared<Labels>();
    return {finding};
  }
  const std::string name = wanted.get<std::string>();
  if (name.starts_with("many:")) return examples::Many(std::stoul(name.substr(5)));
  if (name == "life") return examples::Life();
  if (name == "all") return examples::All();
  static const auto& kNames = *new std::map<std::string, Finding (*)()>{
      {"opened", examples::Opened},           {"updated", examples::Updated},   {"acknowledged", examples::Acknowledged}, {"feedback", examples::Feedback},
      {"resolved", examples::Resolved},       {"silenced", examples::Silenced}, {"restart_loop", examples::RestartLoop},  {"minimal", examples::Minimal},
      {"hostile", examples::Hostile},         {"huge", examples::Huge},         {"gap_record", examples::GapRecord},      {"unknown_gap", examples::UnknownGap}};
  const auto found = kNames.find(name);
  if (found == kNames.end()) throw std::invalid_argument("no example is called " + name);
  return {found->second()};
}

std::vector<Finding> Findings(const Json& wanted) {
  std::vector<Finding> findings;
  for (const Json& one : wanted) {
    for (Finding& finding : Named(one)) findings.push_back(std::move(finding));
  }
  return findings;
}

Samples SamplesOf(const std::string& name) {
  if (name == "scores") return examples::Scores();
  if (name == "signals") return examples::Signals();
  if (name == "host_status") return examples::HostStatus();
  if (name == "hostile_samples") return examples::HostileSamples();
  throw std::invalid_argument("no example is called " + name);
}

Json ToJson(const Request& request) {
  Json headers = Json::array();
  for (const auto& [name, value] : request.headers) headers.push_back({name, value});
  return {{"method", request.method}, {"url", request.url}, {"headers", headers}, {"compress", request.compress}, {"body", absl::Base64Escape(request.body)}};
}

Json ToJson(const std::optional<Preparation>& preparation) {
  return preparation ? Json{{"request", ToJson(preparation->request)}, {"what", preparation->what}} : Json(nullptr);
}

Response ResponseOf(const Json& json) {
  Response response;
  if (json.contains("failure")) {
    response.failure = Response::Failure::kConnect;
    response.failure_text = json["failure"];
    return response;
  }
  response.status = json.at("status");
  for (const auto& [name, value] : json.at("headers").items()) response.headers.emplace_back(name, value);
  if (!absl::Base64Unescape(json.at("body").get<std::string>(), &response.body)) throw std::invalid_argument("the body is no base64");
  return response;
}

Json ToJson(const Outcome& outcome) {
  static constexpr const char* kKinds[] = {"items", "retry", "suspend", "split", "refused"};
  static constexpr const char* kItems[] = {"delivered", "retry", "refused", "expired"};
  Json items = Json::array();
  for (const ItemOutcome item : outcome.items) items.push_back(kItems[static_cast<size_t>(item)]);
  return {{"kind", kKinds[static_cast<size_t>(outcome.kind)]}, {"items", items}, {"reasons", outcome.reasons}, {"reason", outcome.reason}, {"warning", outcome.warning}};
}

Json Do(const Json& command, AnySink& any) {
  const std::string what = command.at("do");
  StreamSink& sink = *any.stream;
  const auto error = [](const absl::Status& status) { return Json{{"error", status.ToString()}}; };
  const WallTime now = Now() + std::chrono::seconds(command.value("after_seconds", 0));
  if (what == "prepare") return ToJson(sink.Prepare(now));
  if (what == "prepared") return ToJson(sink.Prepared(ResponseOf(command.at("response")), now));
  if (what == "check") return ToJson(sink.Check());
  if (what == "checked") {
    const absl::Status status = sink.Checked(ResponseOf(command.at("response")));
    return Json{{"error", status.ok() ? "" : status.ToString()}};
  }
  if (what == "setup") {
    const auto steps = sink.Setup();
    if (!steps.ok()) return error(steps.status());
    Json told = Json::array();
    for (const Sink::SetupStep& step : *steps) {
      told.push_back({{"request", ToJson(step.request)}, {"what", step.what}, {"optional", step.optional}});
    }
    return {{"steps", told}};
  }
  if (what == "encode") {
    const auto request = sink.Encode(Findings(command.at("findings")), Now());
    return request.ok() ? ToJson(*request) : error(request.status());
  }
  if (what == "judge") return ToJson(sink.Judge(ResponseOf(command.at("response")), Findings(command.at("findings"))));
  if (what == "samples") {
    Json requests = Json::array();
    for (const Request& request : sink.EncodeSamples(SamplesOf(command.at("of")), Now())) requests.push_back(ToJson(request));
    return {{"requests", requests}};
  }
  if (what == "judge_samples") return ToJson(sink.JudgeSamples(ResponseOf(command.at("response"))));
  throw std::invalid_argument("nobody knows how to do " + what);
}

int Run(const char* config) {
  SinkContext context;
  context.version = "0.1.0";
  context.relay_host = "relay-1";
  const Json given = Json::parse(config);
  FillDefaults(&context.config);
  for (const auto& [key, value] : given.items()) {  // the defaults of its kind, before what is given goes over them
    const auto* field = context.config.GetDescriptor()->FindFieldByName(key);
    if (field != nullptr && field->containing_oneof() != nullptr) FillDefaults(context.config.GetReflection()->MutableMessage(&context.config, field));
  }
  config::v1::Sink over;
  Read(given, &over);
  context.config.MergeFrom(over);
  absl::StatusOr<AnySink> sink = MakeSink(context);
  if (!sink.ok() || sink->stream == nullptr) {
    std::cerr << "sink_driver: " << (sink.ok() ? "no stream sink" : sink.status().ToString()) << "\n";
    return 2;
  }
  for (std::string line; std::getline(std::cin, line);) std::cout << Dump(Do(Json::parse(line), *sink)) << std::endl;
  return 0;
}

}  // namespace
}  // namespace outlier

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: sink_driver CONFIG\n";
    return 2;
  }
  try {
    return outlier::Run(argv[1]);
  } catch (const std::exception& error) {
    std::cerr << "sink_driver: " << error.what() << "\n";
    return 1;
  }
}
