// What is in view: the range of time, where lanes lie, and what is emphasized.

const AXIS = 30, PAD = 10, GAP = 26;
const canvas = document.getElementById("lanes"), paper = canvas.getContext("2d");
const mapCanvas = document.getElementById("map"), mapPaper = mapCanvas.getContext("2d");
const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

const view = {
  from: model.from, until: model.until, width: 800, height: 400, gutter: 80, ratio: 1,
  hovered: null, focused: null, dim: true, messages: true, query: "", matches: null, matching: model.count,
  colours: {}, dark: false, firstDraw: 0, lastDraw: 0, messagesInView: 0,
};

/** Two panes one above the other: the processes, and the replicas, each with its own scrolling. */
const panes = [
  { kind: "process", lanes: model.lanes, top: 0, height: 0, pitch: 0, scroll: 0 },
  { kind: "replica", lanes: model.replicas.map((r) => ({ name: replicaName(r), replica: r })), top: 0, height: 0, pitch: 0, scroll: 0 },
];
const processPane = panes[0], replicaPane = panes[1];
const laneOfProcess = new Map(model.lanes.map((lane, at) => [lane.process, at]));
const laneOfReplica = new Map(model.replicas.map((replica, at) => [replica, at]));

const clamp = (x, low, high) => Math.max(low, Math.min(high, x));
const plotWidth = () => Math.max(50, view.width - view.gutter - PAD);
const perPixel = () => (view.until - view.from) / plotWidth();
const xOf = (t) => view.gutter + (t - view.from) / perPixel();
const timeAt = (x) => view.from + (x - view.gutter) * perPixel();
const span = () => view.until - view.from;
const laneTop = (pane, at) => pane.top + at * pane.pitch - pane.scroll;
const laneMiddle = (pane, at) => laneTop(pane, at) + pane.pitch / 2;
const maxScroll = (pane) => Math.max(0, pane.lanes.length * pane.pitch - pane.height);

/** Room on both sides, so that what happens first and last does not stick to the edges. */
function bounds() {
  const room = (model.until - model.from) * 0.02;
  return [model.from - room, model.until + room];
}

function show(from, until) {
  const [least, most] = bounds();
  const narrowest = Math.min(most - least, model.clock === "ns" ? 20 : 4);
  const length = clamp(until - from, narrowest, most - least);
  const middle = (from + until) / 2;
  view.from = clamp(middle - length / 2, least, most - length);
  view.until = view.from + length;
  schedule();
}

const showAll = () => show(...bounds());
const pan = (pixels) => show(view.from + pixels * perPixel(), view.until + pixels * perPixel());

/** Zooms by a factor; the time at `x` stays where it is. */
function zoom(factor, x = view.gutter + plotWidth() / 2) {
  const still = timeAt(clamp(x, view.gutter, view.width));
  show(still - (still - view.from) * factor, still + (view.until - still) * factor);
}

function scrollPane(pane, pixels) {
  pane.scroll = clamp(pane.scroll + pixels, 0, maxScroll(pane));
  schedule();
}

function showWitness() {
  if (!model.witness.length) return showAll();
  let from = Infinity, until = -Infinity;
  for (const i of model.witness) {
    from = Math.min(from, model.start[i]);
    until = Math.max(until, shownEnd(model, i));
  }
  const room = Math.max((until - from) * 0.15, model.clock === "ns" ? 10 : 1);
  show(from - room, until + room);
  revealLane(model.culprit >= 0 ? model.culprit : model.witness[0]);
}

function revealLane(i) {
  const at = laneOfProcess.get(model.process[i]), pane = processPane;
  pane.scroll = clamp(pane.scroll, (at + 1) * pane.pitch - pane.height, at * pane.pitch);
  pane.scroll = clamp(pane.scroll, 0, maxScroll(pane));
}

/** Brings an operation into view, large enough to be seen. */
function reveal(i) {
  const start = model.start[i], length = shownEnd(model, i) - start, shown = span();
  let target = shown;
  if (length > 0 && length / perPixel() < 12) target = Math.min(shown, length * plotWidth() / 60);
  if (length > shown * 0.9) target = length * 1.4;
  const inside = start >= view.from + shown * 0.04 && start + length <= view.until - shown * 0.04;
  if (target !== shown || !inside) {
    const middle = start + length / 2;
    show(middle - target / 2, middle + target / 2);
  }
  revealLane(i);
}

