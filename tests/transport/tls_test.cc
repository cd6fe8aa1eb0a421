// Whom the transport trusts, whom it shows its certificate, and what it says of a handshake that fails.
#include <optional>

#include "tests/transport/http_fixture.h"
#include "userspace/delivery/tls_reason.h"
#include "userspace/transport/http.h"

namespace outlier {
namespace {

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

}  // namespace
}  // namespace outlier
