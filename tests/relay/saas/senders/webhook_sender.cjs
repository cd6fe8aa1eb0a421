// CloudEvents' and Standard Webhooks' libraries for Node.js: an event in structured form, signed, and again as it would be repeated.
"use strict";
const { CloudEvent, HTTP } = require("cloudevents");
const { Webhook } = require("standardwebhooks");
const { question, run } = require("./read_stdin.cjs");

run(async () => {
  const event = new CloudEvent({
    source: "//web-1/outlierd", type: "io.outlier.incident.opened.v1", subject: "incident/2", datacontenttype: "application/json",
    data: { score: 93 },
    severity: "critical",
  });
  const message = HTTP.structured(event);
  const told = { statuses: [] };
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const now = new Date();
    const headers = {
      ...message.headers, "webhook-id": "msg_node", "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
      "webhook-signature": new Webhook(question.secret).sign("msg_node", now, message.body),
    };
    const answer = await fetch(question.url, { method: "POST", headers, body: message.body });
    told.statuses.push(answer.status);
  }
  return told;
});
