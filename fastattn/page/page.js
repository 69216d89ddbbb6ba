// The page: three views of one state. Texts only ever become textContent.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const { tokens, special, second, dim, heads, opening } = data;
const length = tokens.length;
const layers = [];

const FEW = 12; // rows of the table that fit a screen
const PICTURE = 96; // pixels of a picture of a head, at most
const SHADES = 8; // of the lines of all tokens together

const state = {
  layer: opening.layer,
  head: opening.head,
  pinned: { side: "queries", token: opening.token },
  pointed: null, // as pinned, while something is pointed at
  query: opening.token, // whose numbers are shown
  component: 0,
  all: length <= FEW,
};

const number = (x, digits) =>
  x.toFixed(digits).replace(/^-(?=[0.]+$)/, "").replace("-", "−");
const hundredths = (n) => number(n / SCALE, 2);
const score = (n) => (n === HIDDEN ? "−∞" : hundredths(n));
const share = (n) => number(n / WEIGHT_SCALE, 4);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
const shown = () => [...tokens.keys()].filter((i) => $("special").checked || !special[i]);
const matrix = () => layers[state.layer].matrix(state.head);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// ---- Tokens and lines ----

function drawTokens() {
  for (const side of ["queries", "keys"]) {
    const items = shown().map((token) => {
      const button = element("button", { type: "button", title: tokens[token] });
      button.append(element("bdi", { textContent: tokens[token] }));
      button.append(element("span", { className: "share" }));
      button.classList.toggle("special", special[token] === 1);
      button.classList.toggle("second", second[token] === 1);
      Object.assign(button.dataset, { side, token });
      return element("li", {}, button);
    });
    $(side).replaceChildren(...items);
  }
  drawLinks();
}

// A path of lines between tokens: [query, key] are their places in the lists.
function path(lines, width, opacity) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const curve = ([q, k]) => `M0 ${q + 0.5}C50 ${q + 0.5} 50 ${k + 0.5} 100 ${k + 0.5}`;
  made.setAttribute("d", lines.map(curve).join(""));
  made.setAttribute("stroke-width", width);
  made.setAttribute("stroke-opacity", opacity);
  return made;
}

function drawLinks() {
  const weights = matrix();
  const visible = shown();
  const active = state.pointed ?? state.pinned;
  const ofQueries = active.side === "queries";
  const weight = (other) =>
    (ofQueries ? weights[active.token][other] : weights[other][active.token]) / WEIGHT_SCALE;
  const shades = Array.from({ length: SHADES }, () => []);
  const own = [];
  visible.forEach((query, q) =>
    visible.forEach((key, k) => {
      const part = weights[query][key] / WEIGHT_SCALE;
      const isOwn = active.token === (ofQueries ? query : key);
      if (isOwn && part) own.push(path([[q, k]], 1 + 4 * part, 0.15 + 0.85 * Math.sqrt(part)));
      if (part > 1 / SHADES) shades[Math.ceil(part * SHADES) - 1].push([q, k]);
    }),
  );
  const faint = shades.map((lines, i) => path(lines, 1, (0.5 * (i + 1)) / SHADES));
  $("links").setAttribute("viewBox", `0 0 100 ${visible.length}`);
  $("links").style.height = `calc(var(--row) * ${visible.length})`;
  $("links").replaceChildren(...faint, ...own);
  for (const button of $("tokens").querySelectorAll("button")) {
    const token = Number(button.dataset.token);
    const isSame = button.dataset.side === active.side;
    const part = isSame ? 0 : weight(token);
    button.classList.toggle("active", isSame && token === active.token);
    button.style.setProperty("--weight", 0.5 * Math.sqrt(part));
    button.lastChild.textContent = isSame ? "" : number(part, 2);
    const pinned = button.dataset.side === state.pinned.side && token === state.pinned.token;
    button.ariaPressed = pinned;
    button.tabIndex = pinned ? 0 : -1;
  }
}

// ---- Pictures of all heads ----

