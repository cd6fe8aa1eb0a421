// Retry, routes, silences, judgements and times: the small parts of delivery.
#include "tests/courier/bench.h"
#include "userspace/delivery/secret_file.h"

namespace outlier {
namespace {

config::v1::Delivery Backoff() {
  config::v1::Delivery delivery = DefaultSink("x").delivery();
  return delivery;
}

TEST(RetryTest, WaitsTwiceAsLongEachTimeWithJitterUpToTheLongest) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Retry retry(Backoff(), seed);
    WallTime now = kStart;
    double d = 1;
    for (int i = 0; i < 20; ++i) {
      retry.Failed(now, "no", std::nullopt);
      const double wait = std::chrono::duration<double>(retry.at() - now).count();
      EXPECT_GE(wait, d / 2 - 1e-6);
      EXPECT_LE(wait, d + 1e-6);
      now = retry.at();
      d = std::min(d * 2, 300.0);
    }
    EXPECT_TRUE(retry.breaker_open());
    retry.Succeeded(now);
    EXPECT_FALSE(retry.breaker_open());
    EXPECT_TRUE(retry.Ready(now));
  }
}

TEST(RetryTest, TheServersWordIsALowerBound) {
  Retry retry(Backoff(), 1);
  retry.Failed(kStart, "no", seconds(1000));
  EXPECT_EQ(retry.at(), kStart + seconds(1000));
  for (int i = 0; i < 20; ++i) retry.Failed(kStart, "no", seconds(0));
  EXPECT_GE(retry.at(), kStart + seconds(150));
}

TEST(RetryAfterTest, ReadsAllItsFormsAndNothingSenseless) {
  const auto of = [](const std::string& value, const std::string& date = "") {
    Response response;
    response.status = 503;
    response.headers = {{"retry-after", value}};
    if (!date.empty()) response.headers.emplace_back("date", date);
    return RetryAfter(response);
  };
  EXPECT_EQ(of("120"), seconds(120));
  EXPECT_EQ(of("0"), seconds(0));
  EXPECT_EQ(of("1.5"), milliseconds(1500));
  EXPECT_EQ(of("1e9"), hours(24));
  EXPECT_EQ(of("Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:58:59 GMT"), minutes(1));
  EXPECT_EQ(of("Friday, 31-Dec-99 23:59:59 GMT", "Fri, 31 Dec 1999 23:58:59 GMT"), minutes(1));
  EXPECT_EQ(of("Fri Dec 31 23:59:59 1999", "Fri, 31 Dec 1999 23:58:59 GMT"), minutes(1));
  for (const char* senseless : {"", "-1", "nan", "inf", "soon", "Fri, 31 Dec 1999 23:59:59 GMT", "99999999999999999999999999999999999e400"}) {
    EXPECT_EQ(of(senseless), std::nullopt) << senseless;
  }
  EXPECT_EQ(of("Fri, 31 Dec 1999 23:57:59 GMT", "Fri, 31 Dec 1999 23:58:59 GMT"), std::nullopt);
}

TEST(JudgeTest, MeansWhatTheContractsSay) {
  using Kind = Outcome::Kind;
  const auto http = [](int status) {
    Response response;
    response.status = status;
    return JudgeHttp(response, 2).kind;
  };
  for (const int status : {200, 201, 202, 204}) EXPECT_EQ(http(status), Kind::kItems) << status;
  for (const int status : {408, 425, 429, 500, 502, 503, 504, 529}) EXPECT_EQ(http(status), Kind::kRetry) << status;
  for (const int status : {0, 101, 301, 302, 307, 308, 401, 403, 404, 407}) EXPECT_EQ(http(status), Kind::kSuspend) << status;
  EXPECT_EQ(http(413), Kind::kSplit);
  for (const int status : {400, 409, 422}) EXPECT_EQ(http(status), Kind::kRefused) << status;
}

