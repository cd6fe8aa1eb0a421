// A server that takes everything and does next to nothing, so that the relay is what is measured: HTTP/1.1, a thread a connection.
//
//   null_sink [FILE]
//
// Prints `port <n>`. Answers 200 to whatever comes; to GET / as Elasticsearch 8.19 does, as one that is set up, and to a _bulk with as many items as it holds, for which its body
// has to be unpacked. With FILE each body is kept there as it came, behind its length as eight bytes, little-endian: what arrived can be
// counted afterwards. End of stdin ends it.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr size_t kAtOnce = 256 << 10;
constexpr std::string_view kVersion = R"({"version":{"number":"8.19.0","build_flavor":"default"},"tagline":"You Know, for Search"})";

constexpr std::string_view kTemplates =
    R"({"index_templates":[{"name":"logs-outlier.change","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"metrics-outlier.score","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"metrics-outlier.signal","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"metrics-outlier.host","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"outlier-incidents","index_template":{"_meta":{"managed_by":"outlier-relay"}}}]})";

struct Head {
  bool bulk = false, root = false, templates = false, gzip = false;
  size_t length = 0;
};

Head Parse(std::string text) {
  Head head;
  head.bulk = text.find("/_bulk") < text.find("\r\n");
  head.root = text.starts_with("GET / ");
  head.templates = text.starts_with("GET /_index_template/");
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  head.gzip = text.find("\r\ncontent-encoding: gzip") != std::string::npos;
  if (const size_t at = text.find("\r\ncontent-length: "); at != std::string::npos) head.length = std::strtoull(text.c_str() + at + 18, nullptr, 10);
  return head;
}

// Of an NDJSON whose every action has a document. Nothing where it cannot be unpacked.
std::optional<size_t> Operations(std::string_view body, bool gzip) {
  if (!gzip) return static_cast<size_t>(std::count(body.begin(), body.end(), '\n')) / 2;
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return std::nullopt;
  std::vector<unsigned char> plain(kAtOnce);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  stream.avail_in = static_cast<uInt>(body.size());
  size_t lines = 0;
  int code = Z_OK;
  while (code == Z_OK) {
    stream.next_out = plain.data();
    stream.avail_out = static_cast<uInt>(plain.size());
    code = inflate(&stream, Z_NO_FLUSH);
    lines += static_cast<size_t>(std::count(plain.data(), stream.next_out, '\n'));
  }
  inflateEnd(&stream);
  if (code != Z_STREAM_END) return std::nullopt;
  return lines / 2;
}

std::string ItemsOf(size_t operations) {
  std::string text = R"({"errors":false,"items":[)";
  for (size_t i = 0; i < operations; ++i) text += i == 0 ? R"({"index":{"status":201}})" : R"(,{"index":{"status":201}})";
  return text + "]}";
}

class Keeper {
 public:
  explicit Keeper(const char* path) : fd_(path == nullptr ? -1 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {}
  void Keep(std::string_view body) {
    if (fd_ < 0 || body.empty()) return;
    const std::lock_guard lock(mutex_);
    const uint64_t length = body.size();
    const iovec parts[] = {{const_cast<uint64_t*>(&length), sizeof length}, {const_cast<char*>(body.data()), body.size()}};
    if (writev(fd_, parts, 2) != static_cast<ssize_t>(sizeof length + body.size())) {
      perror("null_sink: cannot keep a body");
      _exit(1);
    }
  }

 private:
  const int fd_;
  std::mutex mutex_;
};

bool SendAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void Serve(int fd, Keeper* keeper) {
  std::string in;
  std::vector<char> buffer(kAtOnce);
  const auto more = [&] {
    const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
    if (got > 0) in.append(buffer.data(), static_cast<size_t>(got));
    return got > 0;
  };
  for (bool alive = true; alive;) {
    size_t end = 0;
    while (alive && (end = in.find("\r\n\r\n")) == std::string::npos) alive = more();
    if (!alive) break;
    const Head head = Parse(in.substr(0, end + 2));
    const size_t whole = end + 4 + head.length;
    while (alive && in.size() < whole) alive = more();
    if (!alive) break;
    const std::string_view body = std::string_view(in).substr(end + 4, head.length);
    keeper->Keep(body);
    const std::optional<size_t> operations = head.bulk ? Operations(body, head.gzip) : 0;
    std::string answer = head.root ? std::string(kVersion) : head.templates ? std::string(kTemplates) : head.bulk && operations ? ItemsOf(*operations) : "";
    const std::string_view type = head.root || head.templates || head.bulk ? "application/json" : "application/x-protobuf";
    alive = SendAll(fd, std::string(operations ? "HTTP/1.1 200 OK" : "HTTP/1.1 400 Bad Request") + "\r\nContent-Type: " + std::string(type) +
                            "\r\nX-Elastic-Product: Elasticsearch\r\nContent-Length: " + std::to_string(answer.size()) + "\r\n\r\n" + answer);
    in.erase(0, whole);
  }
  close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  Keeper keeper(argc > 1 ? argv[1] : nullptr);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(listener, 64) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    perror("null_sink: cannot listen on the loopback");
    return 1;
  }
  std::cout << "port " << ntohs(address.sin_port) << std::endl;
  std::thread([&] {
    for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      std::thread(Serve, fd, &keeper).detach();
    }
  }).detach();
  for (char c; read(STDIN_FILENO, &c, 1) > 0;) {
  }
  _exit(0);
}
