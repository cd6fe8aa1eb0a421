#include "userspace/outlier_relay/http_server.h"

#include <thread>

#include <fmt/format.h>
#include <httplib.h>

#include "absl/strings/numbers.h"
#include "userspace/base/text.h"

namespace outlier {
namespace {

constexpr size_t kThreads = 4;
constexpr time_t kPatienceSeconds = 5;
constexpr size_t kMaxRequestBytes = 64 << 10;

absl::StatusOr<std::pair<std::string, int>> AddressOf(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 || !absl::SimpleAtoi(listen.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(fmt::format("http.listen: \"{}\" is no address: expected host:port", Printable(listen, 200)));
  }
  std::string host = listen.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);  // IPv6
  return std::pair(std::move(host), port);
}

class LibHttpServer : public HttpServer {
 public:
  explicit LibHttpServer(Relay* relay) : relay_(*relay) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    server_.set_read_timeout(kPatienceSeconds);
    server_.set_write_timeout(kPatienceSeconds);
    server_.set_keep_alive_max_count(100);
    server_.set_payload_max_length(kMaxRequestBytes);
    server_.Get("/metrics", [this](const httplib::Request& request, httplib::Response& response) {
      const Exposition::Page page = relay_.Metrics(request.get_header_value("Accept"));
      response.set_content(page.body, page.content_type.c_str());
    });
    server_.Get("/-/healthy", [](const httplib::Request&, httplib::Response& response) { response.set_content("healthy\n", "text/plain"); });
    server_.Get("/-/ready", [this](const httplib::Request&, httplib::Response& response) {
      response.status = relay_.ready() ? 200 : 503;
      response.set_content(relay_.ready() ? "ready\n" : "starting\n", "text/plain");
    });
  }
  absl::Status Listen(const std::string& listen) {
    const auto address = AddressOf(listen);
    if (!address.ok()) return address.status();
    const auto& [host, port] = *address;
    port_ = port == 0 ? server_.bind_to_any_port(host) : server_.bind_to_port(host, port) ? port : -1;
    if (port_ < 0) return absl::UnavailableError(fmt::format("cannot listen on {}: is the address in use, or not of this host?", Printable(listen, 200)));
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    return absl::OkStatus();
  }
  ~LibHttpServer() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }
  int port() const override { return port_; }

 private:
  Relay& relay_;
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace

absl::Status HttpServer::CheckAddress(const std::string& listen) { return listen.empty() ? absl::OkStatus() : AddressOf(listen).status(); }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& listen, Relay* relay) {
  auto server = std::make_unique<LibHttpServer>(relay);
  if (absl::Status status = server->Listen(listen); !status.ok()) return status;
  return server;
}

}  // namespace outlier
