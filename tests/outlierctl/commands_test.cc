#include <fcntl.h>
#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/outlierctl/ctl_run.h"
#include "tests/outlierctl/fake_feed.h"

namespace outlier::ctl {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

template <class Message>
Message FromJson(const std::string& line) {
  Message message;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(line, &message).ok()) << line;
  return message;
}

class Commands : public ::testing::Test {
 protected:
  Commands() { feed_.incidents = {SampleIncident("inc-b2", "shop"), SampleIncident("inc-a1", "mail")}; }
  Outcome Ctl(std::vector<std::string> arguments) { return RunCtl(feed_.address(), std::move(arguments)); }
  FakeFeed feed_;
};

TEST_F(Commands, StatusShowsBudgetsLossesAndProbes) {
  feed_.status.set_version("1.2");
  feed_.status.mutable_budgets()->set_cpu_percent_promised(1);
  feed_.status.mutable_budgets()->set_cpu_percent_achieved(0.37);
  auto& probe = *feed_.status.add_probes();
  probe.set_name("syscall_latency");
  probe.set_state(v1::ProbeState::FAILED);
  probe.set_reason("no BTF");
  probe.set_blind_to("slow calls");
  auto& loss = *feed_.status.add_losses();
  loss.set_name("ring_full");
  loss.set_count(12);
  const Outcome text = Ctl({"status"});
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_THAT(text.out, AllOf(HasSubstr("0.37 %"), HasSubstr("ring_full"), HasSubstr("no BTF; does not see: slow calls")));
  const Outcome json = Ctl({"status", "--format", "json"});
  ASSERT_EQ(json.lines().size(), 1u);
  EXPECT_THAT(json.out, HasSubstr("\"open_incidents\":0")) << "defaults are printed, names are those of the .proto file";
  EXPECT_EQ(FromJson<v1::Status>(json.out).losses(0).count(), 12u);
}

TEST_F(Commands, ADaemonThatTakesItsTimeToAcceptIsWaitedFor) {
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string path = feed_.folder() + "/slow";
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  std::thread daemon([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(700));  // the slowness under test: longer than one attempt used to be
    feed_.Serve(accept(listener, nullptr, nullptr));
  });
  const Outcome outcome = RunCtl("unix://" + path, {"status"});
  daemon.join();
  close(listener);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

TEST_F(Commands, WorkloadsKeepTheFeedsOrderAndTopPutsTheMostAnomalousFirst) {
  for (const auto& [name, score] : {std::pair{"calm", 0.0}, std::pair{"wild", 88.0}}) {
    v1::WorkloadState w;
    w.mutable_workload()->set_name(name);
    w.set_score(score);
    w.set_memory_bytes(412 << 20);
    feed_.workloads.push_back(w);
  }
  const std::string workloads = Ctl({"workloads"}).out;
  EXPECT_LT(workloads.find("calm"), workloads.find("wild"));
  EXPECT_THAT(workloads, HasSubstr("412 MiB"));
  const std::string top = Ctl({"top", "--once"}).out;
  EXPECT_LT(top.find("wild"), top.find("calm"));
  const Outcome json = Ctl({"--format", "json", "top", "--once"});
  ASSERT_EQ(json.lines().size(), 2u);
  EXPECT_EQ(FromJson<v1::WorkloadState>(json.lines()[0]).workload().name(), "wild");
}

