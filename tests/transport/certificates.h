// Certificates made on the spot: an authority, what it signs, and what is wrong with that.
#pragma once
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <fmt/format.h>

namespace outlier {

struct FreeX509 {
  void operator()(X509* one) const { X509_free(one); }
  void operator()(EVP_PKEY* one) const { EVP_PKEY_free(one); }
};

struct Certificate {
  std::shared_ptr<X509> x509;
  std::shared_ptr<EVP_PKEY> key;

  std::string Pem() const { return Write([&](BIO* bio) { PEM_write_bio_X509(bio, x509.get()); }); }
  std::string KeyPem() const { return Write([&](BIO* bio) { PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr); }); }
  std::string Fingerprint() const {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    X509_digest(x509.get(), EVP_sha256(), digest, &length);
    std::string text;
    for (unsigned i = 0; i < length; ++i) text += fmt::format("{:02X}{}", digest[i], i + 1 < length ? ":" : "");
    return text;
  }

 private:
  template <class Writer>
  static std::string Write(Writer writer) {
    BIO* bio = BIO_new(BIO_s_mem());
    writer(bio);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<size_t>(size));
    BIO_free(bio);
    return text;
  }
};

struct CertificateWish {
  std::string name = "localhost";
  bool authority = false;
  long from_seconds = -3600, to_seconds = 3600;
};

// Signed by `issuer`, or by itself.
inline Certificate MakeCertificate(const CertificateWish& wish, const Certificate* issuer = nullptr) {
  static long serial = 1;
  Certificate made;
  made.key.reset(EVP_EC_gen("P-256"), FreeX509());
  made.x509.reset(X509_new(), FreeX509());
  X509* x = made.x509.get();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), wish.from_seconds);
  X509_gmtime_adj(X509_getm_notAfter(x), wish.to_seconds);
  X509_set_pubkey(x, made.key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(wish.name.c_str()), -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(issuer != nullptr ? issuer->x509.get() : x));
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer != nullptr ? issuer->x509.get() : x, x, nullptr, nullptr, 0);
  const auto extend = [&](int nid, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
  };
  extend(NID_basic_constraints, wish.authority ? "critical,CA:TRUE" : "CA:FALSE");
  if (wish.authority) extend(NID_key_usage, "critical,keyCertSign,cRLSign");
  if (!wish.authority) extend(NID_subject_alt_name, "DNS:" + wish.name);
  X509_sign(x, issuer != nullptr ? issuer->key.get() : made.key.get(), EVP_sha256());
  return made;
}

class CertificateFolder {
 public:
  CertificateFolder() {
    char name[] = "/tmp/outlier-transport-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~CertificateFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string Write(const std::string& name, const std::string& text) const {
    const std::string path = path_ + "/" + name;
    std::ofstream(path + ".new") << text;
    std::filesystem::rename(path + ".new", path);
    return path;
  }

 private:
  std::string path_;
};

}  // namespace outlier
