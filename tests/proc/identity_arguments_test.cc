#include "userspace/probes/identity_arguments.h"

#include <gtest/gtest.h>

#include <random>
#include <sstream>
#include <vector>

namespace outlier {
namespace {

std::string Script(const std::string& line, const std::string& cwd = "/srv/app", const std::string& executable = "") {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return ScriptOf(executable.empty() ? words[0] : executable, words, cwd);
}

TEST(IdentityArguments, InterpretersAreKnownByNameWhateverTheirVersion) {
  for (const char* name : {"/usr/bin/python3.11", "python", "/usr/bin/node", "nodejs", "ruby3.1", "perl5.36.0", "bash", "/bin/dash", "java", "php8.2", "lua5.4",
                           "tclsh8.6", "Rscript", "deno", "bun", "env", "pypy3", "busybox"}) {
    EXPECT_TRUE(IsInterpreter(name)) << name;
  }
  for (const char* name : {"", "/", "/usr/sbin/nginx", "redis-server", "python3-config", "bashful", "/usr/bin/python3/tool", "php-fpm8.2", "3"}) {
    EXPECT_FALSE(IsInterpreter(name)) << name;
  }
}

struct Case {
  const char* line;
  const char* script;
};

TEST(IdentityArguments, TheScriptIsFoundBehindTheOptions) {
  static constexpr Case kCases[] = {
      {"python3 app.py --port 80", "/srv/app/app.py"},
      {"python3 -u -X dev app.py", "/srv/app/app.py"},
      {"python3 -Wignore -OO ./bin/../app.py", "/srv/app/app.py"},
      {"python3 -m http.server 80", "http.server"},
      {"python3 -um gunicorn.app", "gunicorn.app"},
      {"python3 -mgunicorn", "gunicorn"},
      {"python3 -c print(1) app.py", ""},
      {"python3 -Bc print(1)", ""},
      {"python3 -", ""},
      {"python3", ""},
      {"python3 -- -odd.py", "/srv/app/-odd.py"},
      {"python3 --check-hash-based-pycs always /opt/a.py", "/opt/a.py"},
      {"node /srv/billing.js", "/srv/billing.js"},
      {"node --max-old-space-size=512 --inspect server.js", "/srv/app/server.js"},
      {"node -r dotenv/config --import ./x.mjs server.js -e 1", "/srv/app/server.js"},
      {"node --eval 1", ""},
      {"node -pe 1", ""},
      {"node inspect a.js", "/srv/app/a.js"},
      {"ruby -I lib -rjson bin/worker.rb", "/srv/app/bin/worker.rb"},
      {"ruby -w -W2 -Ku a.rb", "/srv/app/a.rb"},
      {"ruby -ne 1 a.rb", ""},
      {"perl -w tool.pl", "/srv/app/tool.pl"},
      {"perl -T -Mstrict -I lib tool.pl", "/srv/app/tool.pl"},
      {"perl -pi.bak -e s/a/b/ f", ""},
      {"perl -lane print f", ""},
      {"bash /etc/init.sh start", "/etc/init.sh"},
      {"bash -x -eo pipefail run.sh", "/srv/app/run.sh"},
      {"bash +o posix --norc --rcfile /r run.sh", "/srv/app/run.sh"},
      {"bash -c run.sh", ""},
      {"sh -ec run.sh", ""},
      {"sh -s arg", ""},
      {"dash -i", ""},
      {"java -Xmx1g -cp a.jar:b.jar -Dx=y com.shop.Main serve", "com.shop.Main"},
      {"java -jar lib/app.jar --port 1", "/srv/app/lib/app.jar"},
      {"java --module-path m -m shop/com.shop.Main", "shop/com.shop.Main"},
      {"java @options Tool.java", "/srv/app/Tool.java"},
      {"java -version", ""},
      {"php artisan queue:work", "/srv/app/artisan"},
      {"php -d memory_limit=1G -f cron.php", "/srv/app/cron.php"},
      {"php -S 0:80 -t public router.php", "/srv/app/router.php"},
      {"php -r echo", ""},
      {"lua -l socket -e x=1 main.lua", "/srv/app/main.lua"},
      {"tclsh8.6 -encoding utf-8 a.tcl", "/srv/app/a.tcl"},
      {"tclsh8.6 a.tcl", "/srv/app/a.tcl"},
      {"Rscript --vanilla fit.R data.csv", "/srv/app/fit.R"},
      {"Rscript -e 1", ""},
      {"R --no-echo --no-restore --file=fit.R --args x", "/srv/app/fit.R"},
      {"deno run --allow-net --config d.json main.ts", "/srv/app/main.ts"},
      {"bun run index.ts", "/srv/app/index.ts"},
      {"dotnet exec --roll-forward Major shop.dll", "/srv/app/shop.dll"},
      {"env -i -u HOME A=1 python3 -u app.py", "/srv/app/app.py"},
      {"env nginx", ""},
      {"env A=1", ""},
      {"env env env python3 a.py", ""},
      {"/usr/sbin/nginx -c nginx.conf", ""},
  };
  for (const Case& c : kCases) EXPECT_EQ(Script(c.line), c.script) << c.line;
}

TEST(IdentityArguments, OneBinaryOfManyProgramsIsKnownByTheNameItWasCalledBy) {
  EXPECT_EQ(Script("sh /init.sh", "/", "/bin/busybox"), "/init.sh");
  EXPECT_EQ(Script("busybox sh /init.sh", "/", "/bin/busybox"), "/init.sh");
  EXPECT_EQ(Script("busybox httpd -f", "/", "/bin/busybox"), "");
}

TEST(IdentityArguments, AnUnknownFolderLeavesThePathAsItWasGiven) {
  EXPECT_EQ(Script("python3 app.py", ""), "app.py");
  EXPECT_EQ(Script("python3 app.py", "(unreachable)/x"), "app.py");
}

TEST(IdentityArguments, HostileCommandLinesNeverCrash) {
  std::mt19937 random(3);
  static constexpr const char* kNames[] = {"python3", "node", "ruby", "perl", "bash", "java", "php", "lua", "tclsh", "R", "deno", "env", "busybox"};
  static constexpr const char* kWords[] = {"-", "--", "---", "", "-m", "-o", "-jar", "-cp", "=", "-u", "--file=", "run", "-\xff", "\xff\x01", "env", "-c", "../../.."};
  int found = 0;
  for (int i = 0; i < 50'000; ++i) {
    std::vector<std::string> words = {kNames[random() % std::size(kNames)]};
    for (int n = static_cast<int>(random() % 6); n > 0; --n) words.push_back(kWords[random() % std::size(kWords)]);
    if (i % 2 == 0) words.insert(words.end(), 300, "env");
    found += ScriptOf(words[0], words, random() % 2 ? "/x" : "").empty() ? 0 : 1;
  }
  EXPECT_GT(found, 1000);
  EXPECT_EQ(ScriptOf("python3", {}, "/"), "");
}

}  // namespace
}  // namespace outlier
