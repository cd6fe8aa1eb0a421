#include "userspace/sources/feed_channel.h"

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/text.h"
#include "userspace/delivery/tls_reason.h"

namespace outlier {
namespace {

constexpr size_t kMaxCertificateBytes = 1 << 20;
constexpr int kLookAheadBytes = 256 << 10;  // of a stream, on their way: gRPC would let megabytes come
constexpr int kKeepAliveMs = 30'000;  // a peer that vanished without a word is noticed within a minute

bool IsUnix(std::string_view address) { return address.starts_with("unix:") && address.size() > 5; }

}  // namespace

absl::Status CheckFeedAddress(const std::string& address, const config::v1::SourceTls& tls) {
  if (IsUnix(address)) return absl::OkStatus();
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || address.find('/') != std::string::npos) {
    return absl::InvalidArgumentError(fmt::format("\"{}\" is no address of a feed: expected unix:///path or host:port", Printable(address, 200)));
  }
  for (const auto& [key, path] : {std::pair{"ca_file", tls.ca_file()}, {"certificate_file", tls.certificate_file()}, {"key_file", tls.key_file()}}) {
    if (path.empty()) return absl::InvalidArgumentError(fmt::format("{} is reached over a network, which takes mutual TLS: source_tls.{} is needed", Printable(address, 200), key));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> OpenFeedChannel(const std::string& address, const config::v1::SourceTls& tls) {
  if (const absl::Status status = CheckFeedAddress(address, tls); !status.ok()) return status;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(32 << 20);  // a page of a thousand incidents is a tenth of it
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a stream that holds its connection up must not hold up another's
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kLookAheadBytes);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (IsUnix(address)) return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepAliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepAliveMs);
  if (!tls.server_name().empty()) arguments.SetSslTargetNameOverride(tls.server_name());
  grpc::SslCredentialsOptions options;
  for (const auto& [path, to] : {std::pair{tls.ca_file(), &options.pem_root_certs}, {tls.certificate_file(), &options.pem_cert_chain}, {tls.key_file(), &options.pem_private_key}}) {
    absl::StatusOr<std::string> pem = ReadFile(path, kMaxCertificateBytes);
    if (!pem.ok()) return pem.status();
    *to = *std::move(pem);
  }
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments);
}

std::string WhyNot(const grpc::Status& status, const std::string& address, const config::v1::SourceTls& tls) {
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE || IsUnix(address)) return status.error_message();
  const std::string reason = TlsReason({address, tls.server_name(), tls.ca_file(), tls.certificate_file(), tls.key_file()});
  return reason.empty() ? status.error_message() : reason;
}

}  // namespace outlier
