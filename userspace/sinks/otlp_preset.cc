#include "userspace/sinks/otlp_preset.h"

#include <algorithm>
#include <iterator>

namespace outlier {
namespace {

using Key = OtlpPreset::Key;

// Receivers take 64 MiB over HTTP and often only 4 MiB over gRPC; the sink sees to the latter.
constexpr size_t kRecommended = 64 << 20;
constexpr size_t kUnbounded = 128;  // attributes: the limit of the SDKs

constexpr OtlpPreset kPresets[] = {
    {.name = "none", .metrics_path = "/v1/metrics", .logs_path = "/v1/logs", .max_bytes = kRecommended, .max_attributes = kUnbounded},
    {.name = "new_relic", .http_endpoint = "https://otlp.nr-data.net", .grpc_endpoint = "https://otlp.nr-data.net:4317",
     .metrics_path = "/v1/metrics", .logs_path = "/v1/logs", .key = Key::kHeader, .key_needed = true, .header = "api-key", .delta = true,
     .max_bytes = 1'000'000, .max_attributes = kUnbounded},
    {.name = "new_relic_eu", .http_endpoint = "https://otlp.eu01.nr-data.net", .grpc_endpoint = "https://otlp.eu01.nr-data.net:4317",
     .metrics_path = "/v1/metrics", .logs_path = "/v1/logs", .key = Key::kHeader, .key_needed = true, .header = "api-key", .delta = true,
     .max_bytes = 1'000'000, .max_attributes = kUnbounded},
    // Logs go to another host of the site. 500 KB are what is sent: that holds of a body that does not compress, too.
    {.name = "datadog", .http_endpoint = "https://api.datadoghq.com", .metrics_path = "/api/intake/otlp/v1/metrics", .logs_path = "/api/v2/logs",
     .key = Key::kHeader, .key_needed = true, .header = "dd-api-key", .grpc = false, .delta = true, .cumulative_refused = true,
     .max_bytes = 500'000, .max_attributes = kUnbounded},
    // 50 dimensions; the limit of a body is not published.
    {.name = "dynatrace", .metrics_path = "/api/v2/otlp/v1/metrics", .logs_path = "/api/v2/otlp/v1/logs", .key = Key::kHeader, .key_needed = true,
     .header = "Authorization", .scheme = "Api-Token ", .grpc = false, .delta = true, .cumulative_refused = true, .max_bytes = 1 << 20,
     .max_attributes = 50},
    // The agent of this host; the service itself where an address and a key are given.
    {.name = "instana", .http_endpoint = "http://127.0.0.1:4318", .grpc_endpoint = "http://127.0.0.1:4317", .metrics_path = "/v1/metrics",
     .logs_path = "/v1/logs", .key = Key::kHeader, .header = "x-instana-key", .max_bytes = kRecommended, .max_attributes = kUnbounded},
    {.name = "elastic", .metrics_path = "/v1/metrics", .logs_path = "/v1/logs", .key = Key::kHeader, .header = "Authorization",
     .scheme = "ApiKey ", .max_bytes = kRecommended, .max_attributes = kUnbounded},
    {.name = "grafana_cloud", .metrics_path = "/v1/metrics", .logs_path = "/v1/logs", .key = Key::kBasic, .key_needed = true,
     .header = "Authorization", .grpc = false, .max_bytes = kRecommended, .max_attributes = kUnbounded},
    // Its addresses are the region's.
    {.name = "cloudwatch", .metrics_path = "/v1/metrics", .logs_path = "/v1/logs", .key = Key::kAws, .grpc = false, .max_bytes = 1 << 20,
     .max_attributes = kUnbounded, .oldest = std::chrono::hours(14 * 24)},
    // Its addresses name a data collection endpoint and a rule each: metrics_endpoint and logs_endpoint.
    {.name = "azure_monitor", .key = Key::kEntra, .grpc = false, .delta = true, .max_bytes = 1 << 20, .max_attributes = kUnbounded},
};

}  // namespace

const OtlpPreset* FindOtlpPreset(std::string_view name) {
  if (name.empty()) name = "none";
  const auto* found = std::find_if(std::begin(kPresets), std::end(kPresets), [&](const OtlpPreset& preset) { return preset.name == name; });
  return found == std::end(kPresets) ? nullptr : found;
}

}  // namespace outlier
