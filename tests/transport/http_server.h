// An HTTP/1.1 server on loopback, with TLS or without, that answers as a test says or breaks off.
#pragma once
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tests/transport/certificates.h"

namespace outlier {

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

inline std::string Plain(int status, const std::string& body = "", const std::string& headers = "") {
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

inline SSL_CTX* ServerTls(const Certificate& leaf, const std::vector<Certificate>& chain, const Certificate* client_authority = nullptr) {
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

}  // namespace outlier
