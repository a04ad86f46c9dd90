// Words: what an operation was, times, and the contents of the tooltip.

const SHORT = 24;

/** At most so many characters. */
function shortened(text, max) {
  if (text.length <= max) return text;
  return Array.from(text).slice(0, max - 1).join("") + "…";
}

/** The text in an isolate of its own: its direction of writing stays inside. */
const isolated = (text) => (/^[\x20-\x7e]*$/.test(text) ? text : "\u2068" + text + "\u2069");

/** `x←42`, as short as it can be said; each part at most `max` characters. */
function labelOf(i, max = SHORT) {
  const key = isolated(shortened(model.keys[model.key[i]], max));
  const value = isolated(shortened(model.values[model.value[i]], max));
  switch (model.kind[i]) {
    case READ: return key + "→" + (model.outcome[i] === OK ? value : "?");
    case WRITE: return key + "←" + value;
    case CAS: case CAS_OTHER: {
      const second = isolated(shortened(model.values[model.second[i]], max));
      return key + ": " + value + (model.kind[i] === CAS ? "⇒" : "⇏") + second;
    }
    case APPEND: return key + "⊕" + value;
    default: return value + " " + key;
  }
}

/** The operation in words, in full. */
function deedOf(i) {
  const key = isolated(model.keys[model.key[i]]), value = isolated(model.values[model.value[i]]);
  switch (model.kind[i]) {
    case READ: return "read " + key + " → " + (model.outcome[i] === OK ? value : "?");
    case WRITE: return "write " + key + " ← " + value;
    case CAS: case CAS_OTHER:
      return "compare-and-set " + key + ": " + value + " ⇒ " + isolated(model.values[model.second[i]]);
    case APPEND: return "append " + value + " to " + key;
    default: return value + " " + key;
  }
}

const OUTCOMES = ["ok", "failed: it did not happen", "unknown: it may take effect later"];

function outcomeOf(i) {
  return model.kind[i] === CAS_OTHER ? "ok: it found another value" : OUTCOMES[model.outcome[i]];
}

const UNITS = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];

/** The unit for times of this size, and how many digits behind the point a step of this size needs. */
function unitOf(size, step) {
  const [scale, name] = UNITS.find(([scale]) => size >= scale) || UNITS[3];
  return { scale, name, digits: Math.min(9, Math.max(0, Math.ceil(-Math.log10(step / scale) - 1e-9))) };
}

function plain(number, digits) {
  const text = number.toFixed(digits).replace("-", "−");
  return digits > 0 ? text.replace(/\.?0+$/, "") : text;
}

/** A duration, to four digits or so. */
function durationText(t) {
  if (model.clock !== "ns") return plain(t, 0) + (t === 1 ? " step" : " steps");
  const { scale, name } = unitOf(Math.abs(t), 1);
  return plain(t / scale, 3) + " " + name;
}

/** A moment, to the last digit that matters. */
function momentText(t) {
  if (model.clock === "steps") return "step " + plain(t, 0);
  if (model.clock === "order") return "place " + plain(Math.floor(t) + 1, 0);
  const { scale, name } = unitOf(Math.abs(t), 1);
  return plain(t / scale, Math.min(6, Math.round(Math.log10(scale)))) + " " + name;
}

/** The ticks of the axis: their times, and a text for each. */
function ticksOf(from, until, wanted) {
  const rough = (until - from) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) * power;
  // There is nothing between two steps, nor between two nanoseconds.
  step = Math.max(1, step);
  const first = Math.ceil(from / step);
  const ticks = [];
  for (let at = first; at * step <= until && ticks.length < 100; at++) ticks.push(at * step);
  return { step, ticks, ...axisText(from, until, step) };
}

