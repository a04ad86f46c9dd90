// One frame: the axis, the lanes and the operations. Only what is in view is touched, and of many things on one
// pixel one is drawn, so a frame costs about as much as the picture is wide.

function draw() {
  const began = performance.now();
  const c = view.colours;
  paper.fillStyle = c.card;
  paper.fillRect(0, 0, view.width, view.height);
  drawLanes(processPane);
  drawLanes(replicaPane);
  drawAxis();
  const lines = connectors();
  // Behind the bars, but their ends in front of the messages.
  beyondNames(() => lines.forEach(drawConnector));
  inPane(processPane, drawOperations);
  inPane(replicaPane, drawReplicas);
  inPane(replicaPane, () => lines.forEach(drawConnectorEnd));
  drawNames(processPane);
  drawNames(replicaPane);
  drawGap();
  drawMap();
  placeTip();
  view.lastDraw = performance.now() - began;
}

/** Draws inside a pane, right of the names. */
function inPane(pane, drawing) {
  if (!pane.lanes.length) return;
  paper.save();
  paper.beginPath();
  paper.rect(view.gutter, pane.top, view.width - view.gutter, pane.height);
  paper.clip();
  drawing();
  paper.restore();
}

/** Draws below the axis and right of the names. */
function beyondNames(drawing) {
  paper.save();
  paper.beginPath();
  paper.rect(view.gutter, AXIS, view.width - view.gutter, view.height - AXIS);
  paper.clip();
  drawing();
  paper.restore();
}

/** The indices of the lanes in view. */
function lanesInView(pane) {
  const first = Math.floor(pane.scroll / pane.pitch);
  return [first, Math.min(pane.lanes.length, Math.ceil((pane.scroll + pane.height) / pane.pitch))];
}

function drawLanes(pane) {
  if (!pane.lanes.length) return;
  const [first, end] = lanesInView(pane);
  paper.save();
  paper.beginPath();
  paper.rect(0, pane.top, view.width, pane.height);
  paper.clip();
  paper.fillStyle = view.colours.lane;
  for (let at = first; at < end; at++) {
    if (at % 2 === 0) paper.fillRect(0, laneTop(pane, at), view.width, pane.pitch);
  }
  paper.restore();
}

function drawAxis() {
  const c = view.colours, { ticks, text, base } = ticksOf(view.from, view.until, plotWidth() / 84);
  paper.font = FONT;
  paper.textBaseline = "middle";
  paper.textAlign = "center";
  const bottom = view.height - 6;
  let free = view.gutter;
  for (const t of ticks) {
    const x = Math.round(xOf(t)) + 0.5, label = text(t), half = paper.measureText(label).width / 2;
    paper.fillStyle = c.grid;
    paper.fillRect(x - 0.5, AXIS - 6, 1, bottom - AXIS + 6);
    if (x - half < free || x + half > view.width) continue;
    paper.fillStyle = c.muted;
    paper.fillText(label, x, AXIS / 2 - 1);
    free = x + half + 12;
  }
  paper.textAlign = "left";
  paper.fillStyle = c.muted;
  const unit = model.clock === "ns" ? base : model.clock === "steps" ? "step" : "place";
  if (unit) paper.fillText(shortened(unit, 22), 10, AXIS / 2 - 1);
}

function drawNames(pane) {
  if (!pane.lanes.length) return;
  const c = view.colours, [first, end] = lanesInView(pane);
  paper.save();
  paper.beginPath();
  paper.rect(0, pane.top, view.width, pane.height);
  paper.clip();
  paper.textBaseline = "middle";
  paper.textAlign = "left";
  for (let at = first; at < end; at++) {
    const lane = pane.lanes[at], strong = lane.witness && lane.witness.length;
    paper.fillStyle = at % 2 === 0 ? c.lane : c.card;
    paper.fillRect(0, laneTop(pane, at), view.gutter, pane.pitch);
    paper.font = (strong ? "600 " : "") + FONT;
    paper.fillStyle = strong || pane.kind === "replica" ? c.ink : c.muted;
    paper.fillText(fitted(lane.name, view.gutter - 18), 10, laneMiddle(pane, at));
  }
  paper.fillStyle = c.line;
  paper.fillRect(view.gutter - 1, pane.top, 1, pane.height);
  drawScrollBar(pane);
  paper.restore();
}

function drawScrollBar(pane) {
  const all = pane.lanes.length * pane.pitch;
  if (all <= pane.height) return;
  paper.fillStyle = view.colours.muted;
  const length = Math.max(24, pane.height * pane.height / all);
  const top = pane.top + (pane.height - length) * (pane.scroll / maxScroll(pane));
  paper.beginPath();
  paper.roundRect(view.width - 6, top, 4, length, 2);
  paper.fill();
}

const widths = new Map();

/** The width of a text in the font that is set, from memory where possible. */
function widthOf(text) {
  const key = paper.font + text;
  let width = widths.get(key);
  if (width === undefined) {
    if (widths.size > 20000) widths.clear();
    width = paper.measureText(text).width;
    widths.set(key, width);
  }
  return width;
}

