#include "userspace/transport/transport.h"

#include <algorithm>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/transport/grpc.h"
#include "userspace/transport/gzip.h"
#include "userspace/transport/http.h"

namespace outlier {
namespace {

class BothTransports : public Transport {
 public:
  BothTransports(const config::v1::Connection& connection, const std::string& user_agent) : http_(connection, user_agent), grpc_(connection, user_agent) {}
  Response Send(const Request& request) override {
    return request.protocol == Request::Protocol::kHttp ? http_.Send(request) : grpc_.Send(request);
  }
  void Abort() override {
    http_.Abort();
    grpc_.Abort();
  }

 private:
  HttpTransport http_;
  GrpcTransport grpc_;
};

// RFC 9110: a token, a colon, a value without control characters.
bool IsHeader(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == 0 || colon == std::string_view::npos) return false;
  const auto token = [](unsigned char c) { return std::isalnum(c) != 0 || std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos; };
  const auto text = [](unsigned char c) { return c >= 0x20 && c != 0x7f; };
  return std::all_of(line.begin(), line.begin() + static_cast<ptrdiff_t>(colon), token) && std::all_of(line.begin(), line.end(), text);
}

bool IsFingerprint(std::string_view text) {
  size_t digits = 0;
  for (const unsigned char c : text) {
    if (c == ':') continue;
    if (std::isxdigit(c) == 0) return false;
    ++digits;
  }
  return digits == 64;
}

bool IsHostName(std::string_view text) {
  return text.size() <= 253 && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_'; });
}

}  // namespace

void CompressAhead(Request* request) {
  if (!request->compress || request->protocol != Request::Protocol::kHttp || request->body.empty()) return;
  request->body = Gzip(request->body);
  request->headers.emplace_back("Content-Encoding", "gzip");
  request->compress = false;
}

absl::StatusOr<std::unique_ptr<Transport>> MakeTransport(const config::v1::Connection& connection, const std::string& user_agent) {
  for (int i = 0; i < connection.headers_size(); ++i) {
    if (!IsHeader(connection.headers(i))) return absl::InvalidArgumentError(fmt::format("connection.headers[{}]: expected \"Name: value\"", i));
  }
  if (!connection.ca_trusted_fingerprint().empty() && !IsFingerprint(connection.ca_trusted_fingerprint())) {
    return absl::InvalidArgumentError("connection.ca_trusted_fingerprint: expected the 64 hexadecimal digits of a SHA-256");
  }
  if (connection.certificate_file().empty() != connection.key_file().empty()) {
    return absl::InvalidArgumentError("connection: certificate_file and key_file go together");
  }
  if (!IsHostName(connection.server_name())) {
    return absl::InvalidArgumentError(fmt::format("connection.server_name: \"{}\" is no name of a host; give the one that the certificate has, without port", Printable(connection.server_name(), 100)));
  }
  return std::make_unique<BothTransports>(connection, user_agent);
}

}  // namespace outlier
