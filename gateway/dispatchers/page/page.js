// What has changed arrives as server-sent events; without them the page is as it was loaded.
const at = (key) => document.querySelector(`[data-key="${CSS.escape(key)}"]`);
const write = (element, text) => { if (element && element.textContent !== text) element.textContent = text; };
let stream = null;
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
    list(document.getElementById('troubles'), page.troubles, (trouble) => made('li', trouble));
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
  stream = new EventSource('/api/events');
  stream.onmessage = (event) => show(JSON.parse(event.data));
}

if (document.getElementById('status')) {
  document.addEventListener('visibilitychange', follow);
  setInterval(tick, 1000);
  follow();
}
