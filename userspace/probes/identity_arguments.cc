#include "userspace/probes/identity_arguments.h"

#include <algorithm>
#include <filesystem>

namespace outlier {
namespace {

// How a family of interpreters reads its options. Short options are single letters and may be run together.
struct Grammar {
  std::string_view family;
  std::string_view value;       // letters whose value is what follows in the word, else the next word
  std::string_view attached;    // letters that swallow the rest of their word and nothing more
  std::string_view no_script;   // letters after which there is no script: code or standard input
  std::string_view module;      // letters whose value is a module's name
  std::string_view file;        // letters whose value is the script
  std::string_view long_value;  // " --a --b ": long options whose value is the next word
  std::string_view long_no_script;
  std::string_view commands;    // first words that are not the script: `deno run`
};

constexpr Grammar kShell = {"sh", "oO", "", "cs", "", "", " --rcfile --init-file ", "", ""};
constexpr Grammar kGrammars[] = {
    {"python", "WXQ", "", "c", "m", "", " --check-hash-based-pycs ", "", ""},
    {"pypy", "WX", "", "c", "m", "", " --jit ", "", ""},
    {"node", "rC", "", "ep", "", "", " --require --import --loader --experimental-loader --conditions --env-file --title --icu-data-dir ",
     " --eval --print ", " inspect "},
    {"ruby", "IrCE", "FWKTx0i", "e", "", "", " --encoding ", "", ""},
    {"perl", "I", "MmxiFCDVd0", "eE", "", "", "", "", ""},
    {"php", "cdztS", "", "raBREi", "", "f", " --define --php-ini --docroot --server ", " --run ", ""},
    {"lua", "el", "", "", "", "", "", "", ""},
    {"luajit", "eljOb", "", "", "", "", "", "", ""},
    {"Rscript", "", "", "e", "", "", "", "", ""},
    {"R", "", "", "e", "", "f", "", "", ""},
    {"deno", "cLr", "", "", "", "", " --config --import-map --log-level --lock --env-file --location --seed --v8-flags --cert ", " --eval ",
     " run serve test bench "},
    {"bun", "rcC", "", "ep", "", "", " --preload --config --cwd --env-file --define --loader --port ", " --eval --print ", " run "},
    {"dotnet", "", "", "", "", "", " --roll-forward --fx-version --depsfile --runtimeconfig --additionalprobingpath ", "", " exec run "},
};
constexpr std::string_view kShells[] = {"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "rbash", "fish"};
constexpr std::string_view kJavaValues =
    " -cp -classpath --class-path -p --module-path --upgrade-module-path --add-modules --add-exports --add-opens --add-reads --limit-modules"
    " --patch-module --enable-native-access --source -splash ";

bool HasWord(std::string_view words, std::string_view word) {
  return !word.empty() && word.find(' ') == std::string_view::npos && words.find(" " + std::string(word) + " ") != std::string_view::npos;
}

std::string_view BaseName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// "/usr/bin/python3.11" -> "python"; "nodejs" is Debian's older name of node.
std::string_view Family(std::string_view executable) {
  std::string_view name = BaseName(executable);
  while (!name.empty() && (name.back() == '.' || name.back() == '-' || (name.back() >= '0' && name.back() <= '9'))) name.remove_suffix(1);
  return name == "nodejs" ? "node" : name;
}

const Grammar* GrammarOf(std::string_view family) {
  if (std::find(std::begin(kShells), std::end(kShells), family) != std::end(kShells)) return &kShell;
  for (const Grammar& grammar : kGrammars) {
    if (grammar.family == family) return &grammar;
  }
  return nullptr;
}

std::string Absolute(std::string_view path, std::string_view cwd) {
  if (path.empty()) return "";
  const std::filesystem::path given{std::string(path)};
  if (given.is_absolute()) return given.lexically_normal().string();
  if (cwd.empty() || cwd[0] != '/') return std::string(path);
  return (std::filesystem::path(std::string(cwd)) / given).lexically_normal().string();
}

using Words = std::span<const std::string>;

std::string JavaProgram(Words words, std::string_view cwd) {
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool more = i + 1 < words.size();
    if (word == "-jar") return more ? Absolute(words[i + 1], cwd) : "";
    if (word == "-m" || word == "--module") return more ? words[i + 1] : "";
    if (word.rfind("--module=", 0) == 0) return word.substr(9);
    if (HasWord(kJavaValues, word)) ++i;
    else if (word.empty() || (word[0] != '-' && word[0] != '@')) return word.ends_with(".java") ? Absolute(word, cwd) : word;
  }
  return "";
}

std::string TclScript(Words words, std::string_view cwd) {
  if (words.size() >= 3 && words[0] == "-encoding") return Absolute(words[2], cwd);
  return words.empty() || words[0].empty() || words[0][0] == '-' ? "" : Absolute(words[0], cwd);
}

// env [-i] [-u NAME] [-C DIR] [NAME=VALUE]... command: what it is about to run.
std::string EnvScript(Words words, std::string_view cwd) {
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "-u" || word == "--unset" || word == "-C" || word == "--chdir") {
      ++i;
    } else if (!word.empty() && word[0] != '-' && word.find('=') == std::string::npos) {
      if (Family(word) == "env") return "";
      return ScriptOf(word, words.subspan(i), cwd);
    }
  }
  return "";
}

