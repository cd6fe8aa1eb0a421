#include "tests/sinks/example_config.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include "userspace/config/message_from_yaml.h"

namespace outlier::examples {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// What a file of this name holds, for those that are more than any word.
std::string KeyFor(const std::string& kind, const std::string& field) {
  if (field.ends_with("url_file")) return fmt::format("https://{}.example/services/T000/B000/s3cretPathOf{}", kind, kind);
  if (field == "header_file") return "X-Example-Key: s3cretHeaderOf" + kind;
  if (kind == "webhook" && field == "secret_file") return "whsec_czNjcmV0IHNpZ25pbmcga2V5IG9mIHdlYmhvb2s=";
  std::string key = fmt::format("s3cret-{}-{}", kind, field);
  std::replace(key.begin(), key.end(), '_', '-');
  return key;
}

void Fill(const std::string& kind, const std::string& path, Keys* keys, Message* message) {
  const auto& reflection = *message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->field(i);
    const std::string name = path + field->name();
    const bool file = field->name().ends_with("_file");
    const bool address = field->name() == "url" || field->name() == "urls" || field->name() == "endpoint";
    if (field->type() == FieldDescriptor::TYPE_MESSAGE && !field->is_repeated()) Fill(kind, name + ".", keys, reflection.MutableMessage(message, field));
    if (field->type() != FieldDescriptor::TYPE_STRING) continue;
    const std::string url = fmt::format("https://{}.example:8443", kind);
    if (field->is_repeated()) {
      if (address) reflection.AddString(message, field, url);
    } else if (reflection.GetString(*message, field).empty()) {
      if (file) reflection.SetString(message, field, keys->Write(name, KeyFor(kind, field->name())));
      if (address) reflection.SetString(message, field, url);
    }
  }
}

// What cannot be guessed from a field's name, and what excludes one another.
void Mend(config::v1::Sink* sink) {
  using config::v1::Sink;
  switch (sink->kind_case()) {
    case Sink::kElasticsearch: sink->mutable_elasticsearch()->clear_password_file(); break;
    case Sink::kOpensearch:
      sink->mutable_opensearch()->set_username("relay");
      sink->mutable_opensearch()->clear_api_key_file();
      break;
    case Sink::kOtlp:
      for (const char* field : {"key_file", "aws", "entra"}) {
        sink->otlp().GetReflection()->ClearField(sink->mutable_otlp(), sink->otlp().GetDescriptor()->FindFieldByName(field));
      }
      break;
    case Sink::kDatadog: break;
    case Sink::kNewRelic: sink->mutable_new_relic()->set_account_id("1234567"); break;
    case Sink::kCloudwatch:
      sink->mutable_cloudwatch()->set_region("eu-central-1");
      sink->mutable_cloudwatch()->mutable_credentials()->set_region("eu-central-1");
      break;
    case Sink::kAzureLogs:
      sink->mutable_azure_logs()->set_rule_id("dcr-00000000000000000000000000000000");
      sink->mutable_azure_logs()->mutable_credentials()->set_tenant_id("11111111-2222-3333-4444-555555555555");
      sink->mutable_azure_logs()->mutable_credentials()->set_client_id("66666666-7777-8888-9999-000000000000");
      break;
    case Sink::kPrometheusRemoteWrite: sink->mutable_prometheus_remote_write()->clear_password_file(); break;
    case Sink::kAlertmanager: sink->mutable_alertmanager()->clear_password_file(); break;
    case Sink::kSplunkOnCall: sink->mutable_splunk_on_call()->set_routing_key("storage"); break;
    case Sink::kWebhook:
      sink->mutable_webhook()->clear_url_file();
      sink->mutable_webhook()->clear_bearer_token_file();
      break;
    default: break;
  }
}

}  // namespace

Keys::Keys() {
  std::string folder = (std::filesystem::temp_directory_path() / "outlier-keys-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) throw std::runtime_error("cannot make a folder for keys: " + folder);
  folder_ = folder;
}

Keys::~Keys() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string Keys::Write(const std::string& name, std::string_view content) {
  const std::filesystem::path path = folder_ / name, fresh = folder_ / (name + ".new");
  std::ofstream(fresh, std::ios::binary) << content << "\n";
  // Two writes within one tick of the file system's clock must not look like one.
  std::filesystem::last_write_time(fresh, std::filesystem::last_write_time(fresh) + std::chrono::seconds(++rotations_));
  std::filesystem::rename(fresh, path);
  const auto known = std::find_if(files_.begin(), files_.end(), [&](const auto& file) { return file.first == name; });
  if (known != files_.end()) {
    known->second = content;
  } else {
    files_.emplace_back(name, content);
    std::sort(files_.begin(), files_.end());
  }
  return path.string();
}

void Keys::Remove(const std::string& name) { std::filesystem::remove(folder_ / name); }

std::vector<std::string> Keys::contents() const {
  std::vector<std::string> all;
  for (const auto& [name, content] : files_) all.push_back(content);
  return all;
}

std::vector<std::string> Keys::names() const {
  std::vector<std::string> all;
  for (const auto& [name, content] : files_) all.push_back(name);
  return all;
}

SinkContext ContextOf(std::string_view kind, Keys* keys) {
  SinkContext context;
  context.version = "0.1.0";
  context.relay_host = "relay-1";
  FillDefaults(&context.config);  // of what every sink has; those of a kind come when it is chosen
  const FieldDescriptor* field = context.config.GetDescriptor()->FindFieldByName(std::string(kind));
  if (field == nullptr) throw std::invalid_argument(fmt::format("relay.proto has no sink `{}`", kind));
  Message* message = context.config.GetReflection()->MutableMessage(&context.config, field);
  FillDefaults(message);
  Fill(std::string(kind), "", keys, message);
  Mend(&context.config);
  context.config.set_name("example");
  return context;
}

std::vector<std::string> EverySink() {
  return {
#define OUTLIER_SINK(key, case_of_kind, Name) #key,
#include "userspace/sinks/sinks.def"
#undef OUTLIER_SINK
  };
}

}  // namespace outlier::examples
