// PagerDuty's client: trigger, acknowledge, resolve, a change, a wrong event, and what it does with a 429. It speaks https only.
"use strict";
const { trigger, acknowledge, resolve, change } = require("@pagerduty/pdjs");
const { question, run } = require("./read_stdin.cjs");

const server = question.server;
const payload = {
  summary: "web-1: 14x typical", source: "web-1", severity: "critical", timestamp: new Date().toISOString(), component: "cpu", group: "web",
  class: "run_queue_delay", custom_details: { score: 93, suspects: ["backup"] },
};
const base = { routing_key: question.key, dedup_key: "feed:1" };
const links = [{ href: "https://web-1.example/incidents/1", text: "the incident" }];

run(async () => {
  const told = {};
  const add = async (name, promise) => { const answer = await promise; told[name] = { status: answer.status, data: answer.data }; };
  await add("trigger", trigger({ server, data: { ...base, payload, links, client: "outlier-relay",
  client_url: "https://web-1.example/" } }));
  await add("acknowledge", acknowledge({ server, data: base }));
  await add("resolve", resolve({ server, data: base }));
  await add("change", change({ server, data: { routing_key: question.key, payload: { summary: "deployed", source: "web-1",
  timestamp: payload.timestamp } } }));
  await add("wrong", trigger({ server, data: { ...base, payload: { ...payload, severity: "major" } } }));
  await add("repeated", trigger({ server, retryTimeout: 50, data: { ...base, dedup_key: "feed:throttled", payload } }));
  return told;
});
