// What has changed arrives as server-sent events; without them the page is as it was loaded.
const at = (key) => document.querySelector(`[data-key="${CSS.escape(key)}"]`);
const write = (element, text) => { if (element && element.textContent !== text) element.textContent = text; };
const SHOWN = 5;
// The gateway says something every 20 seconds at least: after this time in ms it is not reached.
const SILENT = 45000;
let stream = null;
let due = 0;
let lost = false;
let loaded = performance.now();

function span(seconds) {
  for (const [unit, length] of [['days', 86400], ['h', 3600], ['min', 60]])
    if (seconds >= 2 * length) return `${Math.round(seconds / length)} ${unit}`;
  return `${Math.round(seconds)} s`;
}

function setAge(element, age) {
  element.dataset.age = age ?? '';
  element.since = performance.now();
}

function tick() {
  for (const element of document.querySelectorAll('[data-age]')) {
    if (element.dataset.age === '') continue;
    const passed = (performance.now() - (element.since ?? loaded)) / 1000;
    write(element, `${span(Number(element.dataset.age) + passed)} ago`);
  }
}

function showTile(key, tile) {
  const element = at(key);
  if (!element) return false;
  const number = element.querySelector('.number');
  element.classList.toggle('fresh', number.textContent !== tile.figure);
  setTimeout(() => element.classList.remove('fresh'), 100);
  write(number, tile.figure);
  number.classList.toggle('long', tile.figure.length > 6);
  element.classList.toggle('none', tile.note !== '');
  write(element.querySelector('.note'), tile.note);
  setAge(element.querySelector('.age'), tile.age);
  element.querySelector('.line').setAttribute('d', tile.line);
  element.querySelector('.area').setAttribute('d', tile.area);
  write(element.querySelector('.least'), tile.least || '–');
  write(element.querySelector('.greatest'), tile.greatest || '–');
  return true;
}

function list(parent, items, make) {
  const text = JSON.stringify(items);
  if (parent.shown === text) return;
  parent.shown = text;
  parent.replaceChildren(...items.map(make));
}

function made(tag, ...children) {
  const element = document.createElement(tag);
  element.append(...children);
  return element;
}

function show({ tiles = {}, page = {} }) {
  for (const [key, tile] of Object.entries(tiles))
    if (!showTile(key, tile)) { location.reload(); return; }
  if ('troubles' in page) {
    document.getElementById('status').className = `status ${page.troubles.length ? 'bad' : 'good'}`;
    const line = (trouble) => made('li', trouble);
    list(document.getElementById('troubles'), page.troubles.slice(0, SHOWN), line);
    list(document.querySelector('#more ul'), page.troubles.slice(SHOWN), line);
    write(document.querySelector('#more summary'), `${page.troubles.length - SHOWN} more`);
    document.getElementById('more').hidden = page.troubles.length <= SHOWN;
  }
  if ('headline' in page) write(document.getElementById('headline'), page.headline);
  if ('gateway' in page) write(document.getElementById('gateway'), page.gateway);
  if ('destinations' in page)
    list(document.getElementById('destinations'), page.destinations, ([name, delivered, waiting]) =>
      made('div', made('dt', name), made('dd', delivered), made('dd', waiting)));
  tick();
}

function follow() {
  stream?.close();
  stream = null;
  if (document.hidden) return;
  due = performance.now() + SILENT / 3;
  stream = new EventSource('api/events');
  stream.onmessage = (event) => {
    due = performance.now() + SILENT;
    lost = false;
    show(JSON.parse(event.data));
  };
  stream.onerror = () => { if (!lost) due = Math.min(due, performance.now() + SILENT / 9); };
}

function watch() {
  if (!stream || performance.now() < due) return;
  lost = true;
  const words = 'the gateway does not answer: what is below was so when it last did';
  show({ page: { headline: 'Not reached', troubles: [words] } });
  follow();
}

if (document.getElementById('status')) {
  document.addEventListener('visibilitychange', follow);
  setInterval(tick, 1000);
  setInterval(watch, 1000);
  follow();
}

// A chart: its times in the time zone of the browser, and a crosshair that reads values.
const figure = document.getElementById('chart');
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const SVG = 'http://www.w3.org/2000/svg';

function drawn(svg, tag, name) {
  const element = document.createElementNS(SVG, tag);
  element.setAttribute('class', name);
  return svg.appendChild(element);
}

async function read() {
  const answer = await fetch(figure.dataset.series);
  const { points, step } = await answer.json();
  const svg = figure.querySelector('svg');
  const out = document.getElementById('read');
  const unit = figure.dataset.unit ?? '';
  const [right, top, bottom] = [470, 12, 272];
  const [since, until, low, high, left] = ['since', 'until', 'low', 'high', 'left'].map((name) => Number(svg.dataset[name]));
  const before = out.textContent;
  const hair = drawn(svg, 'path', 'hair');
  const dot = drawn(svg, 'circle', 'dot');
  let chosen = -1;

  function choose(at) {
    chosen = Math.max(0, Math.min(points.length - 1, at));
    const [time, mean, least, greatest] = points[chosen];
    const x = left + (time + step / 2 - since) / (until - since) * (right - left);
    hair.setAttribute('d', `M${x} ${top}V${bottom}`);
    dot.setAttribute('cx', x);
    dot.setAttribute('cy', bottom - (mean - low) / (high - low) * (bottom - top));
    dot.setAttribute('r', 5);
    const when = new Date(time * 1000).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
    const shown = (number) => Number(number.toPrecision(5)).toLocaleString();
    const range = least === greatest ? '' : ` (${shown(least)} – ${shown(greatest)})`;
    write(out, `${when}: ${shown(mean)} ${unit}${range}`);
  }

  function away() {
    hair.removeAttribute('d');
    dot.setAttribute('r', 0);
    write(out, before);
  }

  if (!points.length) return;
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const time = since + ((event.clientX - box.left) / box.width * 480 - left) / (right - left) * (until - since);
    let best = 0;
    points.forEach(([at], place) => { if (Math.abs(at + step / 2 - time) < Math.abs(points[best][0] + step / 2 - time)) best = place; });
    choose(best);
  });
  svg.addEventListener('pointerleave', away);
  svg.setAttribute('tabindex', '0');
  svg.addEventListener('blur', away);
  svg.addEventListener('keydown', (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -points.length, End: points.length }[event.key];
    if (!move) return;
    event.preventDefault();
    choose(chosen < 0 ? points.length - 1 : chosen + move);
  });
}

if (figure) {
  const asked = new URLSearchParams(location.search);
  const stays = !zone || asked.has('tz');
  asked.set('tz', zone);
  const local = `${location.pathname}?${asked}`;
  // The gateway may not know a time zone that the browser does.
  if (stays || !(await fetch(local, { method: 'HEAD' })).ok) read();
  else location.replace(local);
}
