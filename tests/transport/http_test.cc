#include "userspace/transport/http.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "tests/transport/certificates.h"
#include "userspace/delivery/tls_reason.h"
#include "userspace/transport/gzip.h"
#include "userspace/transport/redact.h"
#include "userspace/transport/transport.h"

namespace outlier {
namespace {

using Failure = Response::Failure;
using std::chrono::steady_clock;

struct Seen {
  std::string line;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

// What the server does with one request.
struct Deed {
  std::string answer;       // raw; "" = none
  bool reset = false;       // with RST instead of an orderly end
  bool hang = false;        // until the test ends
};

std::string Plain(int status, const std::string& body = "", const std::string& headers = "") {
  return fmt::format("HTTP/1.1 {} X\r\nContent-Length: {}\r\n{}\r\n{}", status, body.size(), headers, body);
}

// An HTTP/1.1 server of one thread a connection, on loopback.
class Server {
 public:
  using Handler = std::function<Deed(const Seen&)>;
  explicit Server(Handler handler, SSL_CTX* tls = nullptr) : handler_(std::move(handler)), tls_(tls), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
    EXPECT_EQ(listen(listener_, 20), 0);
    socklen_t size = sizeof name;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&name), &size);
    port_ = ntohs(name.sin_port);
    thread_ = std::thread([this] { Accept(); });
  }
  ~Server() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& one : connections_) one.join();
    if (tls_ != nullptr) SSL_CTX_free(tls_);
  }
  int port() const { return port_; }
  std::string url(const std::string& path = "/", const std::string& host = "127.0.0.1") const {
    return fmt::format("{}://{}:{}{}", tls_ != nullptr ? "https" : "http", host, port_, path);
  }
  std::vector<Seen> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  int accepted() const { return accepted_; }

 private:
  void Accept() {
    for (;;) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (stopping_ || fd < 0) {
        if (fd >= 0) close(fd);
        return;
      }
      ++accepted_;
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
      connections_.emplace_back([this, fd] { Serve(fd); });
    }
  }
  void Serve(int fd) {
    SSL* ssl = nullptr;
    if (tls_ != nullptr) {
      ssl = SSL_new(tls_);
      SSL_set_fd(ssl, fd);
      if (SSL_accept(ssl) != 1) {
        // Its alert is on the way; a close with what was not read yet would take it back.
        char rest[1024];
        shutdown(fd, SHUT_WR);
        while (recv(fd, rest, sizeof rest, 0) > 0) {
        }
        SSL_free(ssl);
        End(fd, false);
        return;
      }
    }
    const auto read_some = [&](char* to, int size) { return ssl != nullptr ? SSL_read(ssl, to, size) : static_cast<int>(recv(fd, to, static_cast<size_t>(size), 0)); };
    const auto write_all = [&](const std::string& text) {
      for (size_t at = 0; at < text.size();) {
        const int n = ssl != nullptr ? SSL_write(ssl, text.data() + at, static_cast<int>(text.size() - at)) : static_cast<int>(send(fd, text.data() + at, text.size() - at, MSG_NOSIGNAL));
        if (n <= 0) return;
        at += static_cast<size_t>(n);
      }
    };
    std::string in;
    bool reset = false;
    for (;;) {
      char buffer[16384];
      size_t end = std::string::npos;
      while ((end = in.find("\r\n\r\n")) == std::string::npos) {
        const int n = read_some(buffer, sizeof buffer);
        if (n <= 0) goto over;
        in.append(buffer, static_cast<size_t>(n));
      }
      {
        Seen seen;
        size_t at = in.find("\r\n");
        seen.line = in.substr(0, at);
        for (at += 2; at < end;) {
          const size_t stop = in.find("\r\n", at), colon = in.find(':', at);
          std::string name = in.substr(at, colon - at);
          for (char& c : name) c = static_cast<char>(std::tolower(c));
          seen.headers[name] = in.substr(in.find_first_not_of(' ', colon + 1), stop - in.find_first_not_of(' ', colon + 1));
          at = stop + 2;
        }
        const size_t length = seen.headers.contains("content-length") ? std::stoul(seen.headers["content-length"]) : 0;
        in.erase(0, end + 4);
        while (in.size() < length) {
          const int n = read_some(buffer, sizeof buffer);
          if (n <= 0) goto over;
          in.append(buffer, static_cast<size_t>(n));
        }
        seen.body = in.substr(0, length);
        in.erase(0, length);
        {
          const std::lock_guard lock(mutex_);
          seen_.push_back(seen);
        }
        const Deed deed = handler_(seen);
        if (deed.hang) {
          while (read_some(buffer, sizeof buffer) > 0) {
          }
          goto over;
        }
        if (!deed.answer.empty()) write_all(deed.answer);
        reset = deed.reset;
        if (deed.reset || deed.answer.empty()) goto over;
      }
    }
  over:
    if (ssl != nullptr) {
      if (!reset) SSL_shutdown(ssl);
      SSL_free(ssl);
    }
    End(fd, reset);
  }
  void End(int fd, bool reset) {
    const linger now{1, 0};
    if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    const std::lock_guard lock(mutex_);
    std::erase(open_, fd);
    close(fd);
  }

  const Handler handler_;
  SSL_CTX* const tls_;
  const int listener_;
  int port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> accepted_ = 0;
  mutable std::mutex mutex_;
  std::vector<int> open_;
  std::vector<Seen> seen_;
  std::vector<std::thread> connections_;
  std::thread thread_;
};

