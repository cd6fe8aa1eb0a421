// What OTLP's messages say of a finding: a log record that is an event, and the resource it is about, as they go over the wire. Pure functions.
//
// Who is the resource? The host, as seen by outlierd: {service.name = outlierd, host.*, the relay's labels}. A workload is an attribute of the
// record or data point, not a resource of its own: a resource a workload would turn each executable into a "service" of the back end's
// inventory, and most back ends that store metrics query attributes of points, while of resources they keep but a few.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "userspace/delivery/finding.h"

namespace outlier {

// Attributes of one message, appended to its bytes: flat, unique keys, values of bounded length, valid UTF-8. What is beyond `limit` is counted, not kept.
class OtlpAttributes {
 public:
  static constexpr size_t kMaxElements = 64;  // of a list; New Relic keeps so many

  // `field`: the number that this message has for its attributes.
  OtlpAttributes(std::string* message, int field, size_t limit) : out_(*message), field_(field), limit_(limit) {}

  void Text(std::string_view key, std::string_view value);       // nothing where empty
  // At most kMaxElements of them; nothing where there are none.
  template <class Values>
  void Texts(std::string_view key, const Values& values) {
    list_.clear();
    size_t elements = 0;
    for (const auto& value : values) {
      if (elements++ < kMaxElements) AddElement(value);
    }
    if (elements > 0) AddList(key);
  }
  void Integer(std::string_view key, int64_t value);
  void Real(std::string_view key, double value);                 // nothing where not finite
  void Flag(std::string_view key, bool value);
  uint32_t dropped() const { return dropped_; }

 private:
  struct Place {
    size_t at, size;  // of a key in out_
  };
  // Key and all that comes before a value of so many bytes; false where there is no room for it.
  bool Begin(std::string_view key, size_t value_bytes);
  void AddElement(std::string_view text);  // to list_
  void AddList(std::string_view key);
  std::string& out_;
  const int field_;
  const size_t limit_;
  absl::InlinedVector<Place, 80> keys_;
  std::string list_;  // an ArrayValue
  uint32_t dropped_ = 0;
};

int64_t UnixNanos(const google::protobuf::Timestamp& time);
int64_t UnixNanos(WallTime time);

std::string OtlpResource(const v1::Source& source, const Labels* labels);                    // a resource.v1.Resource

// Name and kind and what tells workloads of one name apart, but nothing that a restart changes: a series must survive it.
void AddOtlpWorkload(const v1::Workload& workload, OtlpAttributes* attributes);

// "outlier.incident.opened", "outlier.feed.gap".
std::string OtlpEventName(const Finding& finding);

// Appends a logs.v1.LogRecord.
void AppendOtlpRecord(const Finding& finding, WallTime now, size_t max_attributes, std::string* out);

}  // namespace outlier
