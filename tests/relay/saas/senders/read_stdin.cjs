// The question of a test, and the way to answer it.
"use strict";
const fs = require("fs");

exports.question = JSON.parse(fs.readFileSync(0, "utf8"));
exports.run = (body) =>
  body().then(
    (told) => { process.stdout.write(JSON.stringify(told), () => process.exit(0)); },
    (error) => { console.error(error); process.exit(1); },
  );
