// What every line of sinks.def promises, whatever system it speaks to.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "tests/sinks/example_config.h"
#include "tests/sinks/examples.h"
#include "userspace/config/message_from_yaml.h"
#include "userspace/sinks/wire.h"

namespace outlier {
namespace {

using examples::Keys;
using examples::Now;
using Kind = Outcome::Kind;

// What a system says when it is asked for a token or for its version: enough for any sink.
constexpr char kAnswerToPreparation[] =
    R"({"access_token":"s3cret-token","token_type":"Bearer","expires_in":3600,"name":"node","cluster_name":"c","version":{"number":"8.19.0"},"tagline":"You Know, for Search",)"
    R"("index_templates":[{"name":"logs-outlier.change","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"metrics-outlier.score","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"metrics-outlier.signal","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"metrics-outlier.host","index_template":{"_meta":{"managed_by":"outlier-relay"}}},)"
    R"({"name":"outlier-incidents","index_template":{"_meta":{"managed_by":"outlier-relay"}}}]})";

Response Answer(int status, std::string body = "", Headers headers = {}) {
  Response response;
  response.status = status;
  response.body = std::move(body);
  response.headers = std::move(headers);
  return response;
}

Response Broken(Response::Failure failure) {
  Response response;
  response.failure = failure;
  response.failure_text = "it broke";
  return response;
}

std::string HeaderOf(const Request& request, std::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (std::equal(key.begin(), key.end(), name.begin(), name.end(), [](char a, char b) { return std::tolower(a) == std::tolower(b); })) return value;
  }
  return "";
}

