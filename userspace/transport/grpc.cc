#include "userspace/transport/grpc.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "userspace/base/file.h"
#include "userspace/base/status.h"
#include "userspace/base/text.h"
#include "userspace/delivery/tls_reason.h"
#include "userspace/transport/redact.h"
#include "userspace/transport/transport.h"

namespace outlier {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr size_t kMaxCertificateBytes = 1 << 20;

grpc::ByteBuffer BufferOf(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Valid() || !buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

bool Has(std::string_view text, std::string_view what) { return text.find(what) != std::string_view::npos; }

bool IsMetadata(std::string_view name, std::string_view value) {
  const auto key = [](unsigned char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'; };
  const auto text = [](unsigned char c) { return c >= 0x20 && c < 0x7f; };
  return !name.empty() && std::all_of(name.begin(), name.end(), key) && (name.ends_with("-bin") || std::all_of(value.begin(), value.end(), text));
}

// Calls `field(number, bytes, varint)` for each field of a serialized message; wire types other than those two are skipped. False where malformed.
template <class Field>
bool ForEachField(std::string_view message, Field field) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(message.data()), static_cast<int>(message.size()));
  for (uint32_t tag = 0; (tag = in.ReadTag()) != 0;) {
    uint32_t length = 0;
    uint64_t number = 0;
    std::string bytes;
    switch (WireFormatLite::GetTagWireType(tag)) {
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
        if (!in.ReadVarint32(&length) || !in.ReadString(&bytes, static_cast<int>(length))) return false;
        field(WireFormatLite::GetTagFieldNumber(tag), std::string_view(bytes), uint64_t{0});
        break;
      case WireFormatLite::WIRETYPE_VARINT:
        if (!in.ReadVarint64(&number)) return false;
        field(WireFormatLite::GetTagFieldNumber(tag), std::string_view(), number);
        break;
      default:
        if (!WireFormatLite::SkipField(&in, tag)) return false;
    }
  }
  return true;
}

// Seconds of google.rpc.RetryInfo.retry_delay within google.rpc.Status.details, of the trailer grpc-status-details-bin.
std::optional<double> RetryDelay(std::string_view status) {
  std::optional<double> delay;
  ForEachField(status, [&](int number, std::string_view detail, uint64_t) {
    if (number != 3) return;  // google.protobuf.Any
    std::string type, value;
    ForEachField(detail, [&](int field, std::string_view bytes, uint64_t) { (field == 1 ? type : value) = bytes; });
    if (!type.ends_with("/google.rpc.RetryInfo")) return;
    ForEachField(value, [&](int field, std::string_view duration, uint64_t) {
      if (field != 1) return;
      double seconds = 0;
      ForEachField(duration, [&](int part, std::string_view, uint64_t v) {
        seconds += part == 1 ? static_cast<double>(v) : static_cast<double>(v) * 1e-9;
      });
      delay = seconds;
    });
  });
  return delay;
}

}  // namespace

GrpcTransport::GrpcTransport(config::v1::Connection connection, std::string user_agent)
    : connection_(std::move(connection)), user_agent_(std::move(user_agent)) {}

absl::StatusOr<std::shared_ptr<grpc::Channel>> GrpcTransport::ChannelTo(const std::string& url) {
  if (!connection_.ca_trusted_fingerprint().empty()) {
    return absl::FailedPreconditionError("connection.ca_trusted_fingerprint cannot be checked over gRPC: give the CA's certificate as connection.ca_file");
  }
  const bool plain = url.starts_with("http://");
  const std::string target = url.substr(plain ? 7 : url.starts_with("https://") ? 8 : 0);
  grpc::SslCredentialsOptions tls;
  if (!plain) {
    const std::pair<const std::string&, std::string*> files[] = {{connection_.ca_file(), &tls.pem_root_certs},
                                                                 {connection_.certificate_file(), &tls.pem_cert_chain},
                                                                 {connection_.key_file(), &tls.pem_private_key}};
    for (const auto& [path, to] : files) {
      if (path.empty()) continue;
      absl::StatusOr<std::string> pem = ReadFile(path, kMaxCertificateBytes);
      if (!pem.ok()) return pem.status();
      *to = *std::move(pem);
    }
  }
  const std::string made_with = tls.pem_root_certs + tls.pem_cert_chain + tls.pem_private_key;
  auto& [with, channel] = channels_[url];
  if (channel != nullptr && with == made_with) return channel;
  grpc::ChannelArguments arguments;
  arguments.SetUserAgentPrefix(user_agent_);
  arguments.SetMaxReceiveMessageSize(static_cast<int>(kMaxAnswerBytes));
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);  // when to try again is the courier's decision
  if (!connection_.server_name().empty() && !plain) arguments.SetSslTargetNameOverride(connection_.server_name());
  // The configured one or none.
  connection_.proxy().empty() ? arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0) : arguments.SetString(GRPC_ARG_HTTP_PROXY, connection_.proxy());
  with = made_with;
  channel = grpc::CreateCustomChannel(target, plain ? grpc::InsecureChannelCredentials() : grpc::SslCredentials(tls), arguments);
  return channel;
}

