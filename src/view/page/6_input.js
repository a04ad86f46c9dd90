// Mouse, keyboard, the tooltip, the controls, and the state that tests read.

const tip = document.getElementById("tip"), spoken = document.getElementById("spoken"), search = document.getElementById("search");

/** What lies at a point of the canvas, null for nothing. */
function thingAt(x, y) {
  if (x < view.gutter) return null;
  const pane = panes.find((pane) => pane.lanes.length && y >= pane.top && y < pane.top + pane.height);
  if (!pane) return null;
  const at = Math.floor((y - pane.top + pane.scroll) / pane.pitch);
  if (at >= pane.lanes.length) return null;
  return pane.kind === "process" ? operationAt(pane.lanes[at], x) : markAt(at, x, y);
}

function operationAt(lane, x) {
  const from = timeAt(x - 3), until = timeAt(x + 3);
  let best = null;
  for (let n = firstWhere(lane.ops.length, (n) => lane.last[n] >= from); n < lane.ops.length; n++) {
    const i = lane.ops[n];
    if (model.start[i] > until) break;
    if (model.reach[i] < from) continue;
    const away = Math.max(0, model.start[i] - timeAt(x), timeAt(x) - model.reach[i]);
    if (!best || weights[i] > weights[best.i] || (weights[i] === weights[best.i] && away <= best.away)) best = { i, away };
  }
  return best && { kind: "operation", index: best.i };
}

function markAt(lane, x, y) {
  const all = model.deliveries, list = all.byReplica.get(model.replicas[lane]) || [];
  if (Math.abs(y - laneMiddle(replicaPane, lane)) < 9) {
    const first = firstWhere(list.length, (n) => all.time[list[n]] >= timeAt(x - 7));
    let best = -1;
    for (let n = first; n < list.length && all.time[list[n]] <= timeAt(x + 7); n++) {
      if (best < 0 || Math.abs(xOf(all.time[list[n]]) - x) < Math.abs(xOf(all.time[best]) - x)) best = list[n];
    }
    if (best >= 0) return { kind: "delivery", index: best };
  }
  const message = messageAt(x, y);
  if (message >= 0) return { kind: "message", index: message };
  const fault = model.faults.findIndex((fault) => lanesOfFault(fault).includes(lane) && xOf(fault.from) <= x && faultEnd(fault) >= x);
  return fault >= 0 ? { kind: "fault", index: fault } : null;
}

function messageAt(x, y) {
  const [begin, end] = messagesInView();
  let best = -1, least = 5;
  if (!view.messages || end - begin > MOST_MESSAGES) return best;
  for (let m = begin; m < end; m++) {
    const { x1, y1, x2, y2 } = lineOf(m);
    const along = clamp(((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / ((x2 - x1) ** 2 + (y2 - y1) ** 2 || 1), 0, 1);
    const away = Math.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1));
    if (away < least) { least = away; best = m; }
  }
  return best;
}

const same = (a, b) => (a && b ? a.kind === b.kind && a.index === b.index : a === b);
let tipFor = null, pointer = { x: 0, y: 0 };

/** Fills the tooltip. All text goes in as text, never as HTML. */
function fillTip(thing) {
  if (same(tipFor, thing)) return;
  tipFor = thing;
  tip.hidden = !thing;
  if (!thing) return;
  const { heading, flag, strong, facts } = factsOf(thing);
  const children = [element("h3", shortened(heading, 700))];
  if (flag) children.push(element("span", flag, strong ? "flag" : "flag part"));
  const list = document.createElement("dl");
  for (const [term, text] of facts) list.append(element("dt", term), element("dd", shortened(text, 300)));
  tip.replaceChildren(...children, list);
}

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  made.dir = name === "h3" || name === "dd" ? "auto" : "";
  return made;
}

/** Puts the tooltip beside the pointer, or below what the keyboard has selected; never beyond the edges. */
function placeTip() {
  if (tip.hidden) return;
  let { x, y } = pointer;
  if (!view.hovered && view.focused && view.focused.kind === "operation") {
    const box = boxOf(view.focused.index);
    if (!box) { tip.hidden = true; tipFor = null; return; }
    x = clamp(box.x, view.gutter, view.width - 40);
    y = box.y + box.height - 6;
  }
  const width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = clamp(x + 14, 4, Math.max(4, view.width - width - 4)) + "px";
  const above = y - height - 14;
  const room = window.innerHeight - canvas.getBoundingClientRect().top;
  tip.style.top = (y + 18 + height > Math.max(room, view.height) && above > -60 ? above : y + 18) + "px";
}