// "" or what is wrong with it as a request of HTTP or gRPC.
std::string Fault(const Request& request) {
  for (const auto& [name, value] : request.headers) {
    const bool token = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_'; });
    if (!token) return "a header's name is no token: " + name;
    if (std::any_of(value.begin(), value.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) return "header " + name + " holds control characters";
  }
  for (const std::string& secret : request.secrets) {
    if (secret.empty()) return "an empty text among its secrets would blank every message";
  }
  if (request.protocol == Request::Protocol::kGrpc) return request.grpc_method.starts_with("/") ? "" : "no gRPC method";
  constexpr std::string_view kForbidden = " <>\"{}|\\^`";
  if (!request.url.starts_with("https://") && !request.url.starts_with("http://")) return "not an address of HTTP: " + request.url;
  for (const unsigned char c : request.url) {
    if (c <= 0x20 || c >= 0x7f || kForbidden.find(static_cast<char>(c)) != std::string_view::npos) return "characters in the URL that must be escaped: " + request.url;
  }
  for (const char* by_transport : {"Content-Length", "Content-Encoding", "Transfer-Encoding", "Host"}) {
    const std::string value = HeaderOf(request, by_transport);
    if (value == "snappy" && !request.compress) continue;  // of remote write's own contract: no transport knows it
    if (!value.empty()) return fmt::format("{} is the transport's", by_transport);
  }
  const std::string type = HeaderOf(request, "Content-Type");
  if (request.body.empty()) return "";
  if (type.empty()) return "a body without Content-Type";
  if (type.find("ndjson") != std::string::npos) {
    if (request.body.back() != '\n') return "the last line does not end";
    for (size_t begin = 0; begin < request.body.size();) {
      const size_t end = request.body.find('\n', begin);
      const std::string_view line(request.body.data() + begin, end - begin);
      if (ParseJson(line).is_discarded()) return fmt::format("a line is no JSON: {}", line.substr(0, 300));
      begin = end + 1;
    }
  } else if (type.find("json") != std::string::npos) {
    if (ParseJson(request.body).is_discarded()) return "the body is no JSON: " + request.body.substr(0, 300);
  }
  return "";
}

std::string Whole(const Request& request) {
  std::string text = fmt::format("{} {}\n{}\n", request.method, request.url, request.grpc_method);
  for (const auto& [name, value] : request.headers) text += fmt::format("{}: {}\n", name, value);
  if (request.aws) {
    const Request::AwsSignature& aws = *request.aws;
    text += fmt::format("aws {} {} {} {} {}\n", aws.service, aws.region, aws.access_key_id, aws.secret_access_key, aws.session_token);
  }
  return text + request.body;
}

bool WellFormed(const Outcome& outcome, size_t items) {
  if (outcome.kind != Kind::kItems) return !outcome.reason.empty();
  return outcome.items.size() == items && (outcome.reasons.empty() || outcome.reasons.size() == items);
}

// An outcome in one word, whether it was told of the batch or of each of its items.
std::string Verdict(const Outcome& outcome) {
  switch (outcome.kind) {
    case Kind::kRetry: return "retry";
    case Kind::kSuspend: return "suspend";
    case Kind::kEnded: return "ended";
    case Kind::kSplit: return "split";
    case Kind::kRefused: return "refused";
    case Kind::kItems: break;
  }
  const auto all = [&](ItemOutcome wanted) { return std::all_of(outcome.items.begin(), outcome.items.end(), [&](ItemOutcome o) { return o == wanted; }); };
  return all(ItemOutcome::kDelivered) ? "delivered" : all(ItemOutcome::kRetry) ? "retry" : all(ItemOutcome::kRefused) ? "refused" : "mixed";
}

class EverySink : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<AnySink> Make() {
    absl::StatusOr<AnySink> sink = MakeSink(examples::ContextOf(GetParam(), &keys_));
    EXPECT_TRUE(sink.ok()) << sink.status();
    return sink.ok() ? std::make_unique<AnySink>(std::move(*sink)) : nullptr;
  }

  // Asks and answers what has to come before others.
  static void GetReady(Sink& sink) {
    for (int i = 0; i < 5; ++i) {
      const std::optional<Preparation> preparation = sink.Prepare(Now());
      if (!preparation) return;
      EXPECT_EQ(Fault(preparation->request), "") << preparation->what;
      EXPECT_NE(preparation->what, "");
      const Outcome outcome = sink.Prepared(Answer(200, kAnswerToPreparation), Now());
      EXPECT_EQ(Verdict(outcome), "delivered") << outcome.reason;
    }
    ADD_FAILURE() << "it asks to be prepared again and again";
  }

  static bool TakesChanges(const AnySink& sink) { return !sink.stream || sink.stream->limits().changes; }

  // What it sends for one item, or why not.
  static absl::StatusOr<std::vector<Request>> For(AnySink& sink, const Finding& finding, Page::Action action = Page::Action::kUpdate) {
    if (sink.stream) {
      auto request = sink.stream->Encode({&finding, 1}, Now());
      if (!request.ok()) return request.status();
      return std::vector<Request>{*request};
    }
    const Page page = examples::PageOf(action, finding);
    auto letters = sink.state->Encode({&page, 1}, Now());
    if (!letters.ok()) return letters.status();
    return letters->requests;
  }

  // All that it can be made to send, every finding or page by itself.
  static std::vector<Request> Everything(AnySink& sink, bool samples_too = true) {
    std::vector<Request> requests;
    const auto keep = [&](auto encoded, const std::string& of) {
      EXPECT_TRUE(encoded.ok()) << of << ": " << encoded.status();
      if (encoded.ok()) requests.insert(requests.end(), encoded->begin(), encoded->end());
    };
    if (sink.stream) {
      if (TakesChanges(sink)) {
        for (const Finding& finding : examples::All()) keep(For(sink, finding), FindingKey(finding));
      }
      if (samples_too && sink.stream->limits().samples) {
        for (const Samples& samples : {examples::Scores(), examples::Signals(), examples::HostStatus(), examples::HostileSamples()}) {
          const std::vector<Request> more = sink.stream->EncodeSamples(samples, Now());
          requests.insert(requests.end(), more.begin(), more.end());
        }
      }
    } else {
      for (Page page : examples::Pages()) {
        auto letters = sink.state->Encode({&page, 1}, Now());
        EXPECT_TRUE(letters.ok()) << letters.status();
        if (letters.ok()) requests.insert(requests.end(), letters->requests.begin(), letters->requests.end());
      }
      for (const Finding& finding : {examples::RestartLoop(), examples::Silenced(), examples::Minimal(), examples::Hostile(), examples::Huge()}) {
        for (const auto action : {Page::Action::kOpen, Page::Action::kUpdate, Page::Action::kResolve}) keep(For(sink, finding, action), FindingKey(finding));
      }
    }
    return requests;
  }

  static Outcome Judge(AnySink& sink, const Response& response) {
    if (sink.stream) {
      const Finding finding = examples::Opened();
      return TakesChanges(sink) ? sink.stream->Judge(response, {&finding, 1}) : sink.stream->JudgeSamples(response);
    }
    const Page page = examples::PageOf(Page::Action::kOpen, examples::Opened());
    return sink.state->Judge(response, {&page, 1});
  }

  Keys keys_;
};