Response GrpcTransport::Send(const Request& request) {
  Response response;
  response.grpc = true;
  const auto failed = [&](Response::Failure failure, std::string_view why) {
    response.failure = failure;
    response.failure_text = Redact(fmt::format("{}{}: {}", request.url, request.grpc_method, why), request.secrets);
    return response;
  };
  const auto channel = ChannelTo(request.url);
  if (!channel.ok()) return failed(Response::Failure::kLocal, MessageOf(channel.status()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::nanoseconds(connection_.timeout()));
  Headers headers = request.headers;
  for (const std::string& line : connection_.headers()) {  // "Name: value", checked when it was made
    const size_t colon = line.find(':'), value = line.find_first_not_of(" \t", colon + 1);
    headers.emplace_back(line.substr(0, colon), value == std::string::npos ? "" : line.substr(value));
  }
  for (auto& [name, value] : headers) {
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    // gRPC ends the program where it is given any other.
    if (!IsMetadata(name, value)) return failed(Response::Failure::kLocal, fmt::format("the header {} cannot be metadata of gRPC; see what its key file holds", Printable(name, 80)));
    context.AddMetadata(name, value);
  }
  if (request.compress) context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  {
    const std::lock_guard lock(mutex_);
    if (aborted_) return failed(Response::Failure::kReset, "stopping");
    under_way_ = &context;
  }
  grpc::GenericStub stub(*channel);
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, request.grpc_method, BufferOf(request.body), &queue);
  grpc::ByteBuffer answer;
  grpc::Status status;
  call->StartCall();
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  bool aborted = false;
  {
    const std::lock_guard lock(mutex_);
    under_way_ = nullptr;
    aborted = aborted_;
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  if (aborted) return failed(Response::Failure::kReset, "stopping");
  // A certificate that does not do is no passing trouble, though gRPC calls it UNAVAILABLE.
  const std::string why = status.error_message();
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE && (Has(why, "SSL_ERROR_SSL") || Has(why, "certificate") || Has(why, "Peer name"))) {
    const std::string target = request.url.substr(request.url.starts_with("https://") ? 8 : 0);
    const std::string reason = !connection_.proxy().empty() ? "" : TlsReason({target, connection_.server_name(), connection_.ca_file(), connection_.certificate_file(), connection_.key_file()});
    return failed(Response::Failure::kTls, Printable(reason.empty() ? why : reason, 500));
  }
  response.status = static_cast<int>(status.error_code());
  response.body = BytesOf(answer);
  response.failure_text = status.ok() ? "" : Redact(fmt::format("{}{}: {}", request.url, request.grpc_method, status.error_message()), request.secrets);
  for (const auto& [name, value] : context.GetServerTrailingMetadata()) {
    response.headers.emplace_back(std::string(name.data(), name.size()), std::string(value.data(), value.size()));
  }
  if (const auto delay = RetryDelay(status.error_details())) response.headers.emplace_back("retry-after", fmt::format("{}", *delay));
  return response;
}

void GrpcTransport::Abort() {
  const std::lock_guard lock(mutex_);
  aborted_ = true;
  if (under_way_ != nullptr) under_way_->TryCancel();
}

}  // namespace outlier
