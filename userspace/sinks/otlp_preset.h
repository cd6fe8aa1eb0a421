// How the back ends that take OTLP differ: address, key, transport, temporality, size.
#pragma once
#include <chrono>
#include <cstddef>
#include <string_view>

namespace outlier {

struct OtlpPreset {
  enum class Key {
    kNone,     // header_file at most
    kHeader,   // `header`: `scheme` and the content of key_file
    kBasic,    // key_file holds user:password
    kAws,      // signed
    kEntra,    // a token of Entra
  };
  std::string_view name;
  std::string_view http_endpoint = "";  // where no endpoint is given; "" = must be
  std::string_view grpc_endpoint = "";  // "" = must be given
  std::string_view metrics_path = "";
  std::string_view logs_path = "";
  Key key = Key::kNone;
  bool key_needed = false;
  std::string_view header = "";
  std::string_view scheme = "";
  bool grpc = true;               // takes it
  bool delta = false;             // is sent changes since the last report
  bool cumulative_refused = false;
  size_t max_bytes = 0;           // of a body before compression
  size_t max_attributes = 0;      // of a record
  std::chrono::hours oldest{0};   // 0 = any age
};

// Nothing where there is no preset of that name; "" and "none" are one.
const OtlpPreset* FindOtlpPreset(std::string_view name);

}  // namespace outlier
