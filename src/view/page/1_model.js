"use strict";
// The page's script. Its files stand one behind the other in one scope:
// 1 the data, 2 words, 3 what is in view, 4 drawing lanes, 5 drawing marks, 6 mouse, keyboard and the rest.

const READ = 0, WRITE = 1, CAS = 2, CAS_OTHER = 3, APPEND = 4, OTHER = 5;
const OK = 0, FAIL = 1, UNKNOWN = 2;

/** The columns of the data, with times that are no longer differences. */
function decode(raw) {
  const ops = raw.ops, count = ops.p.length;
  const model = {
    clock: raw.clock, total: raw.total, count, ids: raw.ids || null,
    processes: raw.processes, keys: raw.keys, values: raw.values, labels: raw.labels,
    process: Int32Array.from(ops.p), key: Int32Array.from(ops.k), value: Int32Array.from(ops.v),
    second: Int32Array.from(ops.w), replica: Int32Array.from(ops.r),
    kind: Uint8Array.from(ops.a, (code) => Math.floor(code / 3)),
    outcome: Uint8Array.from(ops.a, (code) => code % 3),
    start: summed(ops.s), end: null,
    witness: raw.witness, culprit: raw.culprit, inWitness: new Uint8Array(count),
  };
  // An operation without a completion ends nowhere: NaN.
  model.end = Float64Array.from(ops.d, (d, i) => (d < 0 ? NaN : model.start[i] + d));
  for (const i of raw.witness) model.inWitness[i] = 1;
  if (raw.culprit >= 0) model.inWitness[raw.culprit] = 1;
  model.deliveries = decodeDeliveries(raw.deliveries);
  model.messages = decodeMessages(raw.messages);
  model.nodes = raw.nodes;
  model.faults = raw.faults.map(([name, replicas, from, until]) => ({ name, replicas, from, until }));
  if (raw.clock === "order") orderWithinLanes(model);
  model.reach = Float64Array.from(model.end, (end, i) => (Number.isNaN(end) ? model.start[i] : end));
  model.replicas = replicasOf(model);
  model.lanes = lanesOf(model);
  [model.from, model.until] = extentOf(model);
  return model;
}

function summed(differences) {
  let sum = 0;
  return Float64Array.from(differences, (d) => (sum += d));
}

function decodeDeliveries(raw) {
  const all = { replica: Int32Array.from(raw.r), op: Int32Array.from(raw.o), key: Int32Array.from(raw.k),
    value: Int32Array.from(raw.v), time: summed(raw.t), byReplica: new Map(), byOp: new Map() };
  for (let i = 0; i < all.time.length; i++) {
    append(all.byReplica, all.replica[i], i);
    if (all.op[i] >= 0) append(all.byOp, all.op[i], i);
  }
  for (const list of all.byReplica.values()) sortedBy(list, (i) => all.time[i]);
  return all;
}

function decodeMessages(raw) {
  const sent = summed(raw.s);
  const order = sortedBy(Array.from(sent.keys()), (i) => sent[i]);
  const pick = (column) => Int32Array.from(order, (i) => column[i]);
  const all = { from: pick(raw.f), to: pick(raw.t), label: pick(raw.l),
    sent: Float64Array.from(order, (i) => sent[i]),
    received: Float64Array.from(order, (i) => (raw.d[i] < 0 ? NaN : sent[i] + raw.d[i])) };
  // How long a lost message would have taken: as long as most.
  const taken = sortedBy(raw.d.filter((d) => d >= 0), (d) => d);
  all.typical = taken.length ? taken[taken.length >> 1] : 0;
  all.last = runningMax(order.length, (i) => all.received[i] || all.sent[i] + all.typical);
  return all;
}

/** Without any common time, an operation stands at its place in its own process. */
function orderWithinLanes(model) {
  const next = new Map();
  for (let i = 0; i < model.count; i++) {
    const at = next.get(model.process[i]) || 0;
    next.set(model.process[i], at + 1);
    model.start[i] = at;
    model.end[i] = at + 0.8;
  }
  for (const list of model.deliveries.byReplica.values()) {
    list.forEach((delivery, at) => { model.deliveries.time[delivery] = at; });
  }
}

function append(map, key, item) {
  const list = map.get(key);
  if (list) list.push(item); else map.set(key, [item]);
}

function sortedBy(list, number) {
  for (let i = 1; i < list.length; i++) {
    if (number(list[i - 1]) > number(list[i])) return list.sort((a, b) => number(a) - number(b));
  }
  return list;
}

function runningMax(count, number) {
  let max = -Infinity;
  return Float64Array.from({ length: count }, (_, i) => (max = Math.max(max, number(i))));
}

function replicasOf(model) {
  const seen = new Set();
  for (const r of model.replica) if (r >= 0) seen.add(r);
  for (const r of model.deliveries.byReplica.keys()) seen.add(r);
  for (const r of model.messages.from) seen.add(r);
  for (const r of model.messages.to) seen.add(r);
  for (const fault of model.faults) for (const r of fault.replicas) seen.add(r);
  return [...seen].sort((a, b) => a - b);
}

/** Where an operation ends; where it begins if it never ended. */
function shownEnd(model, i) {
  return Number.isNaN(model.end[i]) ? model.start[i] : model.end[i];
}

/** A lane a process: its operations by their start, and how far any of them reaches. */
function lanesOf(model) {
  const byProcess = new Map();
  for (let i = 0; i < model.count; i++) append(byProcess, model.process[i], i);
  const lanes = [...byProcess].map(([process, ops]) => {
    sortedBy(ops, (i) => model.start[i]);
    // The bar of an unknown outcome fades out until its process does something else, or for ever.
    ops.forEach((i, at) => {
      if (model.outcome[i] !== UNKNOWN) return;
      model.reach[i] = Math.max(model.end[i] || 0, at + 1 < ops.length ? model.start[ops[at + 1]] : Infinity);
    });
    return { process, name: model.processes[process], ops,
      last: runningMax(ops.length, (at) => model.reach[ops[at]]),
      witness: ops.filter((i) => model.inWitness[i]) };
  });
  const names = new Intl.Collator("en", { numeric: true });
  lanes.sort((a, b) => names.compare(a.name, b.name));
  // Among many processes those of the witness come first, so that it can be seen as a whole.
  if (lanes.length > 12) lanes.sort((a, b) => !a.witness.length - !b.witness.length);
  return lanes;
}

function extentOf(model) {
  let from = Infinity, until = -Infinity;
  const take = (t) => { if (t < from) from = t; if (t > until) until = t; };
  for (let i = 0; i < model.count; i++) { take(model.start[i]); take(model.end[i]); }
  for (const t of model.deliveries.time) take(t);
  for (const t of model.messages.sent) take(t);
  for (const t of model.messages.received) take(t);
  for (const fault of model.faults) { take(fault.from); take(fault.until === null ? NaN : fault.until); }
  if (!(from <= until)) return [0, 1];
  return until > from ? [from, until] : [from, from + 1];
}

/** The first index below `count` where `test` holds, which must hold from there on. */
function firstWhere(count, test) {
  let low = 0, high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (test(middle)) high = middle; else low = middle + 1;
  }
  return low;
}

const model = decode(JSON.parse(document.getElementById("data").textContent));
const idOf = (i) => (model.ids ? model.ids[i] : i);
