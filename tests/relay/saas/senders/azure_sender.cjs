// Azure's client: a token from Entra, rows in gzip, one answer of 429 on the way, and a rule that is not known.
"use strict";
const { ClientSecretCredential } = require("@azure/identity");
const { LogsIngestionClient } = require("@azure/monitor-ingestion");
const { question, run } = require("./read_stdin.cjs");

run(async () => {
  const credential = new ClientSecretCredential(question.tenant, question.client, question.secret, {
    authorityHost: question.authority, disableInstanceDiscovery: true,
  });
  const client = new LogsIngestionClient(question.endpoint, credential, { retryOptions: { maxRetries: 2, retryDelayInMs: 20 } });
  const rows = [1, 2, 3].map((number) => ({ TimeGenerated: new Date().toISOString(), Number: number }));
  const told = {};
  await client.upload(question.rule, question.stream, rows);
  told.uploaded = rows.length;
  try {
    await client.upload("dcr-ffffffffffffffffffffffffffffffff", question.stream, rows);
  } catch (error) {
    told.unknown = error.errors.map((part) => ({ status: part.cause.statusCode, code: part.cause.code, rows: part.failedLogs.length }));
  }
  return told;
});
