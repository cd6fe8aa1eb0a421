// What OTLP's messages say of a finding: a log record that is an event, and the resource it is about. Pure functions.
//
// Who is the resource? The host, as seen by outlierd: {service.name = outlierd, host.*, the relay's labels}. A workload is an attribute of the
// record or data point, not a resource of its own: a resource a workload would turn each executable into a "service" of the back end's
// inventory, and most back ends that store metrics query attributes of points, while of resources they keep but a few.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "opentelemetry/proto/common/v1/common.pb.h"
#include "opentelemetry/proto/logs/v1/logs.pb.h"
#include "opentelemetry/proto/resource/v1/resource.pb.h"
#include "userspace/delivery/finding.h"

namespace outlier {

// Attributes of one record: flat, unique keys, values of bounded length, valid UTF-8. What is beyond `limit` is counted, not kept.
class OtlpAttributes {
 public:
  using List = google::protobuf::RepeatedPtrField<opentelemetry::proto::common::v1::KeyValue>;
  OtlpAttributes(List* list, size_t limit) : list_(*list), limit_(limit) {}

  void Text(std::string_view key, std::string_view value);       // nothing where empty
  void Texts(std::string_view key, std::span<const std::string> values);  // at most 64; nothing where empty
  void Integer(std::string_view key, int64_t value);
  void Real(std::string_view key, double value);                 // nothing where not finite
  void Flag(std::string_view key, bool value);
  uint32_t dropped() const { return dropped_; }

 private:
  opentelemetry::proto::common::v1::AnyValue* Add(std::string_view key);
  List& list_;
  size_t limit_;
  uint32_t dropped_ = 0;
};

int64_t UnixNanos(const google::protobuf::Timestamp& time);
int64_t UnixNanos(WallTime time);

void FillOtlpResource(const v1::Source& source, const Labels* labels, opentelemetry::proto::resource::v1::Resource* resource);

// Name and kind and what tells workloads of one name apart, but nothing that a restart changes: a series must survive it.
void AddOtlpWorkload(const v1::Workload& workload, OtlpAttributes* attributes);

// "outlier.incident.opened", "outlier.feed.gap".
std::string OtlpEventName(const Finding& finding);

void FillOtlpRecord(const Finding& finding, WallTime now, size_t max_attributes, opentelemetry::proto::logs::v1::LogRecord* record);

}  // namespace outlier
