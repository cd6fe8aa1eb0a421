// Sinks: systems that findings are carried to. A sink writes requests and reads answers; it knows nothing of cursors, retries, threads or
// time-outs, so it is a pure function of its configuration, its key files and what it is given. Not thread-safe: one thread carries one sink.
//
// Two kinds. A *stream* sink gets every change that its route lets through, in batches. A *state* sink holds what is open: it is told what to
// open, update, acknowledge and resolve.
//
// To add one: a message in relay.proto, a pair of files here, one line in sinks.def.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "outlier/config/v1/relay.pb.h"
#include "userspace/delivery/exchange.h"
#include "userspace/delivery/finding.h"
#include "userspace/delivery/secret_file.h"

namespace outlier {

// What every sink may ask for at its making.
struct SinkContext {
  config::v1::Sink config;
  std::string version;         // of the relay, for User-Agent and instrumentation scope
  std::string relay_host;      // host name of this machine
};

// A request that has to come before others: a token, the dialect of a server.
struct Preparation {
  Request request;
  std::string what;            // "ask https://es:9200 for its version"
};

class Sink {
 public:
  virtual ~Sink() = default;
  // The next request that has to be answered before any other begins at `now`, if any; of a sink that knows repeats, one sent before may still be under
  // way. Asked before every batch; must not repeat itself once answered.
  virtual std::optional<Preparation> Prepare(WallTime now) { (void)now; return std::nullopt; }
  // Its answer. Anything but Delivered(0) puts the sink off as a batch would be.
  virtual Outcome Prepared(const Response& response, WallTime now) { (void)response, (void)now; return Outcome::Delivered(0); }
  // A request that changes nothing, for `outlier-relay check`: does the server answer and take our key? Nothing = there is none.
  virtual std::optional<Preparation> Check() { return std::nullopt; }
  // Where there are several servers that each get everything, one for each.
  virtual std::vector<Preparation> CheckEach();
  virtual absl::Status Checked(const Response& response);  // default: by JudgeHttp / JudgeGrpc
  // What `outlier-relay setup` installs, in order. Idempotent there.
  struct SetupStep {
    Request request;
    std::string what;
    bool optional = false;          // a server that lacks the feature refuses it (4xx), and the rest works without
    std::optional<Request> look = std::nullopt;  // where it exists: asked, and from its answer made what puts ours in its place
    std::function<std::optional<Request>(const Response& there)> instead = nullptr;  // nothing = that answer does not say enough
  };
  virtual absl::StatusOr<std::vector<SetupStep>> Setup() { return std::vector<SetupStep>{}; }
};

class StreamSink : public Sink {
 public:
  struct Limits {
    size_t max_items = 100'000;      // a request
    size_t max_bytes = 64 << 20;     // of a body before compression
    bool changes = true;             // whether it takes changes at all
    bool samples = false;            // whether it takes samples
    std::chrono::nanoseconds oldest{0};  // a change older than this is expired, not sent; 0 = any age
    bool works_ahead = false;        // a request depends on no answer and no moment: the next may be written while one is under way
    bool knows_repeats = false;      // by ids, and the newer by its sequence: what is sent again or too late changes nothing, so several batches may share
                                     // one commit, and two may be under way
    bool opens_after_silence = false;  // it is not told of what a silence covers: where it is open when that ends it is told then, as an opening; and an
                                       // end only where an opening was. Wants is not asked of what is quiet
  };
  virtual Limits limits() const = 0;
  // False for a change that this sink has no use for (an update nobody would read in a chat): it is passed over as if the route had not let it
  // through. Pure. Encode takes it all the same.
  virtual bool Wants(const Finding& finding) const { (void)finding; return true; }
  // At least one finding, all within limits(). INVALID_ARGUMENT refuses the batch (and, bisected, the one item); any other error, such as
  // a key file that cannot be read, suspends the sink.
  virtual absl::StatusOr<Request> Encode(std::span<const Finding> findings, WallTime now) = 0;
  virtual Outcome Judge(const Response& response, std::span<const Finding> findings) = 0;
  // Where limits().samples: one request at a time until nothing is left. Never retried more than the transport does.
  virtual std::vector<Request> EncodeSamples(const Samples& samples, WallTime now) { (void)samples, (void)now; return {}; }
  virtual Outcome JudgeSamples(const Response& response);  // default: as JudgeHttp / JudgeGrpc of one item
  // All that is open at a source and goes through the sink's route, when the relay begins to follow it or a gap came: for sinks that go on
  // telling what is open. Nothing is to be sent for it.
  virtual void SetOpen(const v1::Source& source, std::span<const v1::Incident> open) { (void)source, (void)open; }
};

// What a state sink is to be told.
struct Page {
  enum class Action {
    kOpen,
    kUpdate,       // while open; escalation too
    kAcknowledge,
    kResolve,
    kRepeat,       // said again: still open, after repeat_interval, or because the sink forgets (Alertmanager); or over, within repeat_resolved
    kDigest,       // `text` only: what opened and resolved meanwhile, what was withheld
  };
  Action action = Action::kOpen;
  std::string key;                 // of this incident there; stable from open to resolve; <= 128 bytes, printable ASCII
  Finding finding;                 // the newest state; kDigest: change.time and source at most, and the worst severity where it is not quiet
  std::vector<std::string> related;  // summaries of incidents that this page speaks for, too
  std::string text;                // kDigest
  bool digest_quiet = false;       // kDigest: worth a line, not a person's sleep
};

class StateSink : public Sink {
 public:
  struct Capabilities {
    bool acknowledge = false;      // outward
    bool update = false;           // an open one can be changed in place
    bool resolve = true;           // has a way to resolve; else a resolution is a message of its own
    bool digest = true;            // can be told something that is no incident
    std::chrono::seconds repeat_open{0};  // forgets what is not repeated this often; 0 = remembers
    std::chrono::seconds repeat_resolved{0};  // so long a resolution goes on being said, as often: a server may have been away, or have told nobody yet
    size_t pages_per_request = 1;
  };
  virtual Capabilities capabilities() const = 0;
  // Requests that must all be answered, in order; more than one where there are several servers (`all_needed` false then: each gets it whatever the
  // others say; one that takes it is enough for the page to count as delivered, and it is refused where all refuse it). Empty = nothing to say for
  // this page here.
  struct Letters {
    std::vector<Request> requests;
    bool all_needed = true;
  };
  // At most pages_per_request pages. Errors as of StreamSink::Encode.
  virtual absl::StatusOr<Letters> Encode(std::span<const Page> pages, WallTime now) = 0;
  virtual Outcome Judge(const Response& response, std::span<const Page> pages) = 0;
};

// Exactly one of the two.
struct AnySink {
  std::unique_ptr<StreamSink> stream;
  std::unique_ptr<StateSink> state;
  std::string kind;                // "elasticsearch": its key in relay.yaml
  Sink& base() const { return stream ? static_cast<Sink&>(*stream) : static_cast<Sink&>(*state); }
};

// INVALID_ARGUMENT: "sinks[2] (oncall): pagerduty.routing_key_file: ..." for what the schema cannot say. Files are not read yet.
absl::StatusOr<AnySink> MakeSink(const SinkContext& context);

}  // namespace outlier
