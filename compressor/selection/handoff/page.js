"use strict";
// Labels stay on this machine: in this browser's storage and in the downloaded file.
const data = JSON.parse(document.getElementById("data").textContent);
const cards = [...document.querySelectorAll(".card")];
const byId = (id) => document.getElementById(id);
const images = data.images; // one per card, in order
let classes = [...data.classes];
let labels = new Map(data.typed); // image -> class; labels typed on this page are added
let current = 0;
let resumed = 0;
const done = []; // what each change replaced: [index, class or ""]
const big = document.createElement("img");
const whole = document.createElement("a");
const place = document.createElement("b");

function restore() {
  try {
    const saved = JSON.parse(localStorage.getItem(data.key) || "{}");
    const here = new Set(images);
    for (const [image, label] of Object.entries(saved.labels || {})) {
      if (!here.has(image) || typeof label !== "string") continue;
      labels.set(image, label);
      resumed += 1;
    }
    for (const name of saved.classes || []) if (typeof name === "string") addClass(name);
  } catch { tellUnstored(); }
}

function tellUnstored() {
  byId("keys").textContent = "This browser stores nothing for this page: download before you close it.";
}

function store() {
  try {
    localStorage.setItem(data.key, JSON.stringify({ labels: Object.fromEntries(labels), classes }));
  } catch { tellUnstored(); } // it may be full, or refuse what it gave to read
}

function addClass(name) {
  if (name && !classes.includes(name)) classes.push(name);
}

function setLabel(index, text, remember = true) {
  const name = text.trim();
  const before = labels.get(images[index]) || "";
  if (name === before) { draw(); return; }
  if (remember) done.push([index, before]);
  if (name) { labels.set(images[index], name); addClass(name); } else { labels.delete(images[index]); }
  store();
  draw();
}

function move(index) {
  if (!cards.length) return;
  current = Math.max(0, Math.min(cards.length - 1, index));
  drawCurrent();
}

function show(index) {
  move(index);
  byId("desk").scrollIntoView({ block: "start", behavior: "smooth" });
}

function undo() {
  if (!done.length) return;
  const [index, label] = done.pop();
  setLabel(index, label, false);
  move(index);
  say(`Image ${index + 1}: ${label || "no label"} again`);
}

function say(text) { byId("said").textContent = text; }

function nextOpen(from) {
  for (let step = 1; step <= cards.length; step++) {
    const index = (from + step) % cards.length;
    if (!labels.has(images[index])) return index;
  }
  return from;
}

function labelCurrent(name) {
  if (!cards.length) return;
  const labelled = current;
  setLabel(labelled, name);
  const next = nextOpen(labelled);
  say(next === labelled ? "All are labelled: download labels.csv" : `Image ${labelled + 1}: ${name}`);
  move(next);
}

function draw() {
  cards.forEach((card, index) => {
    const label = labels.get(images[index]) || "";
    const input = card.querySelector("input");
    if (document.activeElement !== input) input.value = label;
    card.classList.toggle("done", Boolean(label));
    const mark = byId("mark-" + card.dataset.rank);
    if (mark) mark.classList.toggle("done", Boolean(label));
  });
  const count = images.filter((image) => labels.has(image)).length;
  byId("count").textContent = `${count} of ${images.length} labelled`;
  byId("fill").style.width = `${(100 * count) / Math.max(1, images.length)}%`;
  byId("save").disabled = count === 0;
  byId("undo").disabled = done.length === 0;
  drawClasses();
}

function drawClasses() {
  const chips = classes.map((name, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = name;
    if (index < 9) {
      const key = document.createElement("kbd");
      key.textContent = String(index + 1);
      button.append(key);
    }
    button.append(name);
    button.setAttribute("aria-pressed", String(labels.get(images[current]) === name));
    button.addEventListener("click", () => labelCurrent(name));
    return button;
  });
  byId("chips").replaceChildren(...chips);
  byId("known").replaceChildren(...classes.map((name) => new Option(name, name)));
}

function drawCurrent() {
  cards.forEach((card, index) => {
    card.classList.toggle("now", index === current);
    const mark = byId("mark-" + card.dataset.rank);
    if (mark) mark.classList.toggle("now", index === current);
  });
  const picture = cards[current].querySelector("img");
  const link = cards[current].querySelector(".about a");
  big.src = picture.src;
  big.alt = picture.alt;
  whole.href = link.href;
  whole.textContent = images[current];
  whole.title = link.title;
  const label = labels.get(images[current]);
  place.textContent = label ? `${cards[current].dataset.rank} ✓ ${label}` : cards[current].dataset.rank;
  drawClasses();
}

function touch() {
  let from = null;
  const shown = byId("shown");
  shown.addEventListener("touchstart", (event) => {
    from = event.touches.length === 1 ? event.touches[0].clientX : null;
  }, { passive: true });
  shown.addEventListener("touchend", (event) => {
    if (from === null) return;
    const by = event.changedTouches[0].clientX - from;
    if (Math.abs(by) > 50) move(current + (by < 0 ? 1 : -1));
    from = null;
  });
}

// A spreadsheet computes a cell that begins like a formula: a quote makes it text, as csv_cells.py does.
function guarded(text) {
  const isNumber = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text);
  return /^'*[=+\-@\t\r\n＝＋－＠]/.test(text) && !isNumber ? "'" + text : text;
}

function csv() {
  const quoted = (text) => (/[",;\t\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const cell = (text) => quoted(guarded(text));
  const known = [...data.known, ...images.filter((i) => labels.has(i)).map((i) => [i, labels.get(i)])];
  return "\ufeff" + [["image", "label"], ...known].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "labels.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function onKey(event) {
  if (event.target.matches("input")) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") { undo(); event.preventDefault(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^[1-9]$/.test(event.key) && classes[event.key - 1] !== undefined) labelCurrent(classes[event.key - 1]);
  else if (event.key === "ArrowRight") move(current + 1);
  else if (event.key === "ArrowLeft") move(current - 1);
  else if (event.key === "Backspace" || event.key === "Delete") { setLabel(current, ""); drawCurrent(); }
  else if (event.key === "u" || event.key === "U") undo();
  else if (event.key === "n" || event.key === "N") byId("new").focus();
  else return;
  event.preventDefault();
}

cards.forEach((card, index) => {
  const input = card.querySelector("input");
  input.disabled = false;
  input.addEventListener("focus", () => { current = index; drawCurrent(); });
  input.addEventListener("change", () => setLabel(index, input.value));
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    setLabel(index, input.value);
    const next = nextOpen(index);
    move(next);
    if (next !== index) cards[next].querySelector("input").focus({ preventScroll: true });
    else input.blur();
    draw();
  });
  card.querySelector(".photo").addEventListener("click", () => { show(index); });
});
byId("add").addEventListener("submit", (event) => {
  event.preventDefault();
  addClass(byId("new").value.trim());
  byId("new").value = "";
  byId("new").blur(); // its key labels the image now
  store();
  drawClasses();
});
byId("undo").addEventListener("click", undo);
byId("skip").addEventListener("click", () => { move(current + 1); });
byId("back").addEventListener("click", () => { move(current - 1); });
byId("shown").append(big, place, whole);
whole.target = "_blank";
whole.rel = "noreferrer";
touch();
byId("save").addEventListener("click", download);
document.addEventListener("keydown", onKey);
restore();
if (cards.length) byId("desk").hidden = false;
if (resumed) say(`Resumed: ${resumed} label${resumed === 1 ? "" : "s"} kept in this browser`);
current = Math.max(0, nextOpen(-1));
draw();
if (cards.length) drawCurrent();
