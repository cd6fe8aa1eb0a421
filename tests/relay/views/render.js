// node render.js < {spec, results: {data name: answer of the search}, width, height, click?, png?}, prints {svg, marks, warnings, filters}.
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
const warnings = [];
const note = (...words) => { warnings.push(words.join(' ')); return logger; };
const logger = {level: () => logger, warn: note, error: note, info: () => logger, debug: () => logger};

function viewOf(spec) {
  return new vega.View(vega.parse(spec, null, {ast: true}), {renderer: 'none', logger, expr: expressionInterpreter});
}

function* items(mark) {
  for (const item of mark.items) {
    yield {mark, item};
    for (const inner of item.items || []) yield* items(inner);
  }
}

function described({mark, item}) {
  const {x, y, x2, y2, width, height, fill, stroke, text, tooltip, limit} = item;
  const cut = mark.marktype === 'text' && limit > 0 && vega.textMetrics.width({...item, limit: 0}) > limit;
  return {type: mark.marktype, name: mark.name || '', role: mark.role || '', x, y, x2, y2, width, height, fill, stroke, text, cut, tooltip};
}

// What a click on this mark would do: the handler's expression, with the item's datum, in a view of its own.
async function click(spec, mark, datum) {
  const handlers = (spec.signals || []).flatMap(signal => signal.on || []).filter(on => on.events === `@${mark}:click`);
  if (handlers.length !== 1) throw new Error(`${handlers.length} handlers of a click on ${mark}`);
  const update = handlers[0].update.replace(/\bdatum\b/g, 'clicked');
  await viewOf({signals: [{name: 'clicked', value: datum}, {name: 'done', update}]}).runAsync();
}

(async () => {
  const spec = JSON.parse(JSON.stringify(job.spec));
  for (const data of spec.data) {
    if (!data.url) continue;
    if (!(data.name in job.results)) throw new Error(`no answer for data "${data.name}"`);
    data.values = job.results[data.name];
    delete data.url;
  }
  const view = viewOf(spec).width(job.width).height(job.height);
  await view.runAsync();
  const all = [...items(view.scenegraph().root)];
  const marks = all.filter(({mark}) => mark.marktype !== 'group').map(described);
  if (job.click) {
    const {item} = all.find(({mark}) => mark.name === job.click);
    await click(spec, job.click, item.datum);
  }
  // A control character in a name is drawn as nothing by browsers; in a file it would not be XML.
  const svg = (await view.toSVG()).replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, '');
  if (job.png) {
    const {Resvg} = require('@resvg/resvg-js');
    const options = {background: '#fff', font: {defaultFontFamily: 'DejaVu Sans'}, fitTo: {mode: 'zoom', value: 1.5}};
    fs.writeFileSync(job.png, new Resvg(svg, options).render().asPng());
  }
  process.stdout.write(JSON.stringify({svg, marks, warnings, filters}));
})().catch(error => { console.error(error.stack); process.exit(1); });