/** The text, or as much of it as fits. */
function fitted(text, room) {
  const head = shortened(text, 60);
  if (widthOf(head) <= room) return isolated(head);
  const letters = Array.from(head);
  const count = firstWhere(letters.length, (n) => widthOf(letters.slice(0, n + 1).join("") + "…") > room);
  return isolated(letters.slice(0, count).join("") + "…");
}

function drawOperations() {
  const [first, end] = lanesInView(processPane);
  for (let at = first; at < end; at++) {
    const lane = processPane.lanes[at];
    const begin = firstWhere(lane.ops.length, (n) => lane.last[n] >= view.from);
    const stop = firstWhere(lane.ops.length, (n) => model.start[lane.ops[n]] > view.until);
    for (const weight of [FILTERED, DIMMED, NORMAL]) drawWeight(lane, at, begin, stop, weight);
  }
  for (let at = first; at < end; at++) {
    const lane = processPane.lanes[at];
    for (const weight of [WITNESS, CULPRIT]) {
      for (const i of lane.witness) {
        if (weights[i] === weight && model.start[i] <= view.until && model.reach[i] >= view.from) {
          drawBar(i, weight, at, nextStart(lane, i));
        }
      }
    }
  }
  const chosen = view.focused && view.focused.kind === "operation" ? view.focused.index : -1;
  if (chosen >= 0) outline(chosen);
}

/** Where the next bar of the lane begins, in pixels. */
function nextStart(lane, i) {
  const at = firstWhere(lane.ops.length, (n) => model.start[lane.ops[n]] > model.start[i]);
  return at < lane.ops.length ? xOf(model.start[lane.ops[at]]) : view.width;
}

function drawWeight(lane, at, begin, stop, weight) {
  let covered = -Infinity;
  for (let n = begin; n < stop; n++) {
    const i = lane.ops[n];
    if (weights[i] !== weight) continue;
    const right = xOf(model.reach[i]);
    if (right < covered) continue;
    const next = n + 1 < lane.ops.length ? xOf(model.start[lane.ops[n + 1]]) : view.width;
    drawBar(i, weight, at, next);
    // What ends on a pixel that has its colour already would not be seen.
    covered = Math.max(right, xOf(model.start[i]) + 1);
  }
}

/** Where the bar of an operation lies; null where it is not in view. */
function boxOf(i) {
  const at = laneOfProcess.get(model.process[i]), inset = processPane.pitch > 28 ? 6 : 3;
  const left = clamp(xOf(model.start[i]), view.gutter - 20, view.width + 20);
  const right = clamp(Math.max(xOf(model.reach[i]), left + 2), view.gutter - 20, view.width + 20);
  const y = laneTop(processPane, at) + inset;
  if (right <= view.gutter || left >= view.width) return null;
  return { x: left, y, width: right - left, height: processPane.pitch - 2 * inset };
}

function drawBar(i, weight, at, next) {
  const box = boxOf(i);
  if (!box) return;
  const c = view.colours, { x, y, width, height } = box;
  const colour = weight === CULPRIT ? c.culprit : weight <= DIMMED ? c.dim : c.kinds[model.kind[i]];
  if (weight <= NORMAL && width < 4) {
    paper.globalAlpha = weight === FILTERED ? 0.5 : model.outcome[i] === OK ? 1 : 0.6;
    paper.fillStyle = colour;
    paper.fillRect(x, y, width, height);
    paper.globalAlpha = 1;
  } else if (weight >= WITNESS && width < 9) {
    drawSliver(weight, colour, box);
  } else {
    drawShape(i, weight, colour, box);
  }
  if (model.outcome[i] === UNKNOWN && model.kind[i] !== READ && weight !== FILTERED && width > 24) drawTail(i, at);
  if (weight !== FILTERED) drawLabel(i, weight, box, next);
}

/** A bar of the witness that would be too narrow for its own outline: it is given a width that can be seen. */
function drawSliver(weight, colour, { x, y, width, height }) {
  const c = view.colours, wide = Math.max(4, width), left = x + width / 2 - wide / 2;
  const layers = [[1.5, c.ring], [0, colour]];
  if (weight === CULPRIT) layers.unshift([5, c.halo]);
  for (const [rim, fill] of layers) {
    paper.fillStyle = fill;
    paper.beginPath();
    paper.roundRect(left - rim, y - rim, wide + 2 * rim, height + 2 * rim, 2 + rim / 2);
    paper.fill();
  }
}

