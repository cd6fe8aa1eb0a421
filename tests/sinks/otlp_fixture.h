// An OTLP sink made as a test says, and what it sends decoded again.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "opentelemetry/proto/collector/logs/v1/logs_service.pb.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h"
#include "tests/sinks/example_config.h"
#include "tests/sinks/examples.h"
#include "tests/sinks/vendor_fixture.h"
#include "userspace/sinks/sink.h"
#include "userspace/sinks/wire.h"

namespace outlier {

using examples::Answer;
using examples::HeaderOf;
using examples::Keys;
using examples::Now;

namespace proto = opentelemetry::proto;
using Logs = proto::collector::logs::v1::ExportLogsServiceRequest;
using Metrics = proto::collector::metrics::v1::ExportMetricsServiceRequest;
using Attributes = std::map<std::string, std::string>;

inline std::string Plain(const proto::common::v1::AnyValue& value) {
  switch (value.value_case()) {
    case proto::common::v1::AnyValue::kStringValue: return value.string_value();
    case proto::common::v1::AnyValue::kBoolValue: return value.bool_value() ? "true" : "false";
    case proto::common::v1::AnyValue::kIntValue: return std::to_string(value.int_value());
    case proto::common::v1::AnyValue::kDoubleValue: return Dump(Json(value.double_value()));
    case proto::common::v1::AnyValue::kArrayValue: {
      std::string text;
      for (const auto& element : value.array_value().values()) text += (text.empty() ? "" : " | ") + Plain(element);
      return text;
    }
    default: return "nothing";
  }
}

inline Attributes Of(const google::protobuf::RepeatedPtrField<proto::common::v1::KeyValue>& list) {
  Attributes attributes;
  for (const auto& attribute : list)
    EXPECT_TRUE(attributes.emplace(attribute.key(), Plain(attribute.value())).second) << attribute.key() << " is there twice";
  return attributes;
}

inline Response GrpcAnswer(int status, std::string text = "", Headers headers = {}) {
  Response response = Answer(status, "", std::move(headers));
  response.grpc = true;
  response.failure_text = std::move(text);
  return response;
}

class OtlpTest : public testing::Test {
 protected:
  using Kind = Outcome::Kind;
  using Change = std::function<void(config::v1::Otlp*)>;

  absl::StatusOr<AnySink> Try(const Change& change) {
    SinkContext context;
    context.version = "0.1.0";
    context.relay_host = "relay-1";
    change(context.config.mutable_otlp());
    return MakeSink(context);
  }
  std::unique_ptr<StreamSink> Make(const Change& change) {
    absl::StatusOr<AnySink> sink = Try(change);
    EXPECT_TRUE(sink.ok()) << sink.status();
    return sink.ok() ? std::move(sink->stream) : nullptr;
  }
  std::string Refusal(const Change& change) {
    const absl::StatusOr<AnySink> sink = Try(change);
    EXPECT_EQ(sink.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(sink.status().message());
  }
  // As preset with its key, at its own address.
  std::unique_ptr<StreamSink> Preset(const std::string& name, const Change& more = [](config::v1::Otlp*) {}) {
    return Make([&](config::v1::Otlp* otlp) {
      otlp->set_preset(name);
      otlp->set_key_file(keys_.Write("key", name == "grafana_cloud" ? "12345:s3cret" : "s3cret"));
      more(otlp);
    });
  }

  static Request Encoded(StreamSink& sink, const std::vector<Finding>& findings) {
    absl::StatusOr<Request> request = sink.Encode(findings, Now());
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? *request : Request{};
  }
  static Logs Decoded(const Request& request) {
    Logs logs;
    EXPECT_TRUE(logs.ParseFromString(request.body));
    return logs;
  }
  static std::vector<Metrics> DecodedMetrics(const std::vector<Request>& requests) {
    std::vector<Metrics> all;
    for (const Request& request : requests) EXPECT_TRUE(all.emplace_back().ParseFromString(request.body));
    return all;
  }

  Keys keys_;
};

inline const auto kLocal = [](config::v1::Otlp* otlp) { otlp->set_endpoint("http://127.0.0.1:4318"); };

// Every metric by its name, over all requests.
inline std::map<std::string, std::vector<proto::metrics::v1::Metric>> ByName(const std::vector<Metrics>& all) {
  std::map<std::string, std::vector<proto::metrics::v1::Metric>> metrics;
  for (const Metrics& request : all) {
    for (const auto& resource : request.resource_metrics()) {
      for (const auto& scope : resource.scope_metrics()) {
        for (const auto& metric : scope.metrics()) metrics[metric.name()].push_back(metric);
      }
    }
  }
  return metrics;
}

inline Samples At(Samples samples, int seconds_later, double more_cpu = 0) {
  samples.sample.mutable_time()->set_seconds(samples.sample.time().seconds() + seconds_later);
  for (v1::WorkloadState& state : *samples.sample.mutable_workloads()) state.set_cpu_seconds(state.cpu_seconds() + more_cpu);
  return samples;
}

}  // namespace outlier