SSL_CTX* ServerTls(const Certificate& leaf, const std::vector<Certificate>& chain, const Certificate* client_authority = nullptr) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_use_certificate(context, leaf.x509.get());
  SSL_CTX_use_PrivateKey(context, leaf.key.get());
  for (const Certificate& one : chain) {
    X509_up_ref(one.x509.get());
    SSL_CTX_add_extra_chain_cert(context, one.x509.get());
  }
  if (client_authority != nullptr) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), client_authority->x509.get());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return context;
}

config::v1::Connection Connection(int64_t timeout_ms = 20'000) {
  config::v1::Connection connection;
  connection.set_timeout(timeout_ms * 1'000'000);
  return connection;
}

Request Post(const std::string& url, const std::string& body = "{}") {
  Request request;
  request.url = url;
  request.body = body;
  return request;
}

class HttpTransportTest : public testing::Test {
 protected:
  HttpTransportTest() { std::signal(SIGPIPE, SIG_IGN); }
  static Server::Handler Always(std::string answer) {
    return [answer = std::move(answer)](const Seen&) { return Deed{answer}; };
  }
  CertificateFolder folder_;
};

TEST_F(HttpTransportTest, CarriesARequestAndKeepsTheConnection) {
  Server server(Always(Plain(202, "fine", "X-Answer: yes\r\n")));
  config::v1::Connection connection = Connection();
  connection.add_headers("X-Fixed: 7");
  HttpTransport transport(connection, "outlier-relay/test");
  for (int i = 0; i < 3; ++i) {
    Request request = Post(server.url("/a?b=c"), "body");
    request.headers = {{"Content-Type", "application/json"}};
    const Response response = transport.Send(request);
    ASSERT_TRUE(response.answered()) << response.failure_text;
    EXPECT_EQ(response.status, 202);
    EXPECT_EQ(response.body, "fine");
    EXPECT_EQ(response.Header("x-answer"), "yes");
  }
  const Seen seen = server.seen()[0];
  EXPECT_EQ(seen.line, "POST /a?b=c HTTP/1.1");
  EXPECT_EQ(seen.headers.at("user-agent"), "outlier-relay/test");
  EXPECT_EQ(seen.headers.at("x-fixed"), "7");
  EXPECT_EQ(seen.headers.at("content-type"), "application/json");
  EXPECT_FALSE(seen.headers.contains("expect"));
  EXPECT_EQ(seen.body, "body");
  EXPECT_EQ(server.accepted(), 1);
}

