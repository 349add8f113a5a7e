/*
 * The page of a dump: read once, then shown by what is asked of it. Only rows in sight are
 * elements, so 100,000 contexts cost no more than thirty. All text of the process is set as
 * text, never as markup.
 */
"use strict";

/* ------------------------------------------------------------------------ data */

const byId = name => document.getElementById(name);
const data = JSON.parse(byId("data").textContent);
byId("data").remove(); // it is as large as all of them
const now = data.dump.now_ns;
const all = data.dump.contexts;
const placeNames = new Map();
const byNumber = new Map(all.map((c, i) => [c.id, i]));
const children = new Map(); // of indexes; what has no parent here is below -1
const parents = new Int32Array(all.length);
const depths = new Int32Array(all.length);
const liveBelow = new Uint8Array(all.length);

const isLive = c => !c.err;
const isLate = c => isLive(c) && c.deadline_ns !== undefined && c.deadline_ns < now;
const ageOf = c => Math.max(0, now - c.made_ns);
const causeOf = c => c.cause ?? "no text";
const labelOf = c => c.name || c.kind;
const placeOf = at => placeNames.get(at) ?? at ?? "nowhere";

/* What would turn, hide or break text is shown by its number. */
const visible = text => text?.replace(/[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
  c => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);

all.forEach((c, i) => {
  c.name = visible(c.name);
  c.cause = visible(c.cause);
  const parent = c.parent === undefined ? -1 : byNumber.get(c.parent) ?? -1;
  parents[i] = parent;
  if (!children.has(parent)) children.set(parent, []);
  children.get(parent).push(i);
  if (parent >= 0 && isLive(c)) liveBelow[parent] = 1;
  if (c.made_in) placeNames.set(c.made_at, c.made_in);
  if (c.ended_in) placeNames.set(c.ended_at, c.ended_in);
});
for (const list of children.values()) list.sort((a, b) => all[a].made_ns - all[b].made_ns);
for (const queue = [...(children.get(-1) ?? [])]; queue.length > 0;) {
  const i = queue.pop();
  for (const child of children.get(i) ?? []) {
    depths[child] = depths[i] + 1;
    queue.push(child);
  }
}

/* ------------------------------------------------------------------------ text */

const UNITS = [[86400e9, "d", 3600e9, "h"], [3600e9, "h", 60e9, "min"], [60e9, "min", 1e9, "s"]];

function duration(ns) {
  for (const [big, bigName, small, smallName] of UNITS)
    if (ns >= big) {
      const rest = Math.floor((ns % big) / small);
      return `${Math.floor(ns / big)} ${bigName}` + (rest ? ` ${rest} ${smallName}` : "");
    }
  const [unit, name] = ns >= 1e9 ? [1e9, "s"] : ns >= 1e6 ? [1e6, "ms"] : [1e3, "µs"];
  const value = ns / unit;
  return `${value >= 100 ? Math.round(value) : +value.toPrecision(3)} ${name}`;
}

const number = n => n.toLocaleString("en");
const count = (n, one, many) => `${number(n)} ${n === 1 ? one : many}`;
const clockTime = ns => new Date(data.unix_ms - (now - ns) / 1e6).toLocaleTimeString();
const ago = ns => `${duration(Math.max(0, now - ns))} ago`;

function element(tag, classes, ...inner) {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  made.append(...inner.filter(part => part !== null && part !== undefined));
  return made;
}

function button(classes, act, ...inner) {
  const made = element("button", classes, ...inner);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/* What a row says of the end of a context. */
function endText(c) {
  if (!isLive(c)) return causeOf(c);
  if (c.deadline_ns === undefined) return "";
  const left = c.deadline_ns - now;
  return left < 0 ? `late by ${duration(-left)}` : `in ${duration(left)}`;
}

const stateOf = c => isLate(c) ? "late" : isLive(c) ? "live" : "ended";

function pathOf(i) {
  const path = [];
  for (let up = parents[i]; up >= 0 && path.length < 1000; up = parents[up]) path.push(up);
  return path.reverse();
}

function shortPath(i) {
  const names = pathOf(i).map(up => labelOf(all[up]));
  if (names.length > 4) names.splice(1, names.length - 4, "…");
  return names.join(" › ");
}

/* -------------------------------------------------------------- counts by a key */

function groupsBy(keyOf, of) {
  const groups = new Map();
  all.forEach((c, i) => {
    if (!of(c)) return;
    const key = keyOf(c);
    let group = groups.get(key);
    if (!group) groups.set(key, group = {key, n: 0, done: 0, oldest: i, last: 0, by: new Set()});
    group.n++;
    if (c.made_ns < all[group.oldest].made_ns) group.oldest = i;
    if (!isLive(c)) {
      group.done++;
      group.last = Math.max(group.last, c.ended_ns ?? 0);
      if (c.ended_by) group.by.add(c.ended_by);
    }
  });
  return [...groups.values()].sort((a, b) => b.n - a.n);
}

const causes = groupsBy(causeOf, c => !isLive(c));
const places = groupsBy(c => c.made_at, () => true);
const SHOWN_CAUSES = 5;
const colours = new Map(causes.slice(0, SHOWN_CAUSES).map((group, k) => [group.key, `k${k}`]));
const colourOf = cause => colours.get(cause) ?? "k5";

/* --------------------------------------------------------------------- filters */

const controls = ["q", "state", "cause", "place", "age", "order"];
let range = null; // of ends: [from, to) in ns
let hay = null;

function haystack() {
  return hay ??= all.map(c => [c.name, c.kind, c.id, c.cause, placeOf(c.made_at),
    c.ended_at && placeOf(c.ended_at), c.made_tid, c.ended_tid].join("\n").toLowerCase());
}

function wanted() {
  const words = byId("q").value.toLowerCase().split(/\s+/).filter(word => word);
  const state = byId("state").value, age = Number(byId("age").value);
  const cause = causes[byId("cause").value]?.key, place = places[byId("place").value]?.key;
  const texts = words.length > 0 ? haystack() : [];
  return (c, i) =>
    (!state || (state === "late" ? isLate(c) : isLive(c) === (state === "live"))) &&
    (cause === undefined || !isLive(c) && causeOf(c) === cause) &&
    (place === undefined || c.made_at === place) &&
    ageOf(c) >= age &&
    (!range || c.ended_ns >= range[0] && c.ended_ns < range[1]) &&
    words.every(word => texts[i].includes(word));
}

function clear() {
  const order = byId("order").value;
  byId("filters").reset();
  byId("order").value = order;
  range = null;
}

const isFiltered = () => range !== null ||
  controls.some(name => name !== "order" && byId(name).value !== (name === "age" ? "0" : ""));

/* ------------------------------------------------------------------------ tree */

const hits = new Uint8Array(all.length);   // wanted itself
const shown = new Uint8Array(all.length);  // or on the way to one that is
const open = new Uint8Array(all.length);
let hitCount = 0;
let rows = [];        // indexes of contexts, in the order of the tree
let siblings = new Map();
let chosen = -1;      // an index of a context, or -1

function childrenOf(i) {
  const list = children.get(i) ?? [];
  return hitCount === all.length ? list : list.filter(child => shown[child]);
}

function openFirst() {
  open.fill(0);
  let room = 60;
  for (let queue = childrenOf(-1); queue.length > 0 && room > 0;) {
    const next = [];
    for (const i of queue) {
      const below = childrenOf(i);
      if (depths[i] > 0 && below.length > room) continue;
      open[i] = 1;
      room -= below.length;
      next.push(...below.slice(0, 100));
    }
    queue = next;
  }
}

function flatten() {
  rows = [];
  siblings = new Map();
  if (byId("order").value === "age") {
    rows = all.map((_, i) => i).filter(i => hits[i]).sort((a, b) => all[a].made_ns - all[b].made_ns);
    return;
  }
  const stack = [];
  const push = list => {
    for (let k = list.length - 1; k >= 0; k--) stack.push(list[k]);
    list.forEach((i, k) => siblings.set(i, [k + 1, list.length]));
  };
  for (push(childrenOf(-1)); stack.length > 0;) {
    const i = stack.pop();
    rows.push(i);
    if (open[i]) push(childrenOf(i));
  }
}

function filter() {
  const want = wanted();
  shown.fill(0);
  hitCount = 0;
  all.forEach((c, i) => {
    hits[i] = want(c, i) ? 1 : 0;
    hitCount += hits[i];
    for (let up = i; hits[i] && up >= 0 && !shown[up]; up = parents[up]) shown[up] = 1;
  });
  if (isFiltered()) {
    open.fill(0);
    all.forEach((_, i) => { // and all on the way to a hit
      for (let up = parents[i]; hits[i] && up >= 0 && !open[up]; up = parents[up]) open[up] = 1;
    });
  } else {
    openFirst();
  }
  byId("count").textContent = isFiltered() ? `${number(hitCount)} of ${count(all.length, "context", "contexts")}`
    : count(all.length, "context", "contexts");
  relist();
  byId("tree").scrollTop = 0;
  draw();
  drawEnds();
}

const tree = byId("tree");
const MOST_PIXELS = 8e6; // browsers end at 16 millions: beyond, a pixel scrolls over several rows
let rowPixels = 30;

function relist() {
  rowPixels = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  flatten();
  byId("space").style.height = `${Math.min(rows.length * rowPixels, MOST_PIXELS)}px`;
}

/* The row at the top of the window, perhaps in parts. */
function firstRow() {
  const real = rows.length * rowPixels - tree.clientHeight;
  const scrolled = Math.min(rows.length * rowPixels, MOST_PIXELS) - tree.clientHeight;
  return scrolled <= 0 ? 0 : tree.scrollTop * (real / scrolled) / rowPixels;
}

function scrollToRow(at) {
  const fit = Math.floor(tree.clientHeight / rowPixels), first = firstRow();
  if (at >= first && at < first + fit - 1) return;
  const top = Math.max(0, at < first ? at : at - fit + 1);
  const real = rows.length * rowPixels - tree.clientHeight;
  const scrolled = Math.min(rows.length * rowPixels, MOST_PIXELS) - tree.clientHeight;
  if (real > 0) tree.scrollTop = Math.ceil(top * rowPixels * scrolled / real);
}

function rowOf(i, at) {
  const c = all[i], isTree = byId("order").value === "tree", state = stateOf(c);
  const below = isTree ? childrenOf(i).length : 0;
  const twist = element("span", "twist");
  const row = element("div", hits[i] ? "row" : "row way",
    element("span", "name", twist, element("span", `dot ${state}`),
      element("span", "label", labelOf(c)),
      below ? element("span", "kids", number(below)) : null),
    element("span", "age", duration(ageOf(c))),
    element("span", state === "late" ? "why late" : "why", endText(c)),
    element("span", "at", placeOf(c.made_at)));
  row.id = `row-${at}`;
  row.dataset.index = i;
  row.setAttribute("role", "treeitem");
  row.setAttribute("aria-label",
    `${labelOf(c)}, ${state}, age ${duration(ageOf(c))}${endText(c) ? `, ${endText(c)}` : ""}`);
  row.setAttribute("aria-level", isTree ? depths[i] + 1 : 1);
  const [position, size] = siblings.get(i) ?? [at + 1, rows.length];
  row.setAttribute("aria-posinset", position);
  row.setAttribute("aria-setsize", size);
  row.setAttribute("aria-selected", i === chosen);
  if (below) row.setAttribute("aria-expanded", open[i] === 1);
  if (isTree) row.style.setProperty("--depth", Math.min(depths[i], 20));
  return row;
}

function draw() {
  const first = firstRow(), from = Math.max(0, Math.floor(first) - 4);
  const to = Math.min(rows.length, Math.ceil(first + tree.clientHeight / rowPixels) + 4);
  const made = [];
  for (let at = from; at < to; at++) made.push(rowOf(rows[at], at));
  if (rows.length === 0) made.push(element("p", "none card", "Nothing is like that."));
  byId("rows").replaceChildren(...made);
  byId("rows").style.transform = `translateY(${tree.scrollTop + (from - first) * rowPixels}px)`;
  const at = rows.indexOf(chosen);
  if (at >= from && at < to) tree.setAttribute("aria-activedescendant", `row-${at}`);
  else tree.removeAttribute("aria-activedescendant");
}

function toggle(i, isOpen) {
  if (!children.has(i) || byId("order").value !== "tree") return;
  open[i] = isOpen ? 1 : 0;
  relist();
  draw();
}

function choose(i) {
  chosen = i;
  scrollToRow(rows.indexOf(i));
  draw();
  showDetail(i);
}

/* Shows a context wherever it is, though a filter would hide it. */
function reveal(i) {
  if (!hits[i]) {
    clear();
    filter();
  }
  for (let up = parents[i]; up >= 0 && !(open[up] && depths[up] === 0); up = parents[up]) open[up] = 1;
  relist();
  choose(i);
  tree.scrollIntoView({block: "nearest"});
}

/* ---------------------------------------------------------------------- detail */

const linkTo = i => button("link", () => reveal(i), labelOf(all[i]));

function endedBy(c) {
  if (c.ended_by === undefined) return null;
  if (c.ended_by === c.id) return c.ended_at ? "a cancel of its own" : "its own deadline";
  const by = byNumber.get(c.ended_by);
  return by === undefined ? `${c.ended_by}, which is not here` : linkTo(by);
}

function verdict(c, i) {
  const state = stateOf(c);
  if (state === "ended") {
    const when = c.ended_ns === undefined ? "Ended" : `Ended ${ago(c.ended_ns)}`;
    const by = c.ended_by !== undefined && c.ended_by !== c.id ? [" by ", endedBy(c)] : [];
    return element("p", "verdict", when, ...by, ": ", element("strong", "", causeOf(c)));
  }
  const due = c.deadline_ns === undefined ? "without a deadline" : state === "late"
    ? `late by ${duration(now - c.deadline_ns)}` : `due in ${duration(c.deadline_ns - now)}`;
  return element("p", `verdict ${state}`, `Live for ${duration(ageOf(c))}, ${due}.`);
}

function facts(c, i) {
  const below = (children.get(i) ?? []).length;
  const held = c.handles === 0 ? "by what is below it alone" : `by ${count(c.handles, "handle", "handles")}`;
  const made = [["Made", `${ago(c.made_ns)}, ${clockTime(c.made_ns)}`],
    ["Made at", element("span", "place", placeOf(c.made_at))], ["by thread", `${c.made_tid}`]];
  if (!isLive(c)) made.push(
    ["Ended", c.ended_ns === undefined ? "just now" : `${ago(c.ended_ns)}, ${clockTime(c.ended_ns)}`],
    ["Ended at", element("span", "place", c.ended_at ? placeOf(c.ended_at) : "a deadline or a signal")],
    ["by thread", `${c.ended_tid ?? "not known yet"}`], ["Ended by", endedBy(c) ?? "not known"],
    ["Cause", `${causeOf(c)} (${c.code})`]);
  made.push(["Kept", held], ["Below it", count(below, "context", "contexts")],
    ["Callbacks", `${c.callbacks} armed`], ["Kind", c.kind], ["Id", element("span", "id", c.id)]);
  if (c.is_waited) made.push(["Waited for", "a thread sleeps on it"]);
  if (c.has_fd) made.push(["Descriptor", "a loop watches it"]);
  return made;
}

function showDetail(i) {
  const c = all[i], path = element("p", "path");
  const ups = pathOf(i), first = Math.max(0, ups.length - 8);
  if (first > 0) path.append("… › ");
  for (const up of ups.slice(first)) path.append(linkTo(up), " › ");
  const list = element("dl");
  for (const [what, value] of facts(c, i)) list.append(element("dt", "", what), element("dd", "", value));
  byId("detail").replaceChildren(
    element("div", "bar", path, button("close", closeDetail, "Close")),
    element("h3", "", labelOf(c)), verdict(c, i), list);
  byId("detail").classList.add("open");
}

function closeDetail() {
  byId("detail").classList.remove("open");
  tree.focus({preventScroll: true});
}

/* -------------------------------------------------------------------- overview */

/* Live, with nothing live below, oldest first. */
const stuck = all.map((_, i) => i)
  .filter(i => isLive(all[i]) && !liveBelow[i] && all[i].kind !== "root")
  .sort((a, b) => all[a].made_ns - all[b].made_ns);

function figures() {
  const live = all.filter(isLive), late = all.filter(isLate);
  const [oldest] = stuck;
  const latest = late.reduce((most, c) => Math.max(most, now - c.deadline_ns), 0);
  const tell = (what, value, classes) =>
    byId("figures").append(element("div", classes, element("dt", "", what), element("dd", "", value)));
  tell("longest at work", oldest === undefined ? "–" : duration(ageOf(all[oldest])), "");
  tell("live", number(live.length), "live");
  tell(late.length ? `past their deadline, by ${duration(latest)} at most` : "past their deadline",
    number(late.length), late.length ? "late" : "");
  tell("ended and still kept", number(all.length - live.length), "");
  tell("causes of ends", number(causes.length), "");
}

function item(act, what, n, sub, extra) {
  const top = element("span", "top", element("span", "what", what), element("span", "n", n));
  return element("li", "", button("", act, top, extra ?? null, element("span", "sub", sub)));
}

function meter(parts, whole) {
  const made = element("span", "meter");
  for (const [classes, n] of parts) {
    if (n === 0) continue;
    const part = element("i", classes);
    part.style.width = `${100 * n / whole}%`;
    made.append(part);
  }
  return made;
}

const LISTED = 6, STUCK = 8;

function ask(name, value) {
  clear();
  byId(name).value = value;
  filter();
  byId("filters").scrollIntoView({block: "start"});
}

function overview() {
  byId("stuck").append(...stuck.slice(0, STUCK).map(i => {
    const c = all[i], made = item(() => reveal(i), labelOf(c), duration(ageOf(c)),
      [isLate(c) ? endText(c) : null, shortPath(i) && `below ${shortPath(i)}`].filter(part => part).join(", ") || "a root of its own");
    if (isLate(c)) made.querySelector(".sub").classList.add("late");
    return made;
  }));
  byId("causes").append(...causes.slice(0, LISTED).map((group, k) => item(() => ask("cause", k),
    group.key, number(group.n),
    `by ${count(group.by.size, "cancel or deadline", "cancels and deadlines")}` +
      (group.last ? `, the last ${ago(group.last)}` : ""),
    meter([[colourOf(group.key), group.n]], causes[0].n))));
  byId("places").append(...places.slice(0, LISTED).map((group, k) => item(() => ask("place", k),
    element("span", "place", placeOf(group.key)), number(group.n),
    `${number(group.n - group.done)} live, ${number(group.done)} ended; oldest ${labelOf(all[group.oldest])}, ${duration(ageOf(all[group.oldest]))}`,
    meter([["klive", group.n - group.done], ["kdone", group.done]], places[0].n))));
  for (const name of ["stuck", "causes", "places"])
    if (!byId(name).firstChild) byId(name).append(element("li", "none", "None."));
}

function options(select, groups, textOf) {
  groups.slice(0, 500).forEach((group, k) => {
    const made = element("option", "", `${textOf(group.key).slice(0, 80)} (${number(group.n)})`);
    made.value = k;
    select.append(made);
  });
}

/* ------------------------------------------------------------- a time line of ends */

const ended = all.filter(c => c.ended_ns !== undefined).sort((a, b) => a.ended_ns - b.ended_ns);
let bins = [], cursor = -1;

function binned() {
  const from = range ? range[0] : ended[0].ended_ns;
  const to = range ? range[1] : Math.max(now, ended.at(-1).ended_ns + 1);
  const n = byId("ends").clientWidth < 500 ? 48 : 120, step = Math.max(1, (to - from) / n);
  bins = Array.from({length: n}, (_, k) =>
    ({from: from + k * step, to: from + (k + 1) * step, n: 0, by: new Map()}));
  for (const c of ended) {
    const bin = bins[Math.floor((c.ended_ns - from) / step)];
    if (!bin) continue;
    bin.n++;
    bin.by.set(causeOf(c), (bin.by.get(causeOf(c)) ?? 0) + 1);
  }
  return [from, to];
}

function svg(tag, classes, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  made.setAttribute("class", classes);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function drawBin(picture, bin, k, most) {
  const order = [...bin.by].sort((a, b) => colourOf(a[0]).localeCompare(colourOf(b[0])));
  let top = 100;
  for (const [cause, n] of order) {
    const height = Math.max(1.5, 96 * n / most);
    top -= height;
    picture.append(svg("rect", colourOf(cause), {x: k + .08, y: top, width: .84, height}));
  }
  const hit = svg("rect", k === cursor ? "hit at-bin" : "hit", {x: k, y: 0, width: 1, height: 100});
  hit.addEventListener("click", () => zoom(k));
  hit.addEventListener("pointerenter", () => tellBin(k));
  picture.append(hit);
}

function drawEnds() {
  byId("whole").hidden = !range;
  if (ended.length === 0) {
    byId("ends-text").textContent = "Nothing that is still there has ended.";
    return;
  }
  const [from, to] = binned(), most = Math.max(1, ...bins.map(bin => bin.n));
  const picture = svg("svg", "", {viewBox: `0 0 ${bins.length} 100`, preserveAspectRatio: "none",
    role: "img", "aria-label": `${count(ended.length, "end", "ends")}; arrow keys go through them`});
  bins.forEach((bin, k) => drawBin(picture, bin, k, most));
  byId("ends").replaceChildren(picture);
  const marks = [from, (from + to) / 2, to].map(ns => element("span", "",
    now - ns < 1e3 ? `now, ${clockTime(now)}` : `${ago(ns)}, ${clockTime(ns)}`));
  byId("axis").replaceChildren(...marks);
  byId("ends-range").textContent = `${duration(to - from)}, ${duration((to - from) / bins.length)} a bar, the highest ${number(most)}`;
  byId("ends-text").textContent = "Choose a bar to see only what ended then, closer.";
}

function tellBin(k) {
  const bin = bins[k], by = [...bin.by].sort((a, b) => b[1] - a[1]).slice(0, 3);
  byId("ends-text").textContent = `${ago(bin.from)}, ${clockTime(bin.from)}: ` +
    count(bin.n, "end", "ends") + by.map(([cause, n]) => ` · ${number(n)} ${cause.slice(0, 60)}`).join("");
}

function zoom(k) {
  if (!bins[k] || bins[k].n === 0 || bins[k].to - bins[k].from < 10) return;
  range = [bins[k].from, bins[k].to];
  cursor = -1;
  filter();
}

function whole() {
  range = null;
  cursor = -1;
  filter();
}

function legend() {
  const known = causes.slice(0, SHOWN_CAUSES).map(group => [colourOf(group.key), group.key]);
  if (causes.length > SHOWN_CAUSES) known.push(["k5", count(causes.length - SHOWN_CAUSES, "other cause", "other causes")]);
  byId("legend").append(...known.map(([colour, text]) =>
    element("li", "", element("i", colour), element("b", "", text))));
}

/* ----------------------------------------------------------------------- print */

const PRINTED = 2000;

function printed() {
  const listed = (byId("order").value === "age" || isFiltered()
    ? rows : rows.length < 40 ? all.map((_, i) => i).sort((a, b) => all[a].made_ns - all[b].made_ns) : rows).slice(0, PRINTED);
  const table = element("table", "", element("caption", "",
    listed.length < hitCount ? `The first ${number(listed.length)} of ${count(hitCount, "context", "contexts")}` : count(hitCount, "context", "contexts")));
  const line = (tag, cells) => element("tr", "", ...cells.map(cell => element(tag, "", cell)));
  table.append(element("thead", "", line("th", ["Context", "Age", "Ends", "Made at"])));
  const body = element("tbody");
  for (const i of listed) {
    const c = all[i], row = line("td", [`${labelOf(c)} · ${stateOf(c)}`, duration(ageOf(c)), endText(c), placeOf(c.made_at)]);
    row.firstChild.style.paddingLeft = `${Math.min(depths[i], 12) * 8}pt`;
    body.append(row);
  }
  table.append(body);
  byId("print").replaceChildren(table);
}

/* ---------------------------------------------------------------------- events */

function onTreeKey(event) {
  const at = rows.indexOf(chosen), page = Math.max(1, Math.floor(tree.clientHeight / rowPixels) - 1);
  const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1,
    PageDown: at + page, PageUp: at - page}[event.key];
  if (to !== undefined && rows.length > 0) {
    choose(rows[Math.min(rows.length - 1, Math.max(0, to))]);
  } else if (event.key === "ArrowRight" && at >= 0) {
    if (!open[chosen]) toggle(chosen, true);
    else if (childrenOf(chosen).length > 0) choose(childrenOf(chosen)[0]);
  } else if (event.key === "ArrowLeft" && at >= 0) {
    if (open[chosen] && childrenOf(chosen).length > 0) toggle(chosen, false);
    else if (parents[chosen] >= 0 && byId("order").value === "tree") choose(parents[chosen]);
  } else if ((event.key === "Enter" || event.key === " ") && at >= 0) {
    toggle(chosen, !open[chosen]);
  } else {
    return;
  }
  event.preventDefault();
}

function onEndsKey(event) {
  if (event.key === "Escape") whole();
  else if (event.key === "Enter" && cursor >= 0) zoom(cursor);
  else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    const step = event.key === "ArrowRight" ? 1 : -1;
    let next = cursor < 0 && step < 0 ? bins.length - 1 : cursor + step;
    while (bins[next] && bins[next].n === 0) next += step;
    if (!bins[next]) return;
    cursor = next;
    drawEnds();
    tellBin(cursor);
  } else {
    return;
  }
  event.preventDefault();
}

let later = 0;
function soon(act, ms) {
  clearTimeout(later);
  later = setTimeout(act, ms);
}

function listen() {
  byId("filters").addEventListener("input", event => soon(filter, event.target.id === "q" ? 120 : 0));
  byId("clear").addEventListener("click", () => { clear(); filter(); });
  byId("filters").addEventListener("submit", event => event.preventDefault());
  byId("whole").addEventListener("click", whole);
  byId("ends").addEventListener("keydown", onEndsKey);
  tree.addEventListener("scroll", () => requestAnimationFrame(draw), {passive: true});
  tree.addEventListener("keydown", onTreeKey);
  tree.addEventListener("click", event => {
    const row = event.target.closest("[data-index]");
    if (!row) return;
    const i = Number(row.dataset.index);
    if (event.target.className === "twist") toggle(i, !open[i]);
    else choose(i);
  });
  tree.addEventListener("dblclick", event => {
    const row = event.target.closest("[data-index]");
    if (row && event.target.className !== "twist") toggle(Number(row.dataset.index), !open[row.dataset.index]);
  });
  document.addEventListener("keydown", event => {
    const isTyping = event.target.matches("input, select");
    if (event.key === "/" && !isTyping) {
      event.preventDefault();
      byId("q").focus();
    } else if (event.key === "Escape") {
      if (isTyping) tree.focus();
      closeDetail();
    }
  });
  addEventListener("resize", () => { relist(); draw(); drawEnds(); });
  addEventListener("beforeprint", printed);
}

function begin() {
  document.title = `${data.program}[${data.pid}] · canopy`;
  byId("title").textContent = data.program;
  byId("about").textContent = `process ${data.pid} on ${data.host}, ` +
    `${new Date(data.unix_ms).toLocaleString(undefined, {dateStyle: "medium", timeStyle: "long"})}`;
  figures();
  overview();
  legend();
  options(byId("cause"), causes, cause => cause);
  options(byId("place"), places, placeOf);
  listen();
  filter();
}

begin();