TEST_F(Commands, TopRedrawsUntilInterrupted) {
  BackgroundRun top(feed_.address(), {"top", "--interval", "100ms"});
  ASSERT_TRUE(top.WaitForOut("SCORE"));
  const Outcome outcome = top.End();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

TEST_F(Commands, IncidentsReadEveryPageAndPassTheFilterOn) {
  feed_.page = 1;
  const Outcome json = Ctl({"incidents", "--format", "json", "--state", "open", "--since", "1h", "--workload", "s*", "--min-severity", "major"});
  ASSERT_EQ(json.lines().size(), 2u) << json.err;
  EXPECT_EQ(FromJson<v1::Incident>(json.lines()[1]).id(), "inc-a1");
  EXPECT_EQ(feed_.last_list.filter().state(), v1::Incident::OPEN);
  EXPECT_EQ(feed_.last_list.filter().min_severity(), v1::Incident::MAJOR);
  EXPECT_EQ(feed_.last_list.filter().workload(), "s*");
  EXPECT_EQ(feed_.last_list.since().seconds(), 3600);
}

TEST_F(Commands, IncidentsShowTimesRelativeAndAbsolute) {
  EXPECT_THAT(Ctl({"incidents"}).out, AllOf(HasSubstr("3 min ago (14:02:11)"), HasSubstr("critical"), HasSubstr("inc-b2")));
  feed_.incidents.clear();
  EXPECT_EQ(Ctl({"incidents"}).out, "no incidents\n");
  EXPECT_EQ(Ctl({"incidents", "--format", "json"}).out, "");
}

TEST_F(Commands, ShowHasEveryPartOfAnIncident) {
  EXPECT_THAT(Ctl({"show", "inc-a"}).out,
              AllOf(HasSubstr("shop.service"), HasSubstr("tail probability 1e-09"), HasSubstr("process 4242 /usr/bin/backup"),
                    HasSubstr("50 % of the time observed, 3 events lost, without probe syscall_latency"), HasSubstr("opened")));
  EXPECT_EQ(FromJson<v1::Incident>(Ctl({"show", "inc-a", "--format", "json"}).out).workload().name(), "mail");
}

TEST_F(Commands, ExplainGivesTheReasonsInSentencesWithNumbers) {
  const std::string text = Ctl({"explain", "inc-b2"}).out;
  EXPECT_THAT(text, AllOf(HasSubstr("98 % of a core, expected 1.0-4.0 %"), HasSubstr("24 times the most that was expected"),
                          HasSubstr("about 1 in 10^9 ticks"), HasSubstr("has lasted 3 min"), HasSubstr("opened 4 s after its onset")));
  EXPECT_THAT(text, AllOf(HasSubstr("backup (process 4242, /usr/bin/backup), with 80 % of the evidence. Its CPU grew"),
                          HasSubstr("The probes observed 50.0 % of its time. 3 events were lost"), HasSubstr("Nobody has acknowledged")));
  EXPECT_THAT(Ctl({"explain", "inc-b2", "--format", "json"}).out, HasSubstr("\"explanation\":["));
}

TEST_F(Commands, AckAndFeedbackReachTheFeedAndShowTheChange) {
  const Outcome ack = Ctl({"ack", "inc-b2", "--format", "json"});
  EXPECT_EQ(ack.status, 0) << ack.err;
  EXPECT_EQ(FromJson<v1::IncidentChange>(ack.out).sequence(), 7u);
  EXPECT_THAT(Ctl({"feedback", "inc-b2", "--false-alarm"}).out, HasSubstr("inc-b2: called a false alarm"));
  EXPECT_EQ(feed_.last_feedback.verdict(), v1::SubmitFeedbackRequest::FALSE_ALARM);
  Ctl({"feedback", "inc-b2", "--useful"});
  EXPECT_EQ(feed_.last_feedback.verdict(), v1::SubmitFeedbackRequest::USEFUL);
  EXPECT_FALSE(feed_.last_feedback.author().empty());
}

TEST_F(Commands, RecordWritesTheWholeRecordingOrNoFile) {
  const std::string path = feed_.folder() + "/r.rec";
  const Outcome empty = Ctl({"record", "--output", path});
  EXPECT_EQ(empty.status, 1);
  EXPECT_FALSE(std::filesystem::exists(path));
  feed_.recording = {"first ", "second"};
  ASSERT_EQ(Ctl({"record", "--since", "10m", "--output", path}).status, 0);
  std::ifstream file(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "first second");
  EXPECT_EQ(feed_.last_export.since().seconds(), 600);
  const auto files = std::distance(std::filesystem::directory_iterator(feed_.folder()), {});
  EXPECT_EQ(files, 2) << "the socket and the recording, nothing half-written";
  const Outcome refused = Ctl({"record", "--output", feed_.folder() + "/none/r.rec"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("No such file or directory"));
}

TEST_F(Commands, RecordWritesToWhatIsNoFileAndLeavesItWhatItIs) {
  feed_.recording = {"first ", "second"};
  const std::string pipe = feed_.folder() + "/pipe", link = feed_.folder() + "/link", target = feed_.folder() + "/target";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const int reader = open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_EQ(Ctl({"record", "--output", pipe}).status, 0);
  char read_back[32] = {};
  EXPECT_EQ(read(reader, read_back, sizeof read_back), 12);
  close(reader);
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));

  std::ofstream(target) << "old";
  std::filesystem::create_symlink("target", link);
  const Outcome linked = Ctl({"record", "--output", link, "--format", "json"});
  EXPECT_THAT(linked.out, AllOf(HasSubstr("\"bytes\":12"), HasSubstr(link)));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  std::ifstream file(target);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "first second");

  std::filesystem::create_symlink("not-yet", feed_.folder() + "/dangling");
  ASSERT_EQ(Ctl({"record", "--output", feed_.folder() + "/dangling"}).status, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(feed_.folder() + "/dangling"));
  EXPECT_EQ(std::filesystem::file_size(feed_.folder() + "/not-yet"), 12u);
  std::filesystem::create_symlink("round", feed_.folder() + "/round");
  EXPECT_EQ(Ctl({"record", "--output", feed_.folder() + "/round"}).status, 1);

  std::filesystem::create_symlink("/dev/full", feed_.folder() + "/full");  // a link: were it replaced, the host would keep its device
  EXPECT_THAT(Ctl({"record", "--output", feed_.folder() + "/full"}).err, HasSubstr("No space left"));
  EXPECT_TRUE(std::filesystem::is_symlink(feed_.folder() + "/full"));
}

TEST_F(Commands, ProbeDoctorAsksTheDaemon) {
  auto& probe = *feed_.status.add_probes();
  probe.set_name("lifecycle");
  probe.set_state(v1::ProbeState::ON);
  EXPECT_THAT(Ctl({"probe", "doctor"}).out, AllOf(HasSubstr("running daemon"), HasSubstr("lifecycle  on")));
  EXPECT_EQ(FromJson<v1::ProbeState>(Ctl({"probe", "doctor", "--format", "json"}).out).name(), "lifecycle");
}

TEST_F(Commands, HostileNamesReachNoTerminalAsTheyAre) {
  const std::string hostile = "evil\x1b]0;owned\x07\nname";
  feed_.incidents = {SampleIncident("inc-e", hostile)};
  feed_.workloads.emplace_back().mutable_workload()->set_name(hostile);
  feed_.Append(SampleChange(v1::IncidentChange::OPENED, feed_.incidents[0]));
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"incidents"}, {"show", "inc-e"}, {"explain", "inc-e"}, {"workloads"}, {"top", "--once"}, {"ack", "inc-e"}}) {
    const Outcome outcome = Ctl(command);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.out, AllOf(HasSubstr("evil\\x1b]0;owned\\x07\\x0aname"), Not(HasSubstr("\x1b")), Not(HasSubstr("\x07")))) << command[0];
  }
  BackgroundRun watch(feed_.address(), {"watch"});
  EXPECT_TRUE(watch.WaitForOut("evil\\x1b"));
  EXPECT_THAT(watch.End().out, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace outlier::ctl