// Where a word of options leads: on, one word further, or to the answer.
struct Step {
  enum { kOn, kSkipNext, kAnswer } what = kOn;
  std::string answer;
};

Step ReadShortOptions(const Grammar& grammar, Words words, size_t at, std::string_view cwd) {
  const std::string& word = words[at];
  for (size_t k = 1; k < word.size(); ++k) {
    const auto in = [&](std::string_view letters) { return letters.find(word[k]) != std::string_view::npos; };
    const bool rest = k + 1 < word.size();
    const std::string following = rest ? word.substr(k + 1) : at + 1 < words.size() ? words[at + 1] : "";
    if (in(grammar.no_script)) return {Step::kAnswer, ""};
    if (in(grammar.module)) return {Step::kAnswer, following};
    if (in(grammar.file)) return {Step::kAnswer, Absolute(following, cwd)};
    if (in(grammar.attached)) return {};
    // `bash -eo pipefail`: a shell's option letter takes the next word even from within a run of letters.
    if (in(grammar.value)) return {rest && &grammar != &kShell ? Step::kOn : Step::kSkipNext, ""};
  }
  return {};
}

std::string GenericScript(const Grammar& grammar, Words words, std::string_view cwd) {
  bool command_possible = !grammar.commands.empty();
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") return i + 1 < words.size() ? Absolute(words[i + 1], cwd) : "";
    if (word == "-") return "";  // the program comes from standard input
    if (word.rfind("--file=", 0) == 0 && grammar.family == "R") return Absolute(word.substr(7), cwd);
    if (word.rfind("--", 0) == 0) {
      if (word == "--args") return "";
      const std::string name = word.substr(0, word.find('='));
      if (HasWord(grammar.long_no_script, name)) return "";
      if (name == word && HasWord(grammar.long_value, word)) ++i;
    } else if (!word.empty() && (word[0] == '-' || (word[0] == '+' && &grammar == &kShell))) {
      const Step step = ReadShortOptions(grammar, words, i, cwd);
      if (step.what == Step::kAnswer) return step.answer;
      if (step.what == Step::kSkipNext) ++i;
    } else if (command_possible && HasWord(grammar.commands, word)) {
      command_possible = false;
    } else {
      return Absolute(word, cwd);
    }
  }
  return "";
}

}  // namespace

bool IsInterpreter(std::string_view executable) {
  const std::string_view family = Family(executable);
  return GrammarOf(family) != nullptr || family == "java" || family == "tclsh" || family == "wish" || family == "env" || family == "busybox";
}

std::string ScriptOf(std::string_view executable, std::span<const std::string> arguments, std::string_view cwd) {
  if (arguments.empty()) return "";
  std::string_view family = Family(executable);
  Words words = arguments.subspan(1);
  if (family == "busybox") {  // one binary of many programs: its own name says which
    family = BaseName(arguments[0]);
    if (family == "busybox" && !words.empty()) {
      family = words[0];
      words = words.subspan(1);
    }
    if (GrammarOf(family) != &kShell) return "";
  }
  if (family == "java") return JavaProgram(words, cwd);
  if (family == "tclsh" || family == "wish") return TclScript(words, cwd);
  if (family == "env") return EnvScript(words, cwd);
  const Grammar* grammar = GrammarOf(family);
  return grammar == nullptr ? "" : GenericScript(*grammar, words, cwd);
}

}  // namespace outlier
