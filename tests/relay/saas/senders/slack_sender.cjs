// Slack's client: text, blocks, a hook that nobody has, and an answer that is not ok.
"use strict";
const { IncomingWebhook } = require("@slack/webhook");
const { question, run } = require("./read_stdin.cjs");

run(async () => {
  const told = {};
  const attempt = async (name, hook, message) => {
    try {
      told[name] = await new IncomingWebhook(hook).send(message);
    } catch (error) {
      told[name] = { code: error.code, message: error.message };
    }
  };
  await attempt("text", question.hook, "web-1: a &lt; b");
  await attempt("blocks", question.hook, {
    text: "web-1: 14x typical",
    blocks: [
      { type: "header", text: { type: "plain_text", text: "R&D: 14x typical" } },
      { type: "section", text: { type: "mrkdwn", text: "*run queue* of <https://web-1.example/1|incident 1> &amp; more" } },
      { type: "divider" },
    ],
    attachments: [{ color: "#fe5050", fallback: "critical", text: "critical" }],
  });
  await attempt("nothing", question.hook, {});
  await attempt("stranger", question.stranger, "hello");
  return told;
});