/** How to write the ticks. Deep inside a long run they count from a moment at the left edge. */
function axisText(from, until, step) {
  if (model.clock !== "ns") {
    const shift = model.clock === "order" ? 1 : 0;
    return { base: "", text: (t) => plain(t + shift, 0) };
  }
  const size = Math.max(Math.abs(from), Math.abs(until));
  const whole = unitOf(size, step);
  if (whole.digits <= 4) {
    return { base: "", text: (t) => plain(t / whole.scale, whole.digits) + " " + whole.name };
  }
  const round = step * 10 ** Math.ceil(Math.log10((until - from) / step));
  const base = Math.floor(from / round) * round;
  const fine = unitOf(until - base, step);
  return { base: momentText(base), text: (t) => "+" + plain((t - base) / fine.scale, fine.digits) + " " + fine.name };
}

const replicaName = (r) => model.nodes[r] || "replica " + r;
const replicaText = (r) => model.nodes[r] || String(r);

/** What the tooltip says of a thing: a heading, flags, and pairs of term and description. */
function factsOf(thing) {
  switch (thing.kind) {
    case "operation": return operationFacts(thing.index);
    case "delivery": return deliveryFacts(thing.index);
    case "message": return messageFacts(thing.index);
    default: return faultFacts(model.faults[thing.index]);
  }
}

function operationFacts(i) {
  const facts = [["process", model.processes[model.process[i]]]];
  if (model.replica[i] >= 0) facts.push(["replica", replicaText(model.replica[i])]);
  facts.push(["outcome", outcomeOf(i)]);
  if (model.clock === "order") {
    facts.push(["place in process", plain(model.start[i] + 1, 0)]);
  } else {
    facts.push(["invoked", momentText(model.start[i])]);
    facts.push(["completed", Number.isNaN(model.end[i]) ? "never" : momentText(model.end[i])]);
    if (!Number.isNaN(model.end[i])) facts.push(["took", durationText(model.end[i] - model.start[i])]);
  }
  const delivered = model.deliveries.byOp.get(i) || [];
  for (const d of delivered.slice(0, 9)) {
    const after = model.clock === "ns" ? " (" + durationText(model.deliveries.time[d] - model.start[i]) + " after its invocation)" : "";
    facts.push(["delivered at " + replicaText(model.deliveries.replica[d]), momentText(model.deliveries.time[d]) + after]);
  }
  facts.push(["operation", "#" + idOf(i)]);
  const flag = i === model.culprit ? "cannot be explained" : model.inWitness[i] ? "in the witness" : "";
  return { heading: deedOf(i), flag, strong: i === model.culprit, facts };
}

function deliveryFacts(d) {
  const all = model.deliveries, op = all.op[d];
  const text = isolated(model.keys[all.key[d]]) + " = " + isolated(model.values[all.value[d]]);
  const facts = [["replica", replicaText(all.replica[d])], ["at", momentText(all.time[d])]];
  if (op >= 0) {
    facts.push(["written by", model.processes[model.process[op]] + " (#" + idOf(op) + ")"]);
    if (model.clock === "ns") facts.push(["after its invocation", durationText(all.time[d] - model.start[op])]);
  }
  return { heading: "delivered " + text, flag: "", facts };
}

function messageFacts(m) {
  const all = model.messages, lost = Number.isNaN(all.received[m]);
  const facts = [["from", replicaName(all.from[m])], ["to", replicaName(all.to[m])], ["sent", momentText(all.sent[m])]];
  facts.push(["received", lost ? "never: it was lost" : momentText(all.received[m])]);
  if (!lost) facts.push(["took", durationText(all.received[m] - all.sent[m])]);
  return { heading: model.labels[all.label[m]] || "message", flag: "", facts };
}

function faultFacts(fault) {
  const touched = fault.replicas.length ? fault.replicas.map(replicaText).join(", ") : "all";
  const until = fault.until === null ? "the end" : momentText(fault.until);
  const facts = [["replicas", touched], ["from", momentText(fault.from)], ["until", until]];
  if (fault.until !== null) facts.push(["lasted", durationText(fault.until - fault.from)]);
  return { heading: fault.name, flag: "", facts };
}