TEST_P(EverySink, IsMadeOfOneKindAndNamed) {
  const auto sink = Make();
  ASSERT_TRUE(sink);
  EXPECT_NE(sink->stream == nullptr, sink->state == nullptr);
  EXPECT_EQ(sink->kind, GetParam());
}

TEST_P(EverySink, RefusesAConfigurationThatLacksWhatItNeeds) {
  SinkContext context;
  const auto* field = context.config.GetDescriptor()->FindFieldByName(GetParam());
  FillDefaults(context.config.GetReflection()->MutableMessage(&context.config, field));
  const absl::StatusOr<AnySink> sink = MakeSink(context);
  if (sink.ok()) return;  // it needs nothing
  EXPECT_EQ(sink.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(sink.status().message().find(GetParam() + "."), absl::string_view::npos) << "the key is not named: " << sink.status();
}

TEST_P(EverySink, SendsWholeRequestsForEveryItemHoweverHostile) {
  const auto sink = Make();
  ASSERT_TRUE(sink);
  GetReady(sink->base());
  const std::vector<Request> requests = Everything(*sink);
  EXPECT_FALSE(requests.empty());
  for (const Request& request : requests) EXPECT_EQ(Fault(request), "");
}

TEST_P(EverySink, SendsTheSameForTheSame) {
  const auto first = Make(), second = Make();
  ASSERT_TRUE(first && second);
  GetReady(first->base());
  GetReady(second->base());
  const auto expect_same = [](const std::vector<Request>& one, const std::vector<Request>& other) {
    ASSERT_EQ(one.size(), other.size());
    for (size_t i = 0; i < one.size(); ++i) EXPECT_EQ(Whole(one[i]), Whole(other[i]));
  };
  // Changes are encoded again when they are sent again. Samples never are: a sink may tell what came since the last.
  expect_same(Everything(*first, false), Everything(*first, false));
  expect_same(Everything(*first), Everything(*second));
}

TEST_P(EverySink, NamesEverySecretItSends) {
  const auto sink = Make();
  ASSERT_TRUE(sink);
  std::vector<Request> requests;
  for (int i = 0; i < 5; ++i) {
    const auto preparation = sink->base().Prepare(Now());
    if (!preparation) break;
    requests.push_back(preparation->request);
    sink->base().Prepared(Answer(200, kAnswerToPreparation), Now());
  }
  for (Request& request : Everything(*sink)) requests.push_back(std::move(request));
  for (const Preparation& check : sink->base().CheckEach()) requests.push_back(check.request);
  const auto steps = sink->base().Setup();
  ASSERT_TRUE(steps.ok()) << steps.status();
  for (const Sink::SetupStep& step : *steps) requests.push_back(step.request);

  for (const Request& request : requests) {
    const std::string whole = Whole(request);
    const auto named = [&](std::string_view text) {
      return std::any_of(request.secrets.begin(), request.secrets.end(), [&](const std::string& secret) { return secret.find(text) != std::string::npos; });
    };
    for (const std::string& content : keys_.contents()) {
      const std::string key = content.substr(content.find(": ") == std::string::npos ? 0 : content.find(": ") + 2);  // of a line "Name: value"
      EXPECT_TRUE(whole.find(key) == std::string::npos || named(key)) << key << " is sent, but not named a secret";
    }
    const std::string authorization = HeaderOf(request, "Authorization");
    if (authorization.find(' ') != std::string::npos) {
      const std::string credentials = authorization.substr(authorization.find(' ') + 1);
      EXPECT_TRUE(named(credentials)) << "what follows the scheme in Authorization is not named a secret";
    }
  }
}

TEST_P(EverySink, UsesAKeyAsSoonAsItsFileChanges) {
  const auto sink = Make();
  ASSERT_TRUE(sink);
  GetReady(sink->base());
  Everything(*sink);
  const std::vector<std::string> names = keys_.names(), old = keys_.contents();
  for (size_t i = 0; i < names.size(); ++i) {
    std::string rotated = old[i];
    const size_t at = rotated.find("s3cret");
    at == std::string::npos ? rotated = "whsec_cjB0YXRlZCBzaWduaW5nIGtleSBvZiB3ZWJob29r" : rotated.replace(at, 6, "r0tated");
    keys_.Write(names[i], rotated);
  }
  GetReady(sink->base());
  for (const Request& request : Everything(*sink)) {
    const std::string whole = Whole(request);
    for (const std::string& key : old) {
      EXPECT_EQ(whole.find(key), std::string::npos) << "still sends " << key;
      EXPECT_EQ(std::count(request.secrets.begin(), request.secrets.end(), key), 0) << "still holds " << key;
    }
  }
}

TEST_P(EverySink, IsSuspendedByAKeyThatIsGone) {
  const auto sink = Make();
  ASSERT_TRUE(sink);
  if (keys_.names().empty() || !TakesChanges(*sink)) GTEST_SKIP() << "it has no keys, or takes no changes";
  for (const std::string& name : keys_.names()) keys_.Remove(name);
  sink->base().Prepare(Now());
  const auto requests = For(*sink, examples::Opened(), Page::Action::kOpen);
  ASSERT_FALSE(requests.ok());
  EXPECT_NE(requests.status().code(), absl::StatusCode::kInvalidArgument) << "the finding is not to blame: " << requests.status();
}

TEST_P(EverySink, ReadsAnswersAsItsSystemMeansThem) {
  const auto sink = Make();
  ASSERT_TRUE(sink);
  GetReady(sink->base());
  const auto requests = TakesChanges(*sink) ? For(*sink, examples::Opened(), Page::Action::kOpen) : absl::StatusOr<std::vector<Request>>(std::vector<Request>{});
  ASSERT_TRUE(requests.ok()) << requests.status();
  using Failure = Response::Failure;
  for (const Failure failure : {Failure::kConnect, Failure::kTimeout, Failure::kReset}) EXPECT_EQ(Verdict(Judge(*sink, Broken(failure))), "retry");
  EXPECT_EQ(Verdict(Judge(*sink, Broken(Failure::kTls))), "suspend") << "a certificate mends no sooner by asking";
  EXPECT_EQ(Verdict(Judge(*sink, Broken(Failure::kLocal))), "suspend");
  if (!requests->empty() && requests->front().protocol == Request::Protocol::kGrpc) return;
  for (const auto& [status, verdict] : std::vector<std::pair<int, std::string>>{{301, "suspend"}, {400, "refused"}, {401, "suspend"}, {403, "suspend"},
                                                                               {404, "suspend"}, {407, "suspend"}, {413, "split"}, {429, "retry"},
                                                                               {500, "retry"}, {502, "retry"}, {503, "retry"}, {504, "retry"}}) {
    const Outcome outcome = Judge(*sink, Answer(status));
    // OTLP's own words: 500 must not be sent again; 502 to 504 are what a receiver says that is not ready.
    const std::string expected = GetParam() == "otlp" && status == 500 ? "refused" : verdict;
    EXPECT_EQ(Verdict(outcome), expected) << "HTTP " << status << ": " << outcome.reason;
    EXPECT_TRUE(WellFormed(outcome, 1)) << "HTTP " << status;
  }
  for (const int status : {429, 503}) {
    const Outcome later = Judge(*sink, Answer(status, "", {{"retry-after", "7"}}));
    ASSERT_TRUE(later.retry_after.has_value()) << "HTTP " << status;
    EXPECT_EQ(*later.retry_after, std::chrono::seconds(7));
  }
}

TEST_P(EverySink, SurvivesAnyAnswer) {
  const auto sink = Make();
  ASSERT_TRUE(sink);
  GetReady(sink->base());
  const std::vector<std::string> bodies = {"", "garbage", "{", "{}", "[]", "null", "1e999", "\"\"", "{\"items\":1}", "{\"items\":[1,null,{}]}", "{\"errors\":\"x\"}",
                                           "{\"error\":{\"type\":7}}", "{\"status\":[]}", std::string("\0\xff\xfe", 3), std::string(200'000, '[')};
  for (const int status : {0, 100, 200, 201, 202, 204, 207, 299, 300, 400, 404, 409, 418, 422, 429, 499, 500, 599, 999}) {
    for (const std::string& body : bodies) {
      EXPECT_TRUE(WellFormed(Judge(*sink, Answer(status, body)), 1)) << status << " " << body.substr(0, 40);
      sink->base().Checked(Answer(status, body)).IgnoreError();
    }
  }
  for (const std::string& body : bodies) sink->base().Prepared(Answer(200, body), Now());
}

TEST_P(EverySink, TakesABatchUpToItsLimits) {
  const auto sink = Make();
  ASSERT_TRUE(sink);
  if (!sink->stream || !TakesChanges(*sink)) GTEST_SKIP() << "it takes no changes in batches";
  GetReady(sink->base());
  const StreamSink::Limits limits = sink->stream->limits();
  ASSERT_GT(limits.max_items, 0u);
  const std::vector<Finding> many = examples::Many(std::min<size_t>(limits.max_items, 1000));
  const auto request = sink->stream->Encode(many, Now());
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(Fault(*request), "");
  EXPECT_TRUE(WellFormed(sink->stream->Judge(Answer(503), many), many.size()));
  EXPECT_TRUE(WellFormed(sink->stream->Judge(Answer(200, "{}"), many), many.size()));
  const Finding huge = examples::Huge();
  const auto alone = sink->stream->Encode({&huge, 1}, Now());
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_LE(alone->body.size(), limits.max_bytes) << "the largest finding does not fit";
}

TEST_P(EverySink, SaysWhatItInstallsAndChecks) {
  const auto sink = Make();
  ASSERT_TRUE(sink);
  GetReady(sink->base());
  const auto steps = sink->base().Setup();
  ASSERT_TRUE(steps.ok()) << steps.status();
  for (const Sink::SetupStep& step : *steps) {
    EXPECT_EQ(Fault(step.request), "") << step.what;
    EXPECT_NE(step.what, "");
  }
  for (const Preparation& check : sink->base().CheckEach()) {
    EXPECT_EQ(Fault(check.request), "");
    EXPECT_NE(check.what, "");
    EXPECT_FALSE(sink->base().Checked(Answer(401)).ok());
    EXPECT_FALSE(sink->base().Checked(Answer(403)).ok());
    EXPECT_FALSE(sink->base().Checked(Broken(Response::Failure::kConnect)).ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Sinks, EverySink, testing::ValuesIn(examples::EverySink()), [](const auto& info) { return info.param; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(EverySink);

}  // namespace
}  // namespace outlier