TEST(TimesTest, AnyTimestampIsATimeAndAText) {
  for (const int64_t at : {INT64_MIN, int64_t{-1}, int64_t{0}, int64_t{1'800'000'000}, int64_t{1} << 40, INT64_MAX}) {
    for (const int32_t nanos : {INT32_MIN, -1, 0, 999'999'999, INT32_MAX}) {
      google::protobuf::Timestamp time;
      time.set_seconds(at);
      time.set_nanos(nanos);
      const WallTime wall = TimeOf(time);
      EXPECT_GE(wall + hours(24 * 365), wall);
      EXPECT_GE(kStart - wall + kStart.time_since_epoch(), std::chrono::nanoseconds(0) - std::chrono::nanoseconds(hours(24 * 365 * 250)));
      EXPECT_EQ(Rfc3339(time).size(), 24u) << Rfc3339(time);
      EXPECT_GE(Milliseconds(time), 0);
    }
  }
}

class SilencesTest : public testing::Test {
 protected:
  SilencesTest() {
    std::vector<std::string> messages;
    ledger_ = *Ledger::Open(folder_ / "relay.db", &messages);
  }
  static relay::v1::Silence Make(WallTime ends) {
    relay::v1::Silence silence;
    silence.set_author("ann");
    silence.set_reason("why");
    *silence.mutable_ends() = ToTimestamp(ends);
    return silence;
  }
  Folder folder_;
  std::unique_ptr<Ledger> ledger_;
};

TEST_F(SilencesTest, EndedLongAgoAreForgottenByTheLedgerToo) {
  Silences silences(ledger_.get(), {});
  ASSERT_TRUE(silences.Add(Make(kStart + hours(1)), kStart).ok());
  ASSERT_TRUE(silences.Add(Make(kStart + hours(24 * 100)), kStart + hours(24 * 90)).ok());
  EXPECT_EQ(ledger_->Silences()->size(), 1u);
}

TEST_F(SilencesTest, SayWhenTheNextOneBeginsOrEnds) {
  Silences silences(ledger_.get(), {});
  EXPECT_EQ(silences.NextChange(kStart), WallTime::max());
  relay::v1::Silence later = Make(kStart + hours(9));
  *later.mutable_starts() = ToTimestamp(kStart + hours(5));
  const uint64_t before = silences.generation();
  ASSERT_TRUE(silences.Add(later, kStart).ok());
  EXPECT_NE(silences.generation(), before);
  EXPECT_EQ(silences.NextChange(kStart), kStart + hours(5));
  EXPECT_EQ(silences.NextChange(kStart + hours(5)), kStart + hours(9));
}

TEST_F(SilencesTest, CoverOnlyWhatIsNoWorse) {
  Silences silences(ledger_.get(), {{"site", "ams"}});
  relay::v1::Silence silence = Make(kStart + hours(1));
  silence.mutable_match()->set_max_severity(v1::Incident::MINOR);
  silence.mutable_match()->add_labels("site=a*");
  ASSERT_TRUE(silences.Add(silence, kStart).ok());
  v1::Incident incident;
  incident.set_severity(v1::Incident::MINOR);
  EXPECT_TRUE(silences.Covering(incident, kStart));
  EXPECT_FALSE(silences.Covering(incident, kStart + hours(1)));
  EXPECT_FALSE(silences.Covering(incident, kStart - seconds(1)));
  incident.set_severity(v1::Incident::MAJOR);
  EXPECT_FALSE(silences.Covering(incident, kStart));
}

TEST(SecretFileTest, IsReadAgainWhenItIsReplaced) {
  Folder folder;
  const std::string path = folder / "key";
  const auto write = [&](const std::string& text) {
    FILE* file = std::fopen((path + ".new").c_str(), "w");
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
    std::filesystem::rename(path + ".new", path);
  };
  SecretFile secret(path);
  EXPECT_FALSE(secret.Read().ok());
  write("  one\n");
  EXPECT_EQ(*secret.Read(), "one");
  write("two");
  EXPECT_EQ(*secret.Read(), "two");
  std::filesystem::remove(path);
  EXPECT_FALSE(secret.Read().ok()) << "a key that was taken away must not be used";
  for (const std::string& bad : {std::string(), std::string(" \n"), std::string("a\0b", 3), std::string(65 << 10, 'x')}) {
    write(bad);
    EXPECT_FALSE(secret.Read().ok());
  }
}

}  // namespace
}  // namespace outlier