function hover(thing) {
  if (same(view.hovered, thing)) return;
  view.hovered = thing;
  canvas.classList.toggle("over", Boolean(thing));
  fillTip(thing || view.focused);
  schedule();
}

/** Selects a thing, as the keyboard and a click do, and says it to a screen reader. */
function select(thing) {
  view.focused = thing;
  view.hovered = null;
  fillTip(thing);
  if (thing) {
    const { heading, flag, facts } = factsOf(thing);
    spoken.textContent = [heading, flag, ...facts.map((fact) => fact.join(" "))].filter(Boolean).join(", ");
  } else {
    spoken.textContent = "";
  }
  schedule();
}

/** The next operation in the order of invocation that is not filtered out. */
function step(by) {
  let i = view.focused && view.focused.kind === "operation" ? view.focused.index + by : -1;
  if (i < 0 && !view.focused) {
    for (i = 0; i < model.count - 1 && model.start[i] < view.from; i++);
  }
  while (i >= 0 && i < model.count && weights[i] === FILTERED) i += by;
  if (i < 0 || i >= model.count) return;
  reveal(i);
  select({ kind: "operation", index: i });
}

function selectOperation(i) {
  reveal(i);
  select({ kind: "operation", index: i });
  canvas.focus({ preventScroll: true });
  canvas.scrollIntoView({ block: "nearest" });
}

function listenToPointer() {
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    drag = { x: event.offsetX, y: event.offsetY, moved: false, pane: panes.find((pane) => event.offsetY < pane.top + pane.height) };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    pointer = { x: event.offsetX, y: event.offsetY };
    if (!drag) {
      hover(thingAt(event.offsetX, event.offsetY));
      return placeTip();
    }
    const dx = event.offsetX - drag.x, dy = event.offsetY - drag.y;
    if (!drag.moved && Math.hypot(dx, dy) < 4) return;
    if (!drag.moved) { drag.moved = true; canvas.classList.add("dragging"); hover(null); }
    pan(-dx);
    if (drag.pane) scrollPane(drag.pane, -dy);
    drag.x = event.offsetX;
    drag.y = event.offsetY;
  });
  const release = (event) => {
    if (drag && !drag.moved && event.type === "pointerup") select(thingAt(event.offsetX, event.offsetY));
    drag = null;
    canvas.classList.remove("dragging");
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { if (!drag) hover(null); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 200 : 1;
    const pane = panes.find((pane) => event.offsetY < pane.top + pane.height);
    if (event.shiftKey && pane && maxScroll(pane) > 0) scrollPane(pane, (event.deltaY || event.deltaX) * unit);
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) * unit);
    else zoom(Math.exp(clamp(event.deltaY * unit, -250, 250) * 0.002), event.offsetX);
    hover(thingAt(event.offsetX, event.offsetY));
  }, { passive: false });
}

function listenToMap() {
  const move = (event) => {
    const [from, until] = bounds(), middle = from + (event.offsetX - view.gutter) / plotWidth() * (until - from);
    show(middle - span() / 2, middle + span() / 2);
  };
  mapCanvas.addEventListener("pointerdown", (event) => { mapCanvas.setPointerCapture(event.pointerId); move(event); });
  mapCanvas.addEventListener("pointermove", (event) => { if (event.buttons & 1) move(event); });
  mapCanvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(clamp(event.deltaY, -250, 250) * 0.002)); }, { passive: false });
}

const KEYS = {
  "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), "_": () => zoom(1 / 0.6),
  "0": showAll, n: () => step(1), p: () => step(-1), w: showWitness, "/": () => search.focus(),
  Escape: () => select(null),
};
/** These also move the page, so they are the timeline's only while it has the focus. */
const KEYS_ON_CANVAS = {
  ArrowLeft: () => pan(-plotWidth() / 10), ArrowRight: () => pan(plotWidth() / 10),
  ArrowUp: () => scrollPane(processPane, -processPane.pitch), ArrowDown: () => scrollPane(processPane, processPane.pitch),
  PageUp: () => pan(-plotWidth() * 0.9), PageDown: () => pan(plotWidth() * 0.9),
  Home: showAll, End: () => show(model.until - span() * 0.95, model.until + span() * 0.05),
};

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const action = KEYS[event.key] || (event.target === canvas && KEYS_ON_CANVAS[event.key]);
    if (!action) return;
    event.preventDefault();
    action();
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { step(1); event.preventDefault(); }
    if (event.key === "Escape") { search.value = ""; applyFilter(); canvas.focus({ preventScroll: true }); }
  });
}