function drawPicture(canvas, weights) {
  const side = Math.min(length, PICTURE);
  const image = new ImageData(side, side);
  const [r, g, b] = color("--above").split(",").map(Number);
  for (let i = 0; i < side * side; i++) image.data.set([r, g, b, 0], 4 * i);
  weights.forEach((row, q) =>
    row.forEach((weight, k) => {
      const y = Math.floor((q * side) / length);
      const x = Math.floor((k * side) / length);
      const at = 4 * (y * side + x) + 3;
      const opacity = 255 * Math.sqrt(weight / WEIGHT_SCALE);
      image.data[at] = Math.max(image.data[at], opacity);
    }),
  );
  Object.assign(canvas, { width: side, height: side });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function drawPictures() {
  for (const button of $("thumbnails").querySelectorAll("button")) {
    const layer = layers[button.dataset.layer];
    if (layer) drawPicture(button.firstChild, layer.matrix(Number(button.dataset.head)));
  }
}

function makePictures() {
  const names = Array.from({ length: heads }, (_, head) => element("span", {
    textContent: head,
    style: "text-align: center",
  }));
  const cells = data.layers.flatMap((_, layer) => [
    element("span", { textContent: layer }),
    ...names.map((_, head) => {
      const button = element("button", { type: "button" }, element("canvas"));
      button.ariaLabel = `Layer ${layer}, head ${head}`;
      button.title = button.ariaLabel;
      Object.assign(button.dataset, { layer, head });
      return button;
    }),
  ]);
  $("thumbnails").style.gridTemplateColumns = `1.3rem repeat(${heads}, minmax(0, 1fr))`;
  $("thumbnails").replaceChildren(element("span"), ...names, ...cells);
}

// ---- The numbers of one query ----

function strip(vector, shownAs) {
  const canvas = element("canvas", { width: dim, height: 1 });
  const context = canvas.getContext("2d");
  const largest = vector.reduce((a, x) => Math.max(a, Math.abs(x)), 1e-9);
  vector.forEach((x, c) => {
    context.fillStyle = `rgba(${color(x < 0 ? "--below" : "--above")}, ${Math.abs(x) / largest})`;
    context.fillRect(c, 0, 1, 1);
  });
  const text = element("span", { textContent: shownAs });
  return element("td", { className: "strip" }, element("div", {}, canvas, text));
}

function cell(text, className = "number") {
  return element("td", { textContent: text, className });
}

function nameCell(...content) {
  return element("th", { scope: "row" }, ...content);
}

function drawSteps() {
  const { head, query, component: c } = state;
  const layer = layers[state.layer];
  const row = layer.row(head, query);
  const title = element("bdi", { textContent: tokens[query] });
  const where = `”: layer ${state.layer}, head ${head}`;
  $("steps-title").replaceChildren("Step by step for “", title, where);
  const vectorCell = (name, token) => {
    const vector = layer.vector(name, head, token);
    return strip(vector, hundredths(vector[c]));
  };
  const blanks = (count) => Array.from({ length: count }, () => cell(""));
  $("query-row").replaceChildren(nameCell("query"), vectorCell("queries", query), ...blanks(5));

  const visible = shown();
  if ($("order").value === "weight") visible.sort((i, j) => row.weights[j] - row.weights[i] || i - j);
  const listed = state.all ? visible : visible.slice(0, FEW);
  const lines = listed.map((token) => {
    const value = layer.vector("values", head, token);
    const weighted = Float64Array.from(value, (v) => v * row.weights[token]);
    const weight = cell(share(row.weights[token]), "number weight");
    weight.style.setProperty("--weight", row.weights[token] / WEIGHT_SCALE);
    const line = element(
      "tr",
      {},
      nameCell(element("bdi", { textContent: tokens[token] })),
      vectorCell("keys", token),
      cell(hundredths(row.products[token])),
      cell(score(row.scores[token])),
      weight,
      vectorCell("values", token),
      strip(weighted, number(weighted[c] / (SCALE * WEIGHT_SCALE), 3)),
    );
    line.dataset.token = token;
    return line;
  });
  $("key-rows").replaceChildren(...lines);

  const rest = length - listed.length;
  const restWeight = row.weights.reduce((a, b) => a + b) - listed.reduce((a, i) => a + row.weights[i], 0);
  $("rest-row").hidden = rest === 0;
  $("rest-row").replaceChildren(
    nameCell(`${rest} more`),
    ...blanks(3),
    cell(share(restWeight)),
    ...blanks(2),
  );
  const context = layer.context(head, query, row.weights);
  const sum = strip(context, hundredths(context[c]));
  $("sum-row").replaceChildren(nameCell("sum"), ...blanks(5), sum);
  $("all").hidden = visible.length <= FEW;
  $("all").textContent = state.all ? `Show ${FEW} tokens` : `Show all ${visible.length} tokens`;
  $("all").ariaExpanded = state.all;
  $("component-shown").textContent = c;
}

// ---- What people do ----

function drawHead() {
  $("layer").value = state.layer;
  $("head").value = state.head;
  for (const button of $("thumbnails").querySelectorAll("button")) {
    const { layer, head } = button.dataset;
    const chosen = Number(layer) === state.layer && Number(head) === state.head;
    button.ariaPressed = chosen;
    button.tabIndex = chosen ? 0 : -1;
  }
  drawLinks();
  drawSteps();
}

function choose(layer, head) {
  // A layer whose numbers are still being unpacked cannot be chosen yet.
  if (layers[layer]) Object.assign(state, { layer, head });
  drawHead();
}

function point(button) {
  const { side, token } = button?.dataset ?? {};
  state.pointed = button ? { side, token: Number(token) } : null;
  drawLinks();
}

function pin({ dataset: { side, token } }) {
  state.pinned = { side, token: Number(token) };
  state.pointed = null;
  if (side === "queries") state.query = state.pinned.token;
  drawLinks();
  drawSteps();
}

// Let the arrow keys move between the buttons of a group.
function moveBy(group, steps) {
  group.addEventListener("keydown", (event) => {
    const buttons = [...group.querySelectorAll("button")];
    const next = buttons[buttons.indexOf(event.target) + steps()[event.key]];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}

function listen() {
  const at = (event) => event.target.closest("button");
  const list = $("tokens");
  list.addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse" && at(event)) point(at(event));
  });
  list.addEventListener("pointerleave", () => point(null));
  list.addEventListener("focusin", (event) => point(at(event)));
  list.addEventListener("focusout", () => point(null));
  list.addEventListener("click", (event) => at(event) && pin(at(event)));
  moveBy(list, () => {
    const across = shown().length;
    return { ArrowDown: 1, ArrowUp: -1, ArrowRight: across, ArrowLeft: -across };
  });
  const pictures = $("thumbnails");
  pictures.addEventListener("click", (event) => {
    const { layer, head } = at(event)?.dataset ?? {};
    if (layer) choose(Number(layer), Number(head));
  });
  moveBy(pictures, () => ({ ArrowRight: 1, ArrowLeft: -1, ArrowDown: heads, ArrowUp: -heads }));
  for (const name of ["layer", "head"]) {
    $(name).addEventListener("change", () => choose(Number($("layer").value), Number($("head").value)));
  }
  $("special").addEventListener("change", () => (drawTokens(), drawSteps()));
  $("component").addEventListener("input", () => {
    state.component = $("component").valueAsNumber;
    drawSteps();
  });
  $("order").addEventListener("change", drawSteps);
  $("all").addEventListener("click", () => {
    state.all = !state.all;
    drawSteps();
  });
  $("theme").addEventListener("click", () => wear(!document.documentElement.matches(".dark")));
}

function wear(dark) {
  document.documentElement.classList.toggle("dark", dark);
  $("theme").textContent = dark ? "Light" : "Dark";
  drawPictures();
  if (layers[state.layer]) drawSteps();
}

async function read(layer) {
  layers[layer] = await Layer.read(data.layers[layer], length, dim);
  drawPictures();
}

async function start() {
  const options = (count) =>
    Array.from({ length: count }, (_, i) => element("option", { value: i, textContent: i }));
  $("layer").append(...options(data.layers.length));
  $("head").append(...options(heads));
  $("text").textContent = data.text;
  $("pair").textContent = data.pair ?? "";
  $("pair").hidden = data.pair === null;
  const size = `${data.layers.length} layers of ${heads} heads of size ${dim}, counted from 0`;
  $("model").textContent = `${length} tokens in ${data.model}: ${size}`;
  $("model").title = `Behind the last layer: ${data.modules.join(", ")}`;
  document.title = `Attention: ${data.text.slice(0, 60)}`;
  document.querySelector("#steps .dim").textContent = dim;
  $("component").max = dim - 1;
  makePictures();
  wear(matchMedia("(prefers-color-scheme: dark)").matches);
  await read(opening.layer);
  drawTokens();
  drawHead();
  listen();
  for (const layer of data.layers.keys()) if (!layers[layer]) await read(layer);
  document.body.dataset.ready = "";
}

start();
