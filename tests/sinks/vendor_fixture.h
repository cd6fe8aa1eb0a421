// For the tests of sinks that speak to a vendor's own API: makes one of a few settings, and answers.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/sinks/example_config.h"
#include "tests/sinks/examples.h"
#include "userspace/base/status.h"
#include "userspace/sinks/sink.h"
#include "userspace/sinks/wire.h"

namespace outlier::examples {

inline Response Answer(int status, std::string body = "", Headers headers = {}) {
  Response response;
  response.status = status;
  response.body = std::move(body);
  response.headers = std::move(headers);
  return response;
}

inline std::string HeaderOf(const Request& request, std::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (key == name) return value;
  }
  return "";
}

class VendorTest : public testing::Test {
 protected:
  explicit VendorTest(const char* kind) : kind_(kind), context_(ContextOf(kind, &keys_)) {}

  void Make() {
    absl::StatusOr<AnySink> sink = MakeSink(context_);
    ASSERT_TRUE(sink.ok()) << sink.status();
    ASSERT_TRUE(sink->stream) << "not a stream sink";
    sink_ = std::move(*sink);
  }
  StreamSink& stream() { return *sink_.stream; }

  Request Encoded(const std::vector<Finding>& findings, WallTime now = Now()) {
    absl::StatusOr<Request> request = stream().Encode(findings, now);
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? *request : Request();
  }
  Request Encoded(const Finding& finding, WallTime now = Now()) { return Encoded(std::vector<Finding>{finding}, now); }
  Json BodyOf(const std::vector<Finding>& findings, WallTime now = Now()) { return ParseJson(Encoded(findings, now).body); }
  Json BodyOf(const Finding& finding, WallTime now = Now()) { return ParseJson(Encoded(finding, now).body); }
  Outcome Judged(const Response& response, const std::vector<Finding>& findings = {Opened()}) { return stream().Judge(response, findings); }

  // What MakeSink says of the settings as they are now.
  std::string Refusal() { return MessageOf(MakeSink(context_).status()); }

  const char* kind_;
  Keys keys_;
  SinkContext context_;
  AnySink sink_;
};

}  // namespace outlier::examples