TEST_F(HttpTransportTest, SpeaksOtherMethods) {
  Server server([](const Seen& seen) { return Deed{seen.line.starts_with("HEAD") ? "HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\n" : Plain(200)}; });
  HttpTransport transport(Connection(), "t");
  for (const char* method : {"GET", "HEAD", "PUT", "DELETE", "POST"}) {
    Request request = Post(server.url());
    request.method = method;
    EXPECT_EQ(transport.Send(request).status, 200) << method;
  }
  const auto seen = server.seen();
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_TRUE(seen[i].line.starts_with(std::vector<std::string>{"GET", "HEAD", "PUT", "DELETE", "POST"}[i])) << seen[i].line;
}

TEST_F(HttpTransportTest, CompressesWhereItIsTold) {
  Server server(Always(Plain(200)));
  HttpTransport transport(Connection(), "t");
  Request request = Post(server.url(), std::string(100'000, 'a'));
  request.compress = true;
  transport.Send(request);
  const Seen seen = server.seen()[0];
  EXPECT_EQ(seen.headers.at("content-encoding"), "gzip");
  EXPECT_LT(seen.body.size(), 2000u);
  EXPECT_EQ(seen.body, Gzip(request.body));
  z_stream stream{};
  ASSERT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  std::string out(200'000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(seen.body.data()));
  stream.avail_in = static_cast<uInt>(seen.body.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  EXPECT_EQ(out, request.body);
}

TEST_F(HttpTransportTest, ReadsACompressedAnswer) {
  const std::string body = Gzip("{\"errors\":false}");
  Server server(Always(Plain(200, body, "Content-Encoding: gzip\r\n")));
  HttpTransport transport(Connection(), "t");
  EXPECT_EQ(transport.Send(Post(server.url())).body, "{\"errors\":false}");
}

TEST_F(HttpTransportTest, NamesWhatEndedARequest) {
  {
    Server server([](const Seen&) { return Deed{"", false, true}; });
    HttpTransport transport(Connection(300), "t");
    const auto begun = steady_clock::now();
    const Response response = transport.Send(Post(server.url()));
    EXPECT_EQ(response.failure, Failure::kTimeout) << response.failure_text;
    EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(10));
  }
  {
    Server server([](const Seen&) { return Deed{"", true, false}; });
    EXPECT_EQ(HttpTransport(Connection(), "t").Send(Post(server.url())).failure, Failure::kReset) << "before the answer";
  }
  {
    Server server([](const Seen&) { return Deed{"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\nonly a part", false, false}; });
    Server cut([](const Seen&) { return Deed{"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\nonly a part", true, false}; });
    EXPECT_EQ(HttpTransport(Connection(), "t").Send(Post(cut.url())).failure, Failure::kReset) << "in the middle of it";
  }
  {
    int port = 0;
    { port = Server(Always("")).port(); }
    EXPECT_EQ(HttpTransport(Connection(), "t").Send(Post(fmt::format("http://127.0.0.1:{}/", port))).failure, Failure::kConnect);
  }
  EXPECT_EQ(HttpTransport(Connection(), "t").Send(Post("http://no-such-host.invalid/")).failure, Failure::kConnect);
  EXPECT_EQ(HttpTransport(Connection(), "t").Send(Post("ftp://127.0.0.1/")).failure, Failure::kLocal);
  EXPECT_EQ(HttpTransport(Connection(), "t").Send(Post("http://[broken")).failure, Failure::kLocal);
}

TEST_F(HttpTransportTest, AnEndlessAnswerIsCutOff) {
  const std::string chunk = fmt::format("{:x}\r\n{}\r\n", 1 << 20, std::string(1 << 20, 'x'));
  std::string answer = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t i = 0; i < (kMaxAnswerBytes >> 20) + 2; ++i) answer += chunk;
  Server server(Always(answer));
  HttpTransport transport(Connection(), "t");
  EXPECT_EQ(transport.Send(Post(server.url())).failure, Failure::kTooLarge);
}

TEST_F(HttpTransportTest, FollowsNoRedirect) {
  Server elsewhere(Always(Plain(200)));
  Server server(Always(Plain(307, "", "Location: " + elsewhere.url() + "\r\n")));
  HttpTransport transport(Connection(), "t");
  const Response response = transport.Send(Post(server.url()));
  EXPECT_EQ(response.status, 307);
  EXPECT_TRUE(elsewhere.seen().empty());
  EXPECT_EQ(JudgeHttp(response, 1).kind, Outcome::Kind::kSuspend);
}

TEST_F(HttpTransportTest, UsesTheConfiguredProxyAndNoOther) {
  Server proxy(Always(Plain(200, "of the proxy"))), other(Always(Plain(200, "of the environment's"))), server(Always(Plain(200, "of the server")));
  setenv("http_proxy", other.url().c_str(), 1);
  setenv("all_proxy", other.url().c_str(), 1);
  setenv("no_proxy", "127.0.0.1,localhost", 1);
  HttpTransport direct(Connection(), "t");
  EXPECT_EQ(direct.Send(Post(server.url())).body, "of the server");
  config::v1::Connection connection = Connection();
  connection.set_proxy(proxy.url());
  HttpTransport proxied(connection, "t");
  EXPECT_EQ(proxied.Send(Post(server.url("/x"))).body, "of the proxy") << "no_proxy of the environment counts for nothing";
  EXPECT_EQ(proxy.seen().at(0).line, "POST " + server.url("/x") + " HTTP/1.1");
  for (const char* name : {"http_proxy", "all_proxy", "no_proxy"}) unsetenv(name);
  EXPECT_TRUE(other.seen().empty());
}

TEST_F(HttpTransportTest, EndsARequestUnderWayAndRefusesLaterOnes) {
  Server server([](const Seen&) { return Deed{"", false, true}; });
  HttpTransport transport(Connection(600'000), "t");
  std::thread other([&] {
    while (server.seen().empty()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    transport.Abort();
  });
  const Response response = transport.Send(Post(server.url()));
  other.join();
  const auto begun = steady_clock::now();
  EXPECT_EQ(response.failure, Failure::kReset);
  EXPECT_EQ(transport.Send(Post(server.url())).failure, Failure::kReset);
  EXPECT_LT(steady_clock::now() - begun, std::chrono::milliseconds(500));
}

TEST_F(HttpTransportTest, AbortIsQuick) {
  Server server([](const Seen&) { return Deed{"", false, true}; });
  HttpTransport transport(Connection(600'000), "t");
  std::atomic<steady_clock::time_point> aborted{};
  std::thread other([&] {
    while (server.seen().empty()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    aborted = steady_clock::now();
    transport.Abort();
  });
  transport.Send(Post(server.url()));
  const auto ended = steady_clock::now();
  other.join();
  EXPECT_LT(ended - aborted.load(), std::chrono::milliseconds(1300)) << "libcurl looks once a second";
}

TEST_F(HttpTransportTest, SecretsShowInNoText) {
  const std::string key = "sk-very-secret";
  Server server([&](const Seen&) { return Deed{Plain(403, "{\"error\":\"invalid api key " + key + "\"}")}; });
  HttpTransport transport(Connection(), "t");
  Request request = Post(server.url("/hook/" + key));
  request.headers = {{"Authorization", "Bearer " + key}};
  request.secrets = {key, request.url};
  const Response response = transport.Send(request);
  EXPECT_EQ(Describe(response).find(key), std::string::npos) << Describe(response);
  EXPECT_NE(Describe(response).find("invalid api key"), std::string::npos);
  request.url = "http://127.0.0.1:1/hook/" + key;
  request.secrets = {key};
  EXPECT_EQ(transport.Send(request).failure_text.find(key), std::string::npos);
  request.url = "http://" + key + ".invalid/";
  EXPECT_EQ(transport.Send(request).failure_text.find(key), std::string::npos) << transport.Send(request).failure_text;
  EXPECT_EQ(Redact("a-ab-abc", std::vector<std::string>{"ab", "abc", ""}), "a-***-***");
}

TEST_F(HttpTransportTest, AKeyWithALineBreakIsNoSecondHeader) {
  Server server(Always(Plain(200)));
  HttpTransport transport(Connection(), "t");
  Request request = Post(server.url());
  request.headers = {{"Authorization", "ApiKey a\r\nX-Evil: 1"}};
  request.secrets = {"ApiKey a\r\nX-Evil: 1"};
  const Response response = transport.Send(request);
  EXPECT_EQ(response.failure, Failure::kLocal);
  EXPECT_TRUE(server.seen().empty());
}

// ---- TLS

class TlsTest : public HttpTransportTest {
 protected:
  Certificate authority_ = MakeCertificate({.name = "authority", .authority = true});
  Certificate other_authority_ = MakeCertificate({.name = "another", .authority = true});
  Certificate leaf_ = MakeCertificate({}, &authority_);
  Response Ask(const Server& server, const config::v1::Connection& connection, const std::string& host = "localhost") {
    HttpTransport transport(connection, "t");
    return transport.Send(Post(server.url("/", host)));
  }
  config::v1::Connection Trusting(const Certificate& authority) {
    config::v1::Connection connection = Connection();
    connection.set_ca_file(folder_.Write("ca.pem", authority.Pem()));
    return connection;
  }
  config::v1::Connection Pinned(const std::string& fingerprint) {
    config::v1::Connection connection = Connection();
    connection.set_ca_trusted_fingerprint(fingerprint);
    return connection;
  }
};

TEST_F(TlsTest, TrustsItsOwnAuthorityAndNoOther) {
  Server server(Always(Plain(200)), ServerTls(leaf_, {}));
  EXPECT_EQ(Ask(server, Trusting(authority_)).status, 200);
  EXPECT_EQ(Ask(server, Trusting(other_authority_)).failure, Failure::kTls);
  EXPECT_EQ(Ask(server, Connection()).failure, Failure::kTls) << "the system's authorities do not know it";
  EXPECT_EQ(Ask(server, Trusting(authority_), "127.0.0.1").failure, Failure::kTls) << "another name than the certificate's";
  config::v1::Connection missing = Connection();
  missing.set_ca_file("/nowhere/ca.pem");
  EXPECT_EQ(Ask(server, missing).failure, Failure::kTls);
}

TEST_F(TlsTest, AServerNameIsWhatTheCertificateIsHeldToAndWhatTheServerIsAskedFor) {
  Server server(Always(Plain(200)), ServerTls(leaf_, {}));
  config::v1::Connection connection = Trusting(authority_);
  connection.set_server_name("localhost");
  EXPECT_EQ(Ask(server, connection, "127.0.0.1").status, 200);
  ASSERT_EQ(server.seen().size(), 1u);
  EXPECT_TRUE(server.seen().front().headers.at("host").starts_with("localhost")) << server.seen().front().headers.at("host");
  connection.set_server_name("another.example");  // nobody resolves that: the connection goes where it went
  const Response response = Ask(server, connection, "127.0.0.1");
  EXPECT_EQ(response.failure, Failure::kTls) << response.failure_text;
  EXPECT_NE(response.failure_text.find("another.example"), std::string::npos) << response.failure_text;
  Server plain(Always(Plain(200)));
  EXPECT_EQ(Ask(plain, connection, "127.0.0.1").status, 200) << "without TLS there is nothing to name";
}

TEST_F(TlsTest, TheReasonOfAHandshakeThatFailsIsTold) {
  const auto reason = [&](const Server& server, const std::string& name = "", const Certificate* authority = nullptr) {
    const std::string address = server.url("", "localhost").substr(8);
    return TlsReason({address, name, folder_.Write("ca.pem", (authority == nullptr ? authority_ : *authority).Pem()), "", ""});
  };
  Server good(Always(Plain(200)), ServerTls(leaf_, {}));
  EXPECT_EQ(reason(good), "");
  EXPECT_NE(reason(good, "db-1.example").find("is for localhost, not for db-1.example"), std::string::npos) << reason(good, "db-1.example");
  EXPECT_NE(reason(good, "", &other_authority_).find("not trusted"), std::string::npos) << reason(good, "", &other_authority_);
  const Certificate expired = MakeCertificate({.from_seconds = -7200, .to_seconds = -3600}, &authority_);
  Server late(Always(Plain(200)), ServerTls(expired, {}));
  EXPECT_NE(reason(late).find("expired"), std::string::npos) << reason(late);
  const Certificate early = MakeCertificate({.from_seconds = 3600, .to_seconds = 7200}, &authority_);
  Server soon(Always(Plain(200)), ServerTls(early, {}));
  EXPECT_NE(reason(soon).find("clocks"), std::string::npos) << reason(soon);
  EXPECT_EQ(TlsReason({"localhost:1", "", "", "", ""}), "") << "nobody is there";
}

TEST_F(TlsTest, AnAuthorityFileThatIsReplacedCountsAtTheNextConnection) {
  config::v1::Connection connection = Trusting(other_authority_);
  HttpTransport transport(connection, "t");
  Server server(Always(Plain(200)), ServerTls(leaf_, {}));
  EXPECT_EQ(transport.Send(Post(server.url("/", "localhost"))).failure, Failure::kTls);
  folder_.Write("ca.pem", authority_.Pem());
  EXPECT_EQ(transport.Send(Post(server.url("/", "localhost"))).status, 200);
}

TEST_F(TlsTest, AnExpiredCertificateIsTroubleOfTlsNotOfTheNetwork) {
  const Certificate expired = MakeCertificate({.from_seconds = -7200, .to_seconds = -3600}, &authority_);
  Server server(Always(Plain(200)), ServerTls(expired, {authority_}));
  const Response response = Ask(server, Trusting(authority_));
  EXPECT_EQ(response.failure, Failure::kTls);
  EXPECT_NE(response.failure_text.find("expired"), std::string::npos) << response.failure_text;
  EXPECT_EQ(JudgeHttp(response, 1).kind, Outcome::Kind::kSuspend);
  EXPECT_EQ(Ask(server, Pinned(authority_.Fingerprint())).failure, Failure::kTls) << "a fingerprint excuses no date";
}

TEST_F(TlsTest, AFingerprintTrustsTheAuthorityThatItIsOf) {
  Server server(Always(Plain(200)), ServerTls(leaf_, {authority_}));
  EXPECT_EQ(Ask(server, Pinned(authority_.Fingerprint())).status, 200);
  std::string bare = authority_.Fingerprint();
  std::erase(bare, ':');
  for (char& c : bare) c = static_cast<char>(std::tolower(c));
  EXPECT_EQ(Ask(server, Pinned(bare)).status, 200);
  EXPECT_EQ(Ask(server, Pinned(other_authority_.Fingerprint())).failure, Failure::kTls);
  EXPECT_EQ(Ask(server, Pinned(authority_.Fingerprint()), "127.0.0.1").failure, Failure::kTls) << "the name counts all the same";
}

TEST_F(TlsTest, AFingerprintOfACertificateThatOnlyLiesInTheChainTrustsNobody) {
  // Somebody in the middle sends the true authority's certificate along, which everybody has, under a leaf that it did not sign.
  const Certificate forged = MakeCertificate({}, &other_authority_);
  Server server(Always(Plain(200)), ServerTls(forged, {other_authority_, authority_}));
  EXPECT_EQ(Ask(server, Pinned(authority_.Fingerprint())).failure, Failure::kTls);
  const Certificate namesake = MakeCertificate({.name = "authority", .authority = true});  // of the same name, with another key
  const Certificate by_namesake = MakeCertificate({}, &namesake);
  Server second(Always(Plain(200)), ServerTls(by_namesake, {authority_}));
  EXPECT_EQ(Ask(second, Pinned(authority_.Fingerprint())).failure, Failure::kTls);
}

TEST_F(TlsTest, AFingerprintMayBeOfAnIntermediateAuthority) {
  const Certificate intermediate = MakeCertificate({.name = "between", .authority = true}, &authority_);
  const Certificate leaf = MakeCertificate({}, &intermediate);
  Server server(Always(Plain(200)), ServerTls(leaf, {intermediate, authority_}));
  EXPECT_EQ(Ask(server, Pinned(intermediate.Fingerprint())).status, 200);
  EXPECT_EQ(Ask(server, Pinned(authority_.Fingerprint())).status, 200);
}

TEST_F(TlsTest, ShowsItsOwnCertificateWhereOneIsAskedFor) {
  const Certificate ours = MakeCertificate({.name = "relay"}, &authority_), strangers = MakeCertificate({.name = "stranger"}, &other_authority_);
  Server server(Always(Plain(200)), ServerTls(leaf_, {}, &authority_));
  config::v1::Connection connection = Trusting(authority_);
  const Response bare = Ask(server, connection);
  EXPECT_EQ(bare.failure, Failure::kTls) << bare.failure_text;
  connection.set_certificate_file(folder_.Write("client.pem", ours.Pem()));
  connection.set_key_file(folder_.Write("client.key", ours.KeyPem()));
  EXPECT_EQ(Ask(server, connection).status, 200);
  folder_.Write("client.pem", strangers.Pem());
  folder_.Write("client.key", strangers.KeyPem());
  const Response stranger = Ask(server, connection);
  EXPECT_EQ(stranger.failure, Failure::kTls) << stranger.failure_text;
}

TEST_F(TlsTest, ABreakInTheHandshakeIsTroubleOfTheNetwork) {
  // A TCP server that ends each connection at once, as a proxy before a server that is being restarted.
  Server plain([](const Seen&) { return Deed{"", true, false}; });
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ASSERT_EQ(listen(listener, 5), 0);
  socklen_t size = sizeof name;
  getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size);
  for (const bool reset : {false, true}) {
    std::thread closer([&] {
      const int fd = accept(listener, nullptr, nullptr);
      char byte;
      (void)!read(fd, &byte, 1);
      const linger now{1, 0};
      if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      close(fd);
    });
    const Response response = HttpTransport(Trusting(authority_), "t").Send(Post(fmt::format("https://localhost:{}/", ntohs(name.sin_port))));
    closer.join();
    EXPECT_EQ(response.failure, Failure::kReset) << response.failure_text;
  }
  close(listener);
}

// ---- AWS Signature Version 4

std::string Hmac(const std::string& key, const std::string& text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(), out, &length);
  return {reinterpret_cast<char*>(out), length};
}

std::string Hex(const std::string& bytes) {
  std::string text;
  for (const unsigned char c : bytes) text += fmt::format("{:02x}", c);
  return text;
}

std::string Sha256(const std::string& text) {
  unsigned char out[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), out);
  return Hex({reinterpret_cast<char*>(out), sizeof out});
}

std::string SigningKey(const std::string& secret, const std::string& date, const std::string& region, const std::string& service) {
  return Hmac(Hmac(Hmac(Hmac("AWS4" + secret, date), region), service), "aws4_request");
}

TEST(AwsSignatureTest, TheReferenceGivesThePublishedAnswer) {
  // The example of AWS's own documentation, "Examples of how to derive a signing key".
  EXPECT_EQ(Hex(SigningKey("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam")), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
}

TEST_F(HttpTransportTest, SignsForAwsWhatIsSent) {
  Server server(Always(Plain(200)));
  HttpTransport transport(Connection(), "t");
  for (const bool compress : {false, true}) {
    Request request = Post(server.url("/"), "Action=PutMetricData&Version=2010-08-01&Namespace=Outlier");
    request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
    request.compress = compress;
    request.aws = Request::AwsSignature{"monitoring", "eu-west-1", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a-session-token"};
    request.secrets = {"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
    ASSERT_EQ(transport.Send(request).status, 200);
    Seen seen = server.seen().back();
    std::string all;
    for (const auto& [name, value] : seen.headers) all += name + ": " + value + "\n";
    SCOPED_TRACE(all);
    for (const char* name : {"authorization", "x-amz-date", "x-amz-security-token"}) ASSERT_TRUE(seen.headers.contains(name)) << name;
    const std::string authorization = seen.headers.at("authorization");
    const std::string date = seen.headers.at("x-amz-date");
    EXPECT_EQ(seen.headers.at("x-amz-security-token"), "a-session-token");
    const std::string scope = fmt::format("{}/eu-west-1/monitoring/aws4_request", date.substr(0, 8));
    EXPECT_EQ(authorization.find("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/" + scope + ", SignedHeaders="), 0u) << authorization;
    const size_t from = authorization.find("SignedHeaders=") + 14;
    const std::string signed_headers = authorization.substr(from, authorization.find(',', from) - from);
    EXPECT_NE(signed_headers.find("host"), std::string::npos);
    EXPECT_NE(signed_headers.find("x-amz-date"), std::string::npos);
    EXPECT_NE(signed_headers.find("x-amz-security-token"), std::string::npos) << "AWS refuses a token that is not signed";
    std::string canonical = "POST\n/\n\n", rest = signed_headers + ";";
    for (size_t at; (at = rest.find(';')) != std::string::npos; rest.erase(0, at + 1)) {
      ASSERT_TRUE(seen.headers.contains(rest.substr(0, at))) << "signed, but not sent: " << rest.substr(0, at) << " of " << signed_headers;
      canonical += rest.substr(0, at) + ":" + seen.headers.at(rest.substr(0, at)) + "\n";
    }
    canonical += "\n" + signed_headers + "\n" + Sha256(seen.body);
    const std::string to_sign = "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + Sha256(canonical);
    const std::string expected = Hex(Hmac(SigningKey(request.aws->secret_access_key, date.substr(0, 8), "eu-west-1", "monitoring"), to_sign));
    EXPECT_NE(authorization.find("Signature=" + expected), std::string::npos) << authorization << "\n" << canonical;
  }
}

TEST(MakeTransportTest, SaysWhatIsWrongWithAConfiguration) {
  const auto wrong = [](const std::function<void(config::v1::Connection*)>& tweak) {
    config::v1::Connection connection = Connection();
    tweak(&connection);
    return std::string(MakeTransport(connection, "t").status().message());
  };
  EXPECT_EQ(wrong([](auto*) {}), "");
  for (const char* header : {"no colon", ": x", "a b: c", "a: b\r\nc: d", "a: \x01"}) {
    EXPECT_EQ(wrong([&](auto* c) { c->add_headers(header); }), "connection.headers[0]: expected \"Name: value\"") << header;
  }
  EXPECT_NE(wrong([](auto* c) { c->set_ca_trusted_fingerprint("abc"); }), "");
  EXPECT_NE(wrong([](auto* c) { c->set_certificate_file("x"); }), "");
  for (const char* name : {"https://db", "db:443", "a b", "[::1]"}) {
    EXPECT_NE(wrong([&](auto* c) { c->set_server_name(name); }), "") << name;
  }
}

}  // namespace
}  // namespace outlier