function applyFilter() {
  filter(search.value);
  const found = document.getElementById("found");
  found.textContent = view.matches ? view.matching.toLocaleString("en") + " of " + model.count.toLocaleString("en") : "";
}

function listenToControls() {
  const on = (id, type, action) => document.getElementById(id).addEventListener(type, action);
  on("zoom-in", "click", () => zoom(0.6));
  on("zoom-out", "click", () => zoom(1 / 0.6));
  on("fit", "click", showAll);
  on("to-witness", "click", showWitness);
  on("dim", "change", (event) => { view.dim = event.target.checked; weigh(); });
  on("messages", "change", (event) => { view.messages = event.target.checked; schedule(); });
  search.addEventListener("input", applyFilter);
  for (const row of document.querySelectorAll("tr[data-op]")) {
    const id = Number(row.dataset.op), i = model.ids ? model.ids.indexOf(id) : id;
    if (i < 0) continue;
    row.tabIndex = 0;
    row.addEventListener("click", () => selectOperation(i));
    row.addEventListener("keydown", (event) => { if (event.key === "Enter") selectOperation(i); });
  }
}

const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";

function repaint() {
  view.dark = isDark();
  document.getElementById("theme").textContent = view.dark ? "Light" : "Dark";
  takeColours();
  sketchMap();
  schedule();
}

function listenToTheme() {
  system.addEventListener("change", repaint);
  document.getElementById("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = view.dark ? "light" : "dark";
    repaint();
  });
}

/** The legend and the switches name only what there is. */
function tidyControls() {
  const has = (test) => model.kind.some((_, i) => test(i));
  const present = {
    cas: has((i) => model.kind[i] === CAS || model.kind[i] === CAS_OTHER), append: has((i) => model.kind[i] === APPEND),
    other: has((i) => model.kind[i] === OTHER), fail: has((i) => model.outcome[i] === FAIL),
    unknown: has((i) => model.outcome[i] === UNKNOWN), witness: model.witness.length > 0, culprit: model.culprit >= 0,
    delivery: model.deliveries.time.length > 0, message: model.messages.sent.length > 0, ack: isAck.includes(true),
    lost: model.messages.received.some(Number.isNaN), fault: model.faults.length > 0,
  };
  for (const item of document.querySelectorAll(".legend [data-kind]")) item.hidden = !present[item.dataset.kind];
  document.getElementById("to-witness").hidden = !present.witness;
  document.getElementById("dim-switch").hidden = !present.witness;
  document.getElementById("messages-switch").hidden = !present.message;
}

/**
 * What tests may read: the range of time in view, what is hovered and selected (`{kind, id}`), whether the page is
 * dark, how many milliseconds the first and the last frame took, where an operation lies in the window, and
 * `redraw`, which draws a frame at once and waits until it is really painted.
 */
window.timeline = {
  get visibleFrom() { return view.from; },
  get visibleTo() { return view.until; },
  get hovered() { return named(view.hovered); },
  get focused() { return named(view.focused); },
  get dark() { return view.dark; },
  get matching() { return view.matching; },
  get firstDraw() { return view.firstDraw; },
  get lastDraw() { return view.lastDraw; },
  locate(id) {
    const box = boxOf(model.ids ? model.ids.indexOf(id) : id), at = canvas.getBoundingClientRect();
    return box && { x: at.x + box.x, y: at.y + box.y, width: box.width, height: box.height };
  },
  redraw(pixels = 0) { pan(pixels); draw(); paper.getImageData(0, 0, 1, 1); },
};

function named(thing) {
  return thing && { kind: thing.kind, id: thing.kind === "operation" ? idOf(thing.index) : thing.index };
}

document.documentElement.classList.add("scripted");
takeColours();
weigh();
tidyControls();
listenToPointer();
listenToMap();
listenToKeys();
listenToControls();
listenToTheme();
layOut();
new ResizeObserver(layOut).observe(canvas.parentElement);
// A witness far inside a long run is what the reader came for.
const wide = model.witness.length && model.count > 200;
if (wide) showWitness(); else showAll();
repaint();
draw();
view.firstDraw = performance.now();
