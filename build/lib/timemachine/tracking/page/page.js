// The page of the model server. Text from people, from the model and from the server becomes text of an element and
// never HTML. Paths are relative, so that the page works below any path of a reverse proxy.

const at = (id) => document.getElementById(id);
const OPTIONS = ["temperature", "top_k", "top_p", "seed"];
const FIELDS = ["prefix", "num_preds", ...OPTIONS];
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

let tokens = []; // what is shown: {text, probability, likely}
let selected = -1;
let writing = null; // the AbortController of the request that is being answered

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// A number is sent as it was typed: a large seed would lose digits. Anything else is sent as text; the server says
// what is wrong with it.
const literal = (text) => (NUMBER.test(text) ? text : JSON.stringify(text));

function body() {
  const value = (id) => at(id).value.trim();
  const params = OPTIONS.filter(value).map((id) => `"${id}": ${literal(value(id))}`);
  const length = value("num_preds") && `, "num_preds": ${literal(value("num_preds"))}`;
  return `{"dataframe_records": [{"prefix": ${JSON.stringify(at("prefix").value)}${length}}], "params": {${params.join(", ")}}}`;
}

function showCurl() {
  const url = new URL("invocations", document.baseURI);
  at("curl").textContent =
    `curl ${url} -H 'Content-Type: application/json' -d '${body().replaceAll("'", String.raw`'\''`)}'`;
}

const bits = (probability) => -Math.log2(probability);
const level = (probability) => Math.max(0, Math.min(6, Math.floor(bits(probability) + 0.25)));

function percent(probability) {
  if (probability > 0.9995) return "100 %";
  if (probability < 0.0001) return "< 0.01 %";
  return `${(100 * probability).toPrecision(probability < 0.1 ? 2 : 3)} %`;
}

const readable = (text) => (text === " " ? "space" : text.trim());

function showError(message) {
  at("error").textContent = message;
  at("error").hidden = !message;
}

function showStatus(how) {
  const sum = tokens.reduce((total, token) => total + bits(token.probability), 0);
  const average = tokens.length ? `, ${(sum / tokens.length).toFixed(2)} bits per character` : "";
  at("status").textContent = `${how}${tokens.length} characters${average}`;
}

function select(number) {
  const characters = at("answer").querySelectorAll(".character");
  characters[selected]?.classList.remove("selected");
  selected = Math.max(0, Math.min(characters.length - 1, number));
  const token = tokens[selected];
  if (!token) return;
  characters[selected].classList.add("selected");
  at("chosen").replaceChildren(
    element("b", readable(token.text)),
    ` ${percent(token.probability)}, ${bits(token.probability).toFixed(2)} bits`,
  );
  at("likely").replaceChildren(
    ...token.likely.map(([text, probability]) => {
      const row = element("li", "", text.trim() === token.text.trim() ? "same" : "");
      const bar = element("span", "", "bar");
      bar.style.setProperty("--share", probability);
      row.append(element("span", readable(text), "name"), bar, element("span", percent(probability), "number"));
      return row;
    }),
  );
}

function showRows() {
  if (!at("table").open) return;
  at("rows").replaceChildren(
    ...tokens.map((token, number) => {
      const row = element("tr");
      const others = token.likely.filter(([text]) => text.trim() !== token.text.trim()).slice(0, 2);
      const instead = others.map(([text, probability]) => `${readable(text)} ${percent(probability)}`).join(", ");
      const cells = [number + 1, readable(token.text), percent(token.probability), bits(token.probability).toFixed(2)];
      row.append(...[...cells, instead].map((cell) => element("td", cell)));
      return row;
    }),
  );
}

function show(line) {
  if (line.prefix !== undefined) {
    at("answer").append(element("span", line.prefix, "given"));
  } else if (line.text !== undefined) {
    tokens.push(line);
    const made = element("span", line.text, `character c${level(line.probability)}`);
    made.dataset.number = tokens.length - 1;
    at("answer").append(made);
    showStatus("writing: ");
  }
}

async function* linesOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

function clear() {
  tokens = [];
  selected = -1;
  showError("");
  for (const id of ["answer", "likely", "rows"]) at(id).replaceChildren();
  at("chosen").textContent = "Point at a character, tap it, or use the arrow keys to see its probability.";
}

async function write() {
  writing?.abort();
  const mine = (writing = new AbortController());
  clear();
  showStatus("writing: ");
  at("answer").setAttribute("aria-busy", "true");
  at("stop").disabled = false;
  if (matchMedia("(max-width: 60rem)").matches) at("answer_title").scrollIntoView();
  let ended = false;
  let how = "";
  try {
    const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: body() };
    const response = await fetch("stream", { ...request, signal: mine.signal });
    if (!response.ok) {
      const refusal = await response.json().catch(() => ({}));
      throw new Error(refusal.message ?? `The server answered with status ${response.status}.`);
    }
    for await (const line of linesOf(response)) {
      if (mine !== writing) return;
      show(line);
      ended ||= line.end === true;
    }
    if (!ended) throw new Error("The server broke off before the end of the answer.");
  } catch (error) {
    if (mine !== writing) return;
    if (mine.signal.aborted) how = "stopped: ";
    else showError(error instanceof TypeError ? "The server cannot be reached." : error.message);
  }
  writing = null;
  at("stop").disabled = true;
  at("answer").removeAttribute("aria-busy");
  if (tokens.length || how) showStatus(how);
  else at("status").textContent = "";
  // As an example, the character that surprised the model most.
  if (selected < 0) select(tokens.reduce((least, token, i) => (token.probability < tokens[least].probability ? i : least), 0));
  showRows();
}

async function showServed() {
  const served = await (await fetch("health")).json();
  const tile = (name, value, note) => {
    const made = element("div");
    made.append(element("dt", name), element("dd", value), element("dd", note, "note"));
    return made;
  };
  const tiles = [];
  if (served.name) tiles.push(tile(served.alias, served.name, `version ${served.version} of ${served.model}`));
  const score = served.val_bits_per_character;
  if (score != null) tiles.push(tile("score", score.toFixed(3), "bits per character, validation part"));
  if (served.since) {
    const date = new Date(served.since);
    const day = date.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" });
    tiles.push(tile(`${served.alias} since`, day, date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", timeZoneName: "short" })));
  }
  at("served").replaceChildren(...tiles);
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  write();
});
at("another").addEventListener("click", () => {
  at("seed").value = Math.floor(Math.random() * 1e6);
  showCurl();
  write();
});
at("stop").addEventListener("click", () => writing?.abort());
at("copy").hidden = !navigator.clipboard; // browsers have it for https and for this machine only
at("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(at("curl").textContent);
  at("copy").textContent = "Copied";
  setTimeout(() => (at("copy").textContent = "Copy"), 1500);
});
at("table").addEventListener("toggle", showRows);
for (const id of FIELDS) at(id).addEventListener("input", showCurl);
for (const kind of ["pointerover", "click"]) {
  at("answer").addEventListener(kind, ({ target }) => {
    if (target.dataset.number !== undefined) select(Number(target.dataset.number));
  });
}
at("answer").addEventListener("keydown", (event) => {
  const to = { ArrowRight: selected + 1, ArrowLeft: selected - 1, Home: 0, End: tokens.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  select(to);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") writing?.abort();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) write();
});
showCurl();
showServed().catch(() => showError("The server cannot be reached."));
