// Drawing what lies in and between the replicas' lanes, the connectors, and the map of the whole run.

/** So many messages can be told apart; of more, their number is shown. */
const MOST_MESSAGES = 1500;

function drawReplicas() {
  const c = view.colours, [first, end] = lanesInView(replicaPane);
  drawFaults(first, end);
  paper.fillStyle = c.line;
  for (let at = first; at < end; at++) {
    paper.fillRect(view.gutter, laneMiddle(replicaPane, at) - 0.5, view.width, 1.5);
  }
  if (view.messages) drawMessages();
  for (let at = first; at < end; at++) drawDeliveries(at);
  drawFaultNames(first, end);
}

/** The lanes that a fault touches. */
function lanesOfFault(fault) {
  return fault.replicas.length ? fault.replicas.map((r) => laneOfReplica.get(r)) : [...model.replicas.keys()];
}

const faultEnd = (fault) => (fault.until === null ? view.width + 4 : xOf(fault.until));

function faultsInView() {
  return model.faults.filter((fault) => fault.from <= view.until && (fault.until === null || fault.until >= view.from));
}

function drawFaults(first, end) {
  const c = view.colours;
  for (const fault of faultsInView()) {
    const left = clamp(xOf(fault.from), view.gutter - 4, view.width), right = clamp(faultEnd(fault), left + 2, view.width + 4);
    for (const at of lanesOfFault(fault)) {
      if (at < first || at >= end) continue;
      const top = laneTop(replicaPane, at) + 2, height = replicaPane.pitch - 4;
      paper.fillStyle = c.fault;
      paper.fillRect(left, top, right - left, height);
      paper.strokeStyle = c["fault-line"];
      paper.lineWidth = 1;
      paper.setLineDash([3, 3]);
      paper.strokeRect(left + 0.5, top + 0.5, right - left - 1, height - 1);
      paper.setLineDash([]);
    }
  }
}

/** Names below the line of the lane, where they leave the deliveries' labels free; none over another. */
function drawFaultNames(first, end) {
  const taken = new Map();
  paper.font = "600 " + FONT;
  paper.textAlign = "left";
  paper.textBaseline = "alphabetic";
  for (const fault of faultsInView()) {
    const left = Math.max(view.gutter, xOf(fault.from)) + 6, right = Math.min(view.width, faultEnd(fault)) - 4;
    const text = isolated(shortened(fault.name, 40)), width = widthOf(text);
    if (left + width > right) continue;
    for (const at of lanesOfFault(fault)) {
      if (at < first || at >= end) continue;
      const others = taken.get(at) || [];
      if (others.some(([from, to]) => left < to && left + width > from)) continue;
      append(taken, at, [left, left + width + 8]);
      haloText(text, left, laneTop(replicaPane, at) + replicaPane.pitch - 8, view.colours["fault-ink"]);
    }
  }
}

/** Text with a rim in the colour of the page, so that lines behind it do not disturb. */
function haloText(text, x, y, colour) {
  paper.lineJoin = "round";
  paper.lineWidth = 4;
  paper.strokeStyle = view.colours.card;
  paper.globalAlpha = 0.85;
  paper.strokeText(text, x, y);
  paper.globalAlpha = 1;
  paper.fillStyle = colour;
  paper.fillText(text, x, y);
}

function drawDeliveries(at) {
  const c = view.colours, all = model.deliveries, list = all.byReplica.get(model.replicas[at]);
  if (!list) return;
  const y = laneMiddle(replicaPane, at);
  const begin = firstWhere(list.length, (n) => all.time[list[n]] >= view.from);
  const end = firstWhere(list.length, (n) => all.time[list[n]] > view.until);
  // Diamonds that would hide each other become thin lines.
  const dense = (end - begin) * 8 > plotWidth();
  let free = -Infinity;
  for (let n = begin; n < end; n++) {
    const d = list[n], x = xOf(all.time[d]), op = all.op[d], weight = op >= 0 ? weights[op] : NORMAL;
    if (weight <= NORMAL && x < free) continue;
    free = x + (dense ? 2 : 1);
    if (dense && weight <= NORMAL) {
      paper.fillStyle = weight === NORMAL ? c.delivery : c["dim-ink"];
      paper.globalAlpha = weight === FILTERED ? 0.2 : 0.6;
      paper.fillRect(x - 0.5, y - 6, 1, 12);
      paper.globalAlpha = 1;
      continue;
    }
    const next = n + 1 < list.length ? xOf(all.time[list[n + 1]]) : view.width;
    drawDelivery(x, y, weight, weight === CULPRIT ? c.culprit : c.delivery);
    if (weight !== FILTERED) labelDelivery(d, x, y, weight, Math.min(next, view.width - PAD) - x - 10);
  }
}

