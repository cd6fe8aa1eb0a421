#include <fmt/format.h>

#include "userspace/base/status.h"
#include "userspace/sinks/sink.h"

namespace outlier {
namespace sinks {

#define OUTLIER_SINK(key, case_of_kind, Name) absl::StatusOr<AnySink> Make##Name(const SinkContext& context);
#include "userspace/sinks/sinks.def"
#undef OUTLIER_SINK

}  // namespace sinks

absl::StatusOr<AnySink> MakeSink(const SinkContext& context) {
  switch (context.config.kind_case()) {
#define OUTLIER_SINK(key, case_of_kind, Name)                   \
  case config::v1::Sink::case_of_kind: {                        \
    absl::StatusOr<AnySink> sink = sinks::Make##Name(context);  \
    if (sink.ok()) sink->kind = #key;                           \
    return sink;                                                \
  }
#include "userspace/sinks/sinks.def"
#undef OUTLIER_SINK
    default: return absl::InvalidArgumentError("no kind of sink is given; each needs one, such as elasticsearch or pagerduty");
  }
}

std::vector<Preparation> Sink::CheckEach() {
  std::vector<Preparation> checks;
  if (auto check = Check()) checks.push_back(*std::move(check));
  return checks;
}

absl::Status Sink::Checked(const Response& response) {
  const Outcome outcome = response.grpc ? JudgeGrpc(response, 0) : JudgeHttp(response, 0);
  if (outcome.kind == Outcome::Kind::kItems) return absl::OkStatus();
  return absl::UnavailableError(outcome.reason);
}

Outcome StreamSink::JudgeSamples(const Response& response) {
  return response.grpc ? JudgeGrpc(response, 1) : JudgeHttp(response, 1);
}

}  // namespace outlier
