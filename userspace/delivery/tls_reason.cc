#include "userspace/delivery/tls_reason.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include <chrono>
#include <ctime>
#include <memory>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "userspace/base/text.h"

namespace outlier {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kWithin{1200};
constexpr milliseconds kAfterwards{300};  // of TLS 1.3 the server's word about our certificate comes after the handshake
constexpr size_t kMostNames = 5;

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Context = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using Connection = std::unique_ptr<SSL, Freed<SSL_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;

std::string LastError() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown" : reason;
}

std::string HostOf(const std::string& address) {
  std::string host = address.substr(0, address.rfind(':'));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return host;
}

bool IsIp(const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 || inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

std::string When(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable time";
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min);
}

std::string NamesOf(X509* certificate) {
  const Names names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> texts;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()) && texts.size() < kMostNames; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) {
      texts.push_back(Printable({reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)), static_cast<size_t>(ASN1_STRING_length(name->d.dNSName))}, 100));
    } else if (name->type == GEN_IPADD) {
      char text[INET6_ADDRSTRLEN] = "";
      const int length = ASN1_STRING_length(name->d.iPAddress);
      if (length == 4 || length == 16) inet_ntop(length == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), text, sizeof text);
      if (*text != '\0') texts.emplace_back(text);
    }
  }
  return texts.empty() ? "no name at all" : fmt::format("{}", fmt::join(texts, ", "));
}

std::string Wrong(long result, X509* certificate, const TlsPeer& peer, const std::string& name) {
  switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return fmt::format("a certificate of the server has expired; its own is good until {}: it needs a new one", When(X509_get0_notAfter(certificate)));
    case X509_V_ERR_CERT_NOT_YET_VALID: return fmt::format("the server's certificate is good from {} on only: one of the two clocks is wrong", When(X509_get0_notBefore(certificate)));
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return fmt::format("the server's certificate is for {}, not for {}; where that is the right server, name it as server_name", NamesOf(certificate), name);
    default:
      return fmt::format("the server's certificate is not trusted ({}); the authorities trusted are {}", X509_verify_cert_error_string(result),
                         peer.ca_file.empty() ? "the system's" : "those in " + Printable(peer.ca_file, 200));
  }
}

// One step of OpenSSL, again as long as it waits for the network. True when it came to an end.
template <class Step>
int Drive(SSL* ssl, Clock::time_point end, Step step) {
  for (;;) {
    const int code = step();
    const int what = SSL_get_error(ssl, code);
    if (what != SSL_ERROR_WANT_READ && what != SSL_ERROR_WANT_WRITE) return what;
    const auto left = std::chrono::ceil<milliseconds>(end - Clock::now()).count();
    pollfd wait{SSL_get_fd(ssl), static_cast<short>(what == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT), 0};
    if (left <= 0 || poll(&wait, 1, static_cast<int>(left)) <= 0) return what;
  }
}

}  // namespace

std::string TlsReason(const TlsPeer& peer) {
  ERR_clear_error();
  const Clock::time_point end = Clock::now() + kWithin;
  const Context context(SSL_CTX_new(TLS_client_method()));
  if (!context) return "";
  const bool trusts = peer.ca_file.empty() ? SSL_CTX_set_default_verify_paths(context.get()) == 1 : SSL_CTX_load_verify_file(context.get(), peer.ca_file.c_str()) == 1;
  if (!trusts) return fmt::format("{} holds no certificate of an authority: {}", Printable(peer.ca_file, 200), LastError());
  if (!peer.certificate_file.empty()) {
    if (SSL_CTX_use_certificate_chain_file(context.get(), peer.certificate_file.c_str()) != 1) return fmt::format("{} holds no certificate: {}", Printable(peer.certificate_file, 200), LastError());
    if (SSL_CTX_use_PrivateKey_file(context.get(), peer.key_file.c_str(), SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(context.get()) != 1) {
      return fmt::format("{} does not hold the key of {}: {}", Printable(peer.key_file, 200), Printable(peer.certificate_file, 200), LastError());
    }
  }
  BIO* socket = BIO_new_connect(peer.address.c_str());
  if (socket == nullptr) return "";
  BIO_set_nbio(socket, 1);
  const Connection ssl(SSL_new(context.get()));
  SSL_set_bio(ssl.get(), socket, socket);  // owns it
  if (BIO_do_connect_retry(socket, 1, 10) != 1) return "";
  const std::string host = HostOf(peer.address), name = peer.name.empty() ? host : peer.name;
  if (IsIp(name)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name.c_str());
  } else {
    SSL_set_tlsext_host_name(ssl.get(), name.c_str());
    SSL_set1_host(ssl.get(), name.c_str());
  }
  static constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  SSL_set_alpn_protos(ssl.get(), kHttp2, sizeof kHttp2);
  SSL_set_verify(ssl.get(), SSL_VERIFY_NONE, nullptr);  // goes on, so that the certificate can be looked at
  const int done = Drive(ssl.get(), end, [&] { return SSL_connect(ssl.get()); });
  const Certificate certificate(SSL_get1_peer_certificate(ssl.get()));
  const long result = SSL_get_verify_result(ssl.get());
  if (certificate && result != X509_V_OK) return Wrong(result, certificate.get(), peer, name);
  if (done == SSL_ERROR_SSL) return fmt::format("the handshake fails: {}", LastError());
  if (done != SSL_ERROR_NONE) return "";
  char byte = 0;
  const int after = Drive(ssl.get(), Clock::now() + kAfterwards, [&] { return SSL_peek(ssl.get(), &byte, 1); });
  return after == SSL_ERROR_SSL ? fmt::format("the server does not take our certificate: {}", LastError()) : "";
}

}  // namespace outlier
