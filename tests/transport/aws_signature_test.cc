// Signature Version 4 of AWS, worked out a second time from what was sent.
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <string>

#include "tests/transport/http_fixture.h"
#include "userspace/transport/http.h"

namespace outlier {
namespace {

std::string Hmac(const std::string& key, const std::string& text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(), out, &length);
  return {reinterpret_cast<char*>(out), length};
}

std::string Hex(const std::string& bytes) {
  std::string text;
  for (const unsigned char c : bytes) text += fmt::format("{:02x}", c);
  return text;
}

std::string Sha256(const std::string& text) {
  unsigned char out[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), out);
  return Hex({reinterpret_cast<char*>(out), sizeof out});
}

std::string SigningKey(const std::string& secret, const std::string& date, const std::string& region, const std::string& service) {
  return Hmac(Hmac(Hmac(Hmac("AWS4" + secret, date), region), service), "aws4_request");
}

TEST(AwsSignatureTest, TheReferenceGivesThePublishedAnswer) {
  // The example of AWS's own documentation, "Examples of how to derive a signing key".
  EXPECT_EQ(Hex(SigningKey("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam")), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
}

TEST_F(HttpTransportTest, SignsForAwsWhatIsSent) {
  Server server(Always(Plain(200)));
  HttpTransport transport(Connection(), "t");
  for (const bool compress : {false, true}) {
    Request request = Post(server.url("/"), "Action=PutMetricData&Version=2010-08-01&Namespace=Outlier");
    request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
    request.compress = compress;
    request.aws = Request::AwsSignature{"monitoring", "eu-west-1", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a-session-token"};
    request.secrets = {"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
    ASSERT_EQ(transport.Send(request).status, 200);
    Seen seen = server.seen().back();
    std::string all;
    for (const auto& [name, value] : seen.headers) all += name + ": " + value + "\n";
    SCOPED_TRACE(all);
    for (const char* name : {"authorization", "x-amz-date", "x-amz-security-token"}) ASSERT_TRUE(seen.headers.contains(name)) << name;
    const std::string authorization = seen.headers.at("authorization");
    const std::string date = seen.headers.at("x-amz-date");
    EXPECT_EQ(seen.headers.at("x-amz-security-token"), "a-session-token");
    const std::string scope = fmt::format("{}/eu-west-1/monitoring/aws4_request", date.substr(0, 8));
    EXPECT_EQ(authorization.find("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/" + scope + ", SignedHeaders="), 0u) << authorization;
    const size_t from = authorization.find("SignedHeaders=") + 14;
    const std::string signed_headers = authorization.substr(from, authorization.find(',', from) - from);
    EXPECT_NE(signed_headers.find("host"), std::string::npos);
    EXPECT_NE(signed_headers.find("x-amz-date"), std::string::npos);
    EXPECT_NE(signed_headers.find("x-amz-security-token"), std::string::npos) << "AWS refuses a token that is not signed";
    std::string canonical = "POST\n/\n\n", rest = signed_headers + ";";
    for (size_t at; (at = rest.find(';')) != std::string::npos; rest.erase(0, at + 1)) {
      ASSERT_TRUE(seen.headers.contains(rest.substr(0, at))) << "signed, but not sent: " << rest.substr(0, at) << " of " << signed_headers;
      canonical += rest.substr(0, at) + ":" + seen.headers.at(rest.substr(0, at)) + "\n";
    }
    canonical += "\n" + signed_headers + "\n" + Sha256(seen.body);
    const std::string to_sign = "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + Sha256(canonical);
    const std::string expected = Hex(Hmac(SigningKey(request.aws->secret_access_key, date.substr(0, 8), "eu-west-1", "monitoring"), to_sign));
    EXPECT_NE(authorization.find("Signature=" + expected), std::string::npos) << authorization << "\n" << canonical;
  }
}

}  // namespace
}  // namespace outlier
