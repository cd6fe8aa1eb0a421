// Requests and answers over HTTP, and what ends them.
#include <zlib.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/transport/http_fixture.h"
#include "userspace/transport/gzip.h"
#include "userspace/transport/http.h"
#include "userspace/transport/redact.h"

namespace outlier {
namespace {

using std::chrono::steady_clock;

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