const FILTERED = 0, DIMMED = 1, NORMAL = 2, WITNESS = 3, CULPRIT = 4;
const weights = new Uint8Array(model.count);

/** How much each operation stands out. */
function weigh() {
  const rest = view.dim && model.witness.length ? DIMMED : NORMAL;
  for (let i = 0; i < model.count; i++) {
    if (view.matches && !view.matches[i]) weights[i] = FILTERED;
    else if (i === model.culprit) weights[i] = CULPRIT;
    else weights[i] = model.inWitness[i] ? WITNESS : rest;
  }
  schedule();
}

/** Which operations a query asks for. Its words must all match; `key:`, `process:` … say where. */
function filter(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  view.query = query.trim();
  view.matches = null;
  view.matching = model.count;
  if (words.length) {
    const tests = words.map(testOf);
    view.matches = new Uint8Array(model.count);
    view.matching = 0;
    for (let i = 0; i < model.count; i++) {
      if (tests.every((test) => test(i))) { view.matches[i] = 1; view.matching++; }
    }
  }
  weigh();
}

function testOf(word) {
  const [, field, sought] = /^(key|process|value|replica):(.*)$/.exec(word) || [null, "", word];
  const among = (names) => Uint8Array.from(names, (name) => name.toLowerCase().includes(sought));
  if (field === "replica") return (i) => String(model.replica[i]) === sought;
  const keys = among(model.keys), processes = among(model.processes), values = among(model.values);
  const inValue = (i) => values[model.value[i]] || (model.kind[i] === CAS && values[model.second[i]]);
  if (field === "key") return (i) => keys[model.key[i]];
  if (field === "process") return (i) => processes[model.process[i]];
  if (field === "value") return inValue;
  return (i) => keys[model.key[i]] || processes[model.process[i]] || inValue(i);
}

/** Where everything lies, for the size of the window. */
function layOut() {
  // A page that is not shown has no width; it is laid out when it is shown.
  view.width = Math.max(200, canvas.parentElement.clientWidth);
  view.ratio = window.devicePixelRatio || 1;
  paper.font = "600 " + FONT;
  const names = panes.flatMap((pane) => pane.lanes.slice(0, 500).map((lane) => lane.name));
  const widest = Math.max(0, ...names.map((name) => paper.measureText(shortened(name, 40)).width));
  view.gutter = Math.round(clamp(widest + 26, 56, Math.min(190, view.width * 0.3)));
  const room = clamp(window.innerHeight * 0.72, 320, 900);
  const processes = processPane.lanes.length, replicas = replicaPane.lanes.length;
  replicaPane.pitch = 54;
  replicaPane.height = replicas ? Math.min(replicas * replicaPane.pitch + 8, Math.max(120, room * 0.45)) : 0;
  const left = room - AXIS - replicaPane.height - (replicas ? GAP : 0);
  processPane.pitch = Math.round(clamp(left / Math.max(1, processes), 18, 40));
  processPane.height = Math.max(60, Math.min(processes * processPane.pitch, left));
  processPane.top = AXIS;
  replicaPane.top = AXIS + processPane.height + (replicas ? GAP : 0);
  view.height = Math.round(replicaPane.top + replicaPane.height + 6);
  for (const pane of panes) pane.scroll = clamp(pane.scroll, 0, maxScroll(pane));
  resize(canvas, paper, view.width, view.height);
  resize(mapCanvas, mapPaper, view.width, 40);
  sketchMap();
  schedule();
}

function resize(target, context, width, height) {
  target.style.height = height + "px";
  target.width = Math.round(width * view.ratio);
  target.height = Math.round(height * view.ratio);
  context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  context.direction = "ltr";
}

/** The colours as the style sheet has them now. */
function takeColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["card", "ink", "muted", "line", "lane", "grid", "accent", "read", "write", "cas", "append", "other",
    "bar-ink", "dim", "dim-ink", "ring", "culprit", "culprit-ink", "halo", "delivery", "wire", "lost", "fault",
    "fault-line", "fault-ink"];
  for (const name of names) view.colours[name] = style.getPropertyValue("--" + name).trim();
  const { read, write, cas, append: joined, other } = view.colours;
  view.colours.kinds = [read, write, cas, cas, joined, other];
}

let scheduled = false;
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; draw(); });
}