function drawDelivery(x, y, weight, colour) {
  const c = view.colours, half = weight >= WITNESS ? 6.5 : 5;
  paper.fillStyle = weight <= DIMMED ? c["dim-ink"] : colour;
  paper.globalAlpha = weight === FILTERED ? 0.3 : 1;
  paper.beginPath();
  paper.moveTo(x, y - half);
  paper.lineTo(x + half, y);
  paper.lineTo(x, y + half);
  paper.lineTo(x - half, y);
  paper.closePath();
  paper.fill();
  if (weight >= WITNESS) {
    paper.strokeStyle = c.ring;
    paper.lineWidth = 1.5;
    paper.stroke();
  }
  paper.globalAlpha = 1;
}

function labelDelivery(d, x, y, weight, room) {
  if (room < 14) return;
  const all = model.deliveries, c = view.colours;
  const part = (text, max) => isolated(shortened(text, max));
  paper.font = (weight >= WITNESS ? "600 " : "") + FONT;
  for (const max of [18, 6]) {
    const text = part(model.keys[all.key[d]], max) + "=" + part(model.values[all.value[d]], max);
    if (widthOf(text) > room) continue;
    paper.textAlign = "left";
    paper.textBaseline = "alphabetic";
    haloText(text, x + 5, y - 8, weight <= DIMMED ? c["dim-ink"] : c.ink);
    return;
  }
}

/** The messages in view, as a range; they are sorted by when they were sent. */
function messagesInView() {
  const all = model.messages, count = all.sent.length;
  return [firstWhere(count, (n) => all.last[n] >= view.from), firstWhere(count, (n) => all.sent[n] > view.until)];
}

const isAck = model.labels.map((label) => /^ack/i.test(label));

/** Where a message is drawn; a lost one goes half of its way. */
function lineOf(m) {
  const all = model.messages, lost = Number.isNaN(all.received[m]);
  const y1 = laneMiddle(replicaPane, laneOfReplica.get(all.from[m])), y2 = laneMiddle(replicaPane, laneOfReplica.get(all.to[m]));
  const x1 = xOf(all.sent[m]), x2 = xOf(lost ? all.sent[m] + all.typical : all.received[m]);
  if (!lost) return { lost, x1, y1, x2, y2 };
  return { lost, x1, y1, x2: x1 + Math.max(8, (x2 - x1) / 2), y2: (y1 + y2) / 2 };
}

function drawMessages() {
  const [begin, end] = messagesInView();
  view.messagesInView = end - begin;
  if (view.messagesInView > MOST_MESSAGES) return;
  const dim = view.dim && model.witness.length;
  paper.globalAlpha = dim ? 0.6 : 0.9;
  for (const acks of [false, true]) {
    paper.setLineDash(acks ? [5, 4] : []);
    for (let m = begin; m < end; m++) {
      if (isAck[model.messages.label[m]] === acks) drawMessage(lineOf(m), view.colours.wire, 1.25);
    }
  }
  paper.setLineDash([]);
  paper.globalAlpha = 1;
  for (const chosen of [view.focused, view.hovered]) {
    if (chosen && chosen.kind === "message") drawMessage(lineOf(chosen.index), view.colours.accent, 2.25);
  }
}

function drawMessage({ lost, x1, y1, x2, y2 }, colour, width) {
  const length = Math.hypot(x2 - x1, y2 - y1) || 1, dx = (x2 - x1) / length, dy = (y2 - y1) / length;
  // The head ends before the middle of the lane, where a delivery may stand.
  const stop = lost ? 0 : Math.min(6, length / 3), tipX = x2 - dx * stop, tipY = y2 - dy * stop;
  paper.strokeStyle = lost ? view.colours.lost : colour;
  paper.lineWidth = width;
  paper.beginPath();
  paper.moveTo(x1, y1);
  paper.lineTo(tipX, tipY);
  paper.stroke();
  const dashes = paper.getLineDash();
  paper.setLineDash([]);
  paper.beginPath();
  if (lost) {
    paper.lineWidth = 2;
    paper.moveTo(x2 - 4, y2 - 4); paper.lineTo(x2 + 4, y2 + 4);
    paper.moveTo(x2 + 4, y2 - 4); paper.lineTo(x2 - 4, y2 + 4);
  } else {
    paper.moveTo(tipX - 7 * dx - 3.5 * dy, tipY - 7 * dy + 3.5 * dx);
    paper.lineTo(tipX, tipY);
    paper.lineTo(tipX - 7 * dx + 3.5 * dy, tipY - 7 * dy - 3.5 * dx);
  }
  paper.stroke();
  paper.setLineDash(dashes);
}

