#include "userspace/outlier_relay/check.h"

#include <grpcpp/grpcpp.h>

#include <iostream>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "outlier/v1/feed.grpc.pb.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/delivery/secret_file.h"
#include "userspace/relay/relay.h"
#include "userspace/sinks/sink.h"
#include "userspace/sources/feed_channel.h"
#include "userspace/transport/transport.h"

namespace outlier {
namespace {

constexpr int kMostPreparations = 10;

// All that has to come before the sink takes anything.
absl::Status PrepareSink(Sink& sink, Transport& transport, WallTime now) {
  for (int i = 0; i < kMostPreparations; ++i) {
    const auto preparation = sink.Prepare(now);
    if (!preparation) return absl::OkStatus();
    const Outcome outcome = sink.Prepared(transport.Send(preparation->request), now);
    if (outcome.kind != Outcome::Kind::kItems) return absl::UnavailableError(fmt::format("cannot {}: {}", preparation->what, outcome.reason));
  }
  return absl::InternalError("is never ready");
}

// Every key and password that the configuration names: a sink reads its own only when it has something to say. Not the key of `setup`, which
// the account of the relay need not be able to read.
absl::Status ReadSecrets(const google::protobuf::Message& message) {
  std::vector<const google::protobuf::FieldDescriptor*> given;
  const auto* reflection = message.GetReflection();
  reflection->ListFields(message, &given);
  for (const auto* field : given) {
    if (field->is_repeated() || field->name() == "setup_api_key_file") continue;
    absl::Status status;
    if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      status = ReadSecrets(reflection->GetMessage(message, field));
    } else if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING && std::string_view(field->name()).ends_with("_file")) {
      status = SecretFile(reflection->GetString(message, field)).Read().status();
    }
    if (!status.ok()) return absl::Status(status.code(), fmt::format("{}: {}", field->name(), MessageOf(status)));
  }
  return absl::OkStatus();
}

// Its own part of the configuration: certificates, beside it, are told of by the connection.
absl::Status ReadSecretsOf(const config::v1::Sink& sink) {
  const auto* kind = sink.GetReflection()->GetOneofFieldDescriptor(sink, config::v1::Sink::descriptor()->oneof_decl(0));
  return kind == nullptr ? absl::OkStatus() : ReadSecrets(sink.GetReflection()->GetMessage(sink, kind));
}

absl::Status AskServer(Sink& sink, Transport& transport, bool* asked) {
  const std::vector<Preparation> checks = sink.CheckEach();
  *asked = !checks.empty();
  absl::Status all;
  for (const Preparation& check : checks) {
    const absl::Status status = sink.Checked(transport.Send(check.request));
    if (status.ok()) continue;
    all = absl::Status(status.code(), fmt::format("{}{}cannot {}: {}", MessageOf(all), all.ok() ? "" : "; ", check.what, MessageOf(status)));
  }
  return all;
}

absl::Status CheckSink(const config::v1::Sink& config, Sink& sink, Transport& transport, WallTime now, bool* asked) {
  absl::Status status = ReadSecretsOf(config);
  if (status.ok()) status = PrepareSink(sink, transport, now);
  return status.ok() ? AskServer(sink, transport, asked) : status;
}

std::string RouteWords(const config::v1::Route& route) {
  std::string words = fmt::format("incidents from {} on", route.min_severity());
  if (!route.workload().empty()) words += fmt::format(", of workloads {}", route.workload());
  if (!route.host().empty()) words += fmt::format(", of hosts {}", route.host());
  if (!route.patterns().empty()) words += fmt::format(", of pattern {}", fmt::join(route.patterns(), " or "));
  if (!route.labels().empty()) words += fmt::format(", where {}", fmt::join(route.labels(), " and "));
  return words;
}

absl::Status CheckSource(const std::string& address, const config::v1::SourceTls& tls, std::string* words) {
  const auto channel = OpenFeedChannel(address, tls);
  if (!channel.ok()) return channel.status();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  v1::Status status;
  const grpc::Status answer = v1::OutlierFeed::NewStub(*channel)->GetStatus(&context, {}, &status);
  if (!answer.ok()) return absl::UnavailableError(fmt::format("does not answer: {}", Printable(WhyNot(answer, address, tls), 300)));
  *words = fmt::format("outlierd {} on {}, {} changes, {} incidents open", Printable(status.version(), 40), Printable(status.source().host_name(), 200), status.last_sequence(),
                       status.open_incidents());
  return absl::OkStatus();
}

void Tell(const std::string& name, const absl::Status& status, const std::string& words) {
  std::cout << fmt::format("{:<8} {:<24} {}\n", status.ok() ? "ok" : "FAILED", name, status.ok() ? words : Printable(MessageOf(status), 600));
}

}  // namespace

int CheckSinks(const config::v1::Relay& config, const std::string& version, const std::string& host, WallTime now) {
  bool well = true;
  for (const std::string& source : config.sources()) {
    std::string words;
    const absl::Status status = CheckSource(source, config.source_tls(), &words);
    Tell(source, status, words);
    well = well && status.ok();
  }
  for (const config::v1::Sink& one : config.sinks()) {
    auto sink = MakeSink({one, version, host});
    auto transport = MakeTransport(one.connection(), "outlier-relay/" + version);
    bool asked = false;
    const absl::Status status = CheckSink(one, sink->base(), **transport, now, &asked);
    Tell(one.name(), status, fmt::format("{}: would {} {}{}", sink->kind, sink->state ? "be told what is open of" : "get every change of", RouteWords(one.route()),
                                         asked ? "" : "; its server was not asked, for it takes no request that changes nothing"));
    well = well && status.ok();
  }
  return well ? 0 : 1;
}

absl::Status SetUpSink(const config::v1::Relay& config, const std::string& name, const std::string& version, const std::string& host, bool dry_run) {
  for (const config::v1::Sink& one : config.sinks()) {
    if (one.name() != name) continue;
    auto sink = MakeSink({one, version, host});
    auto transport = MakeTransport(one.connection(), "outlier-relay/" + version);
    if (!dry_run) {
      // That it is the right server, not yet that it is set up.
      bool asked = false;
      if (absl::Status status = AskServer(sink->base(), **transport, &asked); !status.ok()) return status;
    }
    auto steps = sink->base().Setup();
    if (!steps.ok()) return steps.status();
    if (steps->empty()) {
      std::cout << fmt::format("{} ({}) needs no setup\n", name, sink->kind);
      return absl::OkStatus();
    }
    for (const Sink::SetupStep& step : *steps) {
      if (dry_run) {
        std::cout << fmt::format("would   {} {}\n", step.request.method, step.what);
        continue;
      }
      Response response = (*transport)->Send(step.request);
      if (response.answered() && response.status == 409 && step.look) {
        response = (*transport)->Send(*step.look);
        const auto instead = response.answered() && response.status == 200 ? step.instead(response) : std::nullopt;
        if (instead) response = (*transport)->Send(*instead);
      }
      const Outcome outcome = JudgeHttp(response, 0);
      const bool good = outcome.kind == Outcome::Kind::kItems;
      const bool spared = step.optional && response.answered() && response.status >= 400 && response.status < 500 && response.status != 401 && response.status != 403 && response.status != 409;
      if (!good && !spared) return absl::UnavailableError(fmt::format("cannot {}: {}", step.what, outcome.reason));
      std::cout << fmt::format("{:<8}{}\n", good ? "done" : "without", step.what) << std::flush;
    }
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format("no sink is called \"{}\" in the configuration", Printable(name, 80)));
}

}  // namespace outlier
