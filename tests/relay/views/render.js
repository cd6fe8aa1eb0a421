// node render.js <job.json: {spec, results: {data name: answer of the search}, width, height, click?} prints {svg, texts, warnings, filters}.
//
// Does what Kibana and OpenSearch Dashboards do with a specification: the answer of each search takes the place of its url, width and
// height are the panel's, expressions are interpreted (no eval), and filters are added through a function of the dashboard's.
'use strict';
const fs = require('fs');
const vega = require('vega');
const {expressionInterpreter} = require('vega-interpreter');

const job = JSON.parse(fs.readFileSync(0, 'utf8'));
const filters = [];
for (const name of ['kibanaAddFilter', 'opensearchDashboardsAddFilter']) {
  vega.expressionFunction(name, (query, index) => { filters.push({name, query, index}); return null; });
}
// What the interpreter calls is looked up in its context: functions of the dashboard's are registered there by both products.
const warnings = [];
const note = (...words) => { warnings.push(words.join(' ')); return logger; };
const logger = {level: () => logger, warn: note, error: note, info: () => logger, debug: () => logger};

const spec = job.spec;
for (const data of spec.data) {
  if (!data.url) continue;
  if (!(data.name in job.results)) throw new Error(`no answer for data "${data.name}"`);
  data.values = job.results[data.name];
  delete data.url;
}
const view = new vega.View(vega.parse(spec, null, {ast: true}), {renderer: 'none', logger, expr: expressionInterpreter});
view.width(job.width).height(job.height);

function* items(mark) {
  for (const item of mark.items) {
    yield {mark, item};
    for (const inner of item.items || []) yield* items(inner);
  }
}

(async () => {
  await view.runAsync();
  const marks = [];
  for (const {mark, item} of items(view.scenegraph().root)) {
    if (mark.marktype === 'group') continue;
    const {x, y, x2, y2, width, height, fill, stroke, text, tooltip} = item;
    marks.push({type: mark.marktype, name: mark.name || '', role: mark.role || '', x, y, x2, y2, width, height, fill, stroke, text, tooltip: tooltip === undefined ? null : tooltip, datum: job.datums ? item.datum : undefined});
  }
  if (job.click) {  // on the first mark of this name
    for (const {mark, item} of items(view.scenegraph().root)) {
      if (mark.name !== job.click) continue;
      const event = {type: 'click', item, vega: {view: () => view, item: () => item, xy: () => [item.x, item.y], x: () => item.x, y: () => item.y}};
      view.handler = undefined;
      for (const listener of view._eventListeners || []) {
        if (listener.sources && listener.type === 'click') listener.handler(event, item);
      }
      break;
    }
  }
  const svg = await view.toSVG();
  process.stdout.write(JSON.stringify({svg, marks, warnings, filters}));
})().catch(error => { console.error(error.stack); process.exit(1); });