/** Lines from an operation to the replica that it asked, and to where its write was delivered. */
function connectors() {
  const chosen = [view.focused, view.hovered].filter((thing) => thing && thing.kind === "operation").map((thing) => thing.index);
  if (model.culprit >= 0) chosen.push(model.culprit);
  const lines = [];
  for (const i of new Set(chosen)) {
    const box = boxOf(i);
    if (!box || box.y + box.height < processPane.top || box.y > processPane.top + processPane.height) continue;
    const colour = i === model.culprit ? view.colours.culprit : view.colours.accent;
    const from = { colour, x1: xOf(model.start[i]), y1: box.y + box.height };
    if (model.replica[i] >= 0) lines.push({ ...from, x2: from.x1, y2: laneMiddle(replicaPane, laneOfReplica.get(model.replica[i])) });
    for (const d of (model.deliveries.byOp.get(i) || []).slice(0, 50)) {
      const lane = laneOfReplica.get(model.deliveries.replica[d]);
      lines.push({ ...from, x2: xOf(model.deliveries.time[d]), y2: laneMiddle(replicaPane, lane) });
    }
  }
  return lines.filter(({ y2 }) => y2 >= replicaPane.top && y2 <= replicaPane.top + replicaPane.height);
}

function drawConnector({ colour, x1, y1, x2, y2 }) {
  paper.strokeStyle = colour;
  paper.lineWidth = 1.5;
  paper.setLineDash([2, 3]);
  paper.beginPath();
  paper.moveTo(x1, y1);
  paper.lineTo(x2, y2);
  paper.stroke();
  paper.setLineDash([]);
}

function drawConnectorEnd({ colour, x2, y2 }) {
  paper.strokeStyle = colour;
  paper.lineWidth = 1.75;
  paper.beginPath();
  paper.arc(x2, y2, 4, 0, 7);
  paper.stroke();
}

/** Between the panes: what is not drawn because it is too much. */
function drawGap() {
  const c = view.colours, y = replicaPane.top - GAP / 2;
  if (!replicaPane.lanes.length) return;
  paper.font = FONT;
  paper.textBaseline = "middle";
  paper.textAlign = "left";
  paper.fillStyle = c.muted;
  if (view.messages && view.messagesInView > MOST_MESSAGES) {
    const count = view.messagesInView.toLocaleString("en");
    paper.fillText(count + " messages here: zoom in to see them", view.gutter + 8, y);
  }
}

const sketch = document.createElement("canvas");
const mapX = (t) => { const [from, until] = bounds(); return view.gutter + (t - from) / (until - from) * plotWidth(); };

/** The whole run once: how many operations begin where, faults, and the witness. */
function sketchMap() {
  const c = view.colours, width = Math.ceil(view.width), height = 40;
  sketch.width = mapCanvas.width;
  sketch.height = mapCanvas.height;
  const ink = sketch.getContext("2d");
  ink.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  ink.fillStyle = c.lane;
  ink.fillRect(view.gutter, 0, plotWidth(), height);
  const counts = new Uint32Array(width + 1);
  let most = 1;
  for (let i = 0; i < model.count; i++) {
    const x = clamp(Math.floor(mapX(model.start[i]) / 2), 0, width);
    if (++counts[x] > most) most = counts[x];
  }
  ink.fillStyle = c.fault;
  for (const fault of model.faults) {
    const left = mapX(fault.from), right = fault.until === null ? view.width - PAD : mapX(fault.until);
    ink.fillRect(left, 0, Math.max(1, right - left), height);
  }
  ink.fillStyle = c.muted;
  ink.globalAlpha = 0.65;
  for (let x = 0; x <= width; x++) {
    const tall = counts[x] ? 3 + (height - 10) * counts[x] / most : 0;
    ink.fillRect(x * 2, height - 2 - tall, 1.5, tall);
  }
  ink.globalAlpha = 1;
  for (const i of model.witness) {
    ink.fillStyle = i === model.culprit ? c.culprit : c.ink;
    ink.fillRect(mapX(model.start[i]) - 1, 0, i === model.culprit ? 3 : 2, height);
  }
}

function drawMap() {
  const c = view.colours, left = mapX(view.from), right = mapX(view.until);
  mapPaper.fillStyle = c.card;
  mapPaper.fillRect(0, 0, view.width, 40);
  mapPaper.drawImage(sketch, 0, 0, view.width, 40);
  mapPaper.fillStyle = c.card;
  mapPaper.globalAlpha = 0.45;
  mapPaper.fillRect(view.gutter, 0, left - view.gutter, 40);
  mapPaper.fillRect(right, 0, view.width - PAD - right, 40);
  mapPaper.globalAlpha = 1;
  mapPaper.strokeStyle = c.accent;
  mapPaper.lineWidth = 1.5;
  mapPaper.beginPath();
  mapPaper.roundRect(left + 0.75, 0.75, Math.max(3, right - left - 1.5), 38.5, 4);
  mapPaper.stroke();
  mapPaper.fillStyle = c.muted;
  mapPaper.font = FONT;
  mapPaper.textBaseline = "middle";
  mapPaper.fillText("whole run", 10, 20, view.gutter - 14);
}
