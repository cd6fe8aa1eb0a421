#include "userspace/transport/http.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cctype>
#include <chrono>

#include <fmt/format.h>

#include "userspace/base/text.h"
#include "userspace/transport/gzip.h"
#include "userspace/transport/redact.h"
#include "userspace/transport/transport.h"

namespace outlier {
namespace {

constexpr long kKeepAliveSeconds = 30;
constexpr auto kConnectWithin = std::chrono::seconds(10);

struct ListFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, ListFree>;
struct UrlFree {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

void Append(List* list, const std::string& line) {
  curl_slist* longer = curl_slist_append(list->get(), line.c_str());
  if (longer == nullptr) return;
  (void)list->release();
  list->reset(longer);
}

// libcurl is made ready once, before any thread; it needs no undoing at the end of a program.
bool Ready() {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return ready;
}

bool Has(std::string_view text, std::string_view what) { return text.find(what) != std::string_view::npos; }

// `why` as libcurl and OpenSSL say it.
Response::Failure FailureOf(CURLcode code, std::string_view why) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return Response::Failure::kTimeout;
    // A connection that breaks in the handshake, as of a server that is being restarted, says nothing about certificates.
    case CURLE_SSL_CONNECT_ERROR: return Has(why, "SSL_ERROR_SYSCALL") || Has(why, "eof") || Has(why, "reset by peer") ? Response::Failure::kReset : Response::Failure::kTls;
    // Of TLS 1.3 the server's word about our certificate comes after the handshake.
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR: return Has(why, "alert") && (Has(why, "certificate") || Has(why, "unknown ca") || Has(why, "access denied")) ? Response::Failure::kTls : Response::Failure::kReset;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS: return Response::Failure::kTls;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return Response::Failure::kConnect;
    case CURLE_WRITE_ERROR:
    case CURLE_FILESIZE_EXCEEDED: return Response::Failure::kTooLarge;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_FAILED_INIT:
    case CURLE_OUT_OF_MEMORY: return Response::Failure::kLocal;
    default: return Response::Failure::kReset;
  }
}

// An https address gets another host, for the certificate, for SNI and for Host, as gRPC has it; the connection goes where it went. False: no address.
bool Rename(const std::string& name, std::string* url, std::string* connect_to) {
  const std::unique_ptr<CURLU, UrlFree> parts(curl_url());
  const auto get = [&](CURLUPart part, unsigned flags) {
    char* text = nullptr;
    std::string out;
    if (curl_url_get(parts.get(), part, &text, flags) == CURLUE_OK) out = text;
    curl_free(text);
    return out;
  };
  if (curl_url_set(parts.get(), CURLUPART_URL, url->c_str(), 0) != CURLUE_OK) return false;
  if (get(CURLUPART_SCHEME, 0) != "https") return true;
  const std::string port = get(CURLUPART_PORT, CURLU_DEFAULT_PORT);
  *connect_to = fmt::format("{}:{}:{}:{}", name, port, get(CURLUPART_HOST, 0), port);
  if (curl_url_set(parts.get(), CURLUPART_HOST, name.c_str(), 0) != CURLUE_OK) return false;
  *url = get(CURLUPART_URL, 0);
  return true;
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool IsHeaderText(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\r' || text.back() == '\n' || text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return text;
}

// Accepts a chain that holds a certificate with this SHA-256, whoever signed it: what Elasticsearch prints at its first start.
int TrustFingerprint(X509_STORE_CTX* store, void* argument) {
  const auto& wanted = *static_cast<const std::string*>(argument);
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_untrusted(store);
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (X509_digest(sk_X509_value(chain, i), EVP_sha256(), digest, &length) != 1) continue;
    std::string text;
    for (unsigned k = 0; k < length; ++k) text += fmt::format("{:02x}", digest[k]);
    if (text != wanted) continue;
    // The rest of the chain, its dates and signatures are checked with this one as the root.
    X509_STORE* roots = X509_STORE_new();
    X509_STORE_add_cert(roots, sk_X509_value(chain, i));
    X509_STORE_CTX* check = X509_STORE_CTX_new();
    int good = 0;
    if (X509_STORE_CTX_init(check, roots, X509_STORE_CTX_get0_cert(store), const_cast<STACK_OF(X509)*>(chain)) == 1) {
      X509_STORE_CTX_set_default(check, "ssl_server");
      X509_STORE_CTX_set_flags(check, X509_V_FLAG_PARTIAL_CHAIN);  // it may be an intermediate one, or the server's own
      good = X509_verify_cert(check) == 1 ? 1 : 0;
      X509_STORE_CTX_set_error(store, X509_STORE_CTX_get_error(check));
    } else {
      X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
    }
    X509_STORE_CTX_free(check);
    X509_STORE_free(roots);
    return good;
  }
  X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
  return 0;
}

CURLcode SetFingerprint(CURL*, void* context, void* argument) {
  SSL_CTX_set_cert_verify_callback(static_cast<SSL_CTX*>(context), TrustFingerprint, argument);
  return CURLE_OK;
}

}  // namespace

