// What all tests of the HTTP transport begin with.
#pragma once
#include <csignal>
#include <string>
#include <utility>

#include "tests/transport/http_server.h"
#include "userspace/transport/transport.h"

namespace outlier {

inline config::v1::Connection Connection(int64_t timeout_ms = 20'000) {
  config::v1::Connection connection;
  connection.set_timeout(timeout_ms * 1'000'000);
  return connection;
}

inline Request Post(const std::string& url, const std::string& body = "{}") {
  Request request;
  request.url = url;
  request.body = body;
  return request;
}

class HttpTransportTest : public testing::Test {
 protected:
  using Failure = Response::Failure;
  HttpTransportTest() { std::signal(SIGPIPE, SIG_IGN); }
  static Server::Handler Always(std::string answer) {
    return [answer = std::move(answer)](const Seen&) { return Deed{answer}; };
  }
  CertificateFolder folder_;
};

}  // namespace outlier
