// HTTP by libcurl. See transport.h for the rules.
#pragma once
#include <atomic>
#include <memory>
#include <string>

#include "outlier/config/v1/relay.pb.h"
#include "userspace/delivery/exchange.h"

namespace outlier {

class HttpTransport {
 public:
  HttpTransport(config::v1::Connection connection, std::string user_agent);
  ~HttpTransport();
  HttpTransport(const HttpTransport&) = delete;
  HttpTransport& operator=(const HttpTransport&) = delete;
  Response Send(const Request& request);
  void Abort() { aborted_ = true; }

 private:
  struct Exchange;
  const config::v1::Connection connection_;
  const std::string user_agent_;
  void* curl_;  // CURL*, whose header is not for everybody
  std::atomic<bool> aborted_ = false;
};

}  // namespace outlier