struct HttpTransport::Exchange {
  Response response;
  const std::atomic<bool>* aborted;
  std::string fingerprint;

  static size_t OnBody(char* data, size_t, size_t size, void* self) {
    auto& body = static_cast<Exchange*>(self)->response.body;
    if (body.size() + size > kMaxAnswerBytes) return 0;
    body.append(data, size);
    return size;
  }
  static size_t OnHeader(char* data, size_t, size_t size, void* self) {
    auto& headers = static_cast<Exchange*>(self)->response.headers;
    const std::string_view line(data, size);
    if (line.starts_with("HTTP/")) headers.clear();  // of an interim answer or of the proxy
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && headers.size() < 200) {
      headers.emplace_back(Lower(line.substr(0, colon)), std::string(Trimmed(line.substr(colon + 1))));
    }
    return size;
  }
  static int OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) { return *static_cast<Exchange*>(self)->aborted ? 1 : 0; }
};

HttpTransport::HttpTransport(config::v1::Connection connection, std::string user_agent)
    : connection_(std::move(connection)), user_agent_(std::move(user_agent)), curl_(Ready() ? curl_easy_init() : nullptr) {}

HttpTransport::~HttpTransport() {
  if (curl_ != nullptr) curl_easy_cleanup(curl_);
}

Response HttpTransport::Send(const Request& request) {
  Exchange exchange{.response = {}, .aborted = &aborted_, .fingerprint = Lower(connection_.ca_trusted_fingerprint())};
  const auto failed = [&](Response::Failure failure, std::string_view why) {
    exchange.response.failure = failure;
    exchange.response.failure_text = Redact(fmt::format("{} {}: {}", request.method, request.url, why), request.secrets);
    return exchange.response;
  };
  if (curl_ == nullptr) return failed(Response::Failure::kLocal, "libcurl could not be made ready");
  if (aborted_) return failed(Response::Failure::kReset, "stopping");
  curl_easy_reset(curl_);  // options only: connections stay
  std::string url = request.url, connect_to;
  if (!connection_.server_name().empty() && !Rename(connection_.server_name(), &url, &connect_to)) return failed(Response::Failure::kLocal, "is no address");
  List connections;
  if (!connect_to.empty()) Append(&connections, connect_to);
  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(curl_, option, value); };
  const auto set_text = [&](CURLoption option, const std::string& value) {
    if (!value.empty()) curl_easy_setopt(curl_, option, value.c_str());
  };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_CONNECT_TO, connections.get());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_TCP_KEEPIDLE, kKeepAliveSeconds);
  set(CURLOPT_PROXY, connection_.proxy().c_str());  // "" = none, whatever the environment says
  set(CURLOPT_NOPROXY, "");
  set(CURLOPT_CA_CACHE_TIMEOUT, 0L);                // a CA file that was replaced counts at the next connection, not a day later
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set_text(CURLOPT_CAINFO, connection_.ca_file());
  set_text(CURLOPT_SSLCERT, connection_.certificate_file());
  set_text(CURLOPT_SSLKEY, connection_.key_file());
  if (!exchange.fingerprint.empty()) {
    std::erase(exchange.fingerprint, ':');
    set(CURLOPT_SSL_CTX_FUNCTION, SetFingerprint);
    set(CURLOPT_SSL_CTX_DATA, static_cast<void*>(&exchange.fingerprint));
  }
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::nanoseconds(connection_.timeout()));
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(std::min<std::chrono::milliseconds>(timeout, kConnectWithin).count()));
  set(CURLOPT_USERAGENT, user_agent_.c_str());
  set(CURLOPT_WRITEFUNCTION, Exchange::OnBody);
  set(CURLOPT_WRITEDATA, &exchange);
  set(CURLOPT_HEADERFUNCTION, Exchange::OnHeader);
  set(CURLOPT_HEADERDATA, &exchange);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, Exchange::OnProgress);
  set(CURLOPT_XFERINFODATA, &exchange);
  set(CURLOPT_ACCEPT_ENCODING, "");  // whatever libcurl can undo
  char error[CURL_ERROR_SIZE] = "";
  set(CURLOPT_ERRORBUFFER, error);

  List headers;
  for (const auto& [name, value] : request.headers) {
    if (!IsHeaderText(value)) return failed(Response::Failure::kLocal, fmt::format("the header {} would hold a line break or a control character; see what its key file holds", name));
  }
  for (const auto& [name, value] : request.headers) Append(&headers, fmt::format("{}: {}", name, value));
  for (const std::string& header : connection_.headers()) Append(&headers, header);
  // A round trip for nothing. But what has no value is not sent and would be signed all the same, and AWS refuses that.
  if (!request.aws) Append(&headers, "Expect:");
  std::string squeezed;
  const std::string* body = &request.body;
  if (request.compress && !request.body.empty()) {
    squeezed = Gzip(request.body);
    body = &squeezed;
    Append(&headers, "Content-Encoding: gzip");
  }
  if (request.method == "GET") {
    set(CURLOPT_HTTPGET, 1L);
  } else if (request.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else {
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDS, body->data());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body->size()));
    set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  if (request.aws) {
    set(CURLOPT_AWS_SIGV4, fmt::format("aws:amz:{}:{}", request.aws->region, request.aws->service).c_str());
    set(CURLOPT_USERNAME, request.aws->access_key_id.c_str());
    set(CURLOPT_PASSWORD, request.aws->secret_access_key.c_str());
    if (!request.aws->session_token.empty()) Append(&headers, "X-Amz-Security-Token: " + request.aws->session_token);
  }
  set(CURLOPT_HTTPHEADER, headers.get());

  const CURLcode code = curl_easy_perform(curl_);
  long status = 0;
  curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
  exchange.response.status = static_cast<int>(status);
  if (code == CURLE_OK) {
    // What a server says of a request that it did not take ends in messages, and it may quote the key.
    if (status < 200 || status >= 300) exchange.response.body = Redact(exchange.response.body, request.secrets);
    return exchange.response;
  }
  if (code == CURLE_ABORTED_BY_CALLBACK) return failed(Response::Failure::kReset, "stopping");
  std::string why = fmt::format("{}{}{}", curl_easy_strerror(code), *error == '\0' ? "" : ": ", error);
  // What is wrong with a certificate is overwritten where the server has gone before it could be told so.
  long verified = X509_V_OK;
  curl_easy_getinfo(curl_, CURLINFO_SSL_VERIFYRESULT, &verified);
  if (const std::string reason = X509_verify_cert_error_string(verified); verified != X509_V_OK && !Has(why, reason)) why += fmt::format(" ({})", reason);
  return failed(FailureOf(code, why), Printable(why, 500));
}

}  // namespace outlier