function drawShape(i, weight, colour, { x, y, width, height }) {
  const c = view.colours, outcome = model.outcome[i];
  paper.beginPath();
  paper.roundRect(x, y, width, height, Math.min(4, width / 2));
  paper.globalAlpha = weight === FILTERED ? 0.5 : 1;
  if (weight === CULPRIT) {
    paper.strokeStyle = c.halo;
    paper.lineWidth = 9;
    paper.stroke();
  }
  if (outcome === FAIL) {
    paper.fillStyle = c.card;
    paper.fill();
    paper.strokeStyle = weight <= DIMMED ? c["dim-ink"] : colour;
    paper.lineWidth = weight <= DIMMED ? 1 : 1.5;
    paper.stroke();
  } else {
    paper.fillStyle = outcome === UNKNOWN ? fading(i, colour, x, width) : colour;
    paper.fill();
  }
  if (weight >= WITNESS && outcome !== UNKNOWN) {
    paper.strokeStyle = c.ring;
    paper.lineWidth = weight === CULPRIT ? 2.5 : 1.75;
    paper.stroke();
  } else if (weight >= WITNESS) {
    paper.strokeStyle = fading(i, c.ring, x, width);
    paper.lineWidth = 1.75;
    paper.stroke();
  }
  paper.globalAlpha = 1;
}

/** Full until the process gave up, then fading out. */
function fading(i, colour, x, width) {
  const gradient = paper.createLinearGradient(x, 0, x + width, 0);
  const solid = clamp((xOf(shownEnd(model, i)) - x) / width, 0, 0.9);
  gradient.addColorStop(0, colour);
  gradient.addColorStop(solid, colour);
  gradient.addColorStop(1, transparent(colour));
  return gradient;
}

/** `#rrggbb` without any opacity. */
const transparent = (colour) => (colour.startsWith("#") ? colour + "00" : "transparent");

/** A thin line from an unknown outcome to the right: it may still take effect, whatever its process does next. */
function drawTail(i, at) {
  const x = Math.max(view.gutter, xOf(shownEnd(model, i))), y = laneTop(processPane, at) + processPane.pitch - 2.5;
  const fade = paper.createLinearGradient(x, 0, Math.max(x + 1, view.width), 0);
  fade.addColorStop(0, view.colours["dim-ink"]);
  fade.addColorStop(1, transparent(view.colours["dim-ink"]));
  paper.strokeStyle = fade;
  paper.lineWidth = 1;
  paper.setLineDash([2, 4]);
  paper.beginPath();
  paper.moveTo(x, y);
  paper.lineTo(view.width, y);
  paper.stroke();
  paper.setLineDash([]);
}

/** The label: inside the bar, or right of it, or not at all. */
function drawLabel(i, weight, box, next) {
  const left = Math.max(box.x, view.gutter), right = Math.min(box.x + box.width, view.width - PAD);
  const inside = right - left - 10, beside = Math.min(next, view.width - PAD) - right - 8;
  const c = view.colours, strong = weight >= WITNESS;
  if ((inside < 14 && beside < 14 && !strong) || box.height < 11) return;
  paper.font = (strong ? "600 " : "") + FONT;
  const sign = weight === CULPRIT ? "✗ " : "";
  let text = sign + labelOf(i), width = widthOf(text), room = Math.max(inside, beside);
  if (width > room) {
    text = sign + labelOf(i, 7);
    width = widthOf(text);
    if (width > room) return strong ? drawTag(i, text, right, box) : undefined;
  }
  const within = width <= inside;
  const x = within ? left + 5 : right + 4, y = box.y + box.height / 2 + 0.5;
  const faint = weight === DIMMED;
  const filled = within && model.outcome[i] !== FAIL;
  paper.textAlign = "left";
  paper.textBaseline = "middle";
  paper.fillStyle = faint ? c["dim-ink"] : !filled ? c.ink : weight === CULPRIT ? c["culprit-ink"] : c["bar-ink"];
  paper.fillText(text, x, y);
  if (model.outcome[i] === FAIL) paper.fillRect(x, Math.round(y) - 0.5, width, 1);
}

/** The label of a narrow bar of the witness, over the bars beside it unless they are of the witness, too. */
function drawTag(i, text, right, { y, height }) {
  const c = view.colours, x = right + 4, width = widthOf(text) + 8, until = x + width + 4;
  const lane = processPane.lanes[laneOfProcess.get(model.process[i])];
  const hides = (j) => j !== i && xOf(model.start[j]) < until && xOf(model.reach[j]) > x - 4;
  if (until > view.width || x < view.gutter || lane.witness.some(hides)) return;
  paper.fillStyle = c.card;
  paper.strokeStyle = c.line;
  paper.lineWidth = 1;
  paper.beginPath();
  paper.roundRect(x, y + 2, width, height - 4, 4);
  paper.fill();
  paper.stroke();
  paper.fillStyle = c.ink;
  paper.textAlign = "left";
  paper.textBaseline = "middle";
  paper.fillText(text, x + 4, y + height / 2 + 0.5);
}

function outline(i) {
  const box = boxOf(i);
  if (!box) return;
  paper.strokeStyle = view.colours.accent;
  paper.lineWidth = 2;
  paper.beginPath();
  paper.roundRect(box.x - 3.5, box.y - 3.5, box.width + 7, box.height + 7, 6);
  paper.stroke();
}
