"use strict";
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  /** Return a new element. Texts are set as text, never as HTML. */
  function element(name, attributes = {}, ...children) {
    const svg = ["svg", "path", "line", "text"].includes(name);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // Contents bar: the section in view is marked.
  const links = new Map([...document.querySelectorAll("nav li a")].map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      const link = links.get(entry.target.id), list = link.closest("ol");
      link.setAttribute("aria-current", "true");
      if (list.scrollWidth > list.clientWidth) list.scrollTo({ left: link.offsetLeft - list.offsetLeft - 60 });
    }
  }, { rootMargin: "-15% 0px -80% 0px" });
  for (const id of links.keys()) observer.observe(byId(id));

  // Tables: a click on a heading sorts, a second click sorts the other way.
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      const key = (row) => row.cells[column].dataset.key;
      const numbers = [...table.tBodies[0].rows].every((row) => !Number.isNaN(Number(key(row))));
      const sign = descending ? -1 : 1;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        if (!numbers) return sign * key(a).localeCompare(key(b), "en");
        return key(a) === key(b) ? 0 : sign * (Number(key(a)) - Number(key(b)));
      });
      table.tBodies[0].append(...rows);
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    }));
  }

  if (DATA.curves.length) drawCurves(DATA.curves);
  if (DATA.characters) showCharacters(DATA.characters);

  function drawCurves(curves) {
    const HEIGHT = 400, LEFT = 40, RIGHT = 16, TOP = 26, BOTTOM = 44, NUM_COLOURS = 8;
    const shown = new Set(curves.map((curve) => curve.name));
    const chart = byId("chart"), values = byId("values"), hint = values.textContent;
    const isLog = () => byId("log-epochs").getAttribute("aria-pressed") === "true";
    const colour = (curve) => `s${curves.indexOf(curve) % NUM_COLOURS}`;
    const switches = curves.map((curve) => {
      const sample = element("svg", { width: 20, height: 8, "aria-hidden": "true" },
        element("path", { d: "M0 4H20", class: colour(curve), "stroke-width": 3 }));
      const button = element("button", { type: "button", "aria-pressed": "true" }, sample, curve.name);
      button.addEventListener("click", () => {
        if (!shown.delete(curve.name)) shown.add(curve.name);
        draw();
      });
      return button;
    });
    byId("switches").append(...switches);
    byId("all-curves").addEventListener("click", () => { for (const curve of curves) shown.add(curve.name); draw(); });
    byId("no-curves").addEventListener("click", () => { shown.clear(); draw(); });
    byId("log-epochs").addEventListener("click", (event) => {
      event.currentTarget.setAttribute("aria-pressed", String(!isLog()));
      draw();
    });

    function ticks(low, high, log) {
      const steps = log ? [1, 2, 5] : [1, 2, 2.5, 5];
      if (log) {
        const all = [];
        for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
          for (const step of steps) if (step * power >= low * 0.999 && step * power <= high * 1.001) all.push(step * power);
        }
        return all;
      }
      const rough = (high - low) / 8, power = 10 ** Math.floor(Math.log10(rough));
      const step = [...steps, 10].find((one) => one * power >= rough) * power;
      const all = [];
      for (let value = Math.ceil(low / step) * step; value <= high; value += step) all.push(value);
      return all;
    }

    function draw() {
      const WIDTH = Math.max(300, chart.clientWidth);
      curves.forEach((curve, i) => switches[i].setAttribute("aria-pressed", String(shown.has(curve.name))));
      const drawn = curves.filter((curve) => shown.has(curve.name));
      values.textContent = drawn.length ? hint : "No curve is switched on.";
      const series = drawn.flatMap((curve) => [[curve, "train"], [curve, "val"]]).filter(([curve, part]) => curve[part]);
      const all = series.flatMap(([curve, part]) => curve[part]).filter((value) => value !== null);
      const most = Math.max(2, ...drawn.map((curve) => curve.epochs.at(-1)));
      const low = all.length ? Math.min(...all) * 0.95 : 1, high = all.length ? Math.max(...all) * 1.05 : 30, log = isLog();
      const x = (epoch) => LEFT + (WIDTH - LEFT - RIGHT) * (log ? Math.log(epoch) / Math.log(most) : (epoch - 1) / (most - 1));
      const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * Math.log(high / value) / Math.log(high / low);
      const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
        "aria-label": `Perplexity against epoch of ${[...shown].join(", ") || "no model"}` });
      for (const value of ticks(low, high, true)) {
        svg.append(element("path", { class: "rule", d: `M${LEFT} ${y(value)}H${WIDTH - RIGHT}` }),
          element("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, String(Number(value.toPrecision(3)))));
      }
      for (const epoch of ticks(1, most, log)) {
        svg.append(element("text", { x: x(epoch), y: HEIGHT - BOTTOM + 20, "text-anchor": "middle" }, String(Math.round(epoch))));
      }
      svg.append(element("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "epoch"),
        element("text", { x: 0, y: 12 }, "perplexity"));
      for (const [curve, part] of series) {
        let pen = "M";
        const path = curve[part].map((value, i) => {
          if (value === null) { pen = "M"; return ""; }
          const step = `${pen}${x(curve.epochs[i]).toFixed(1)} ${y(value).toFixed(1)}`;
          pen = "L";
          return step;
        }).join("");
        svg.append(element("path", { class: `line ${colour(curve)}${part === "val" ? " dashed" : ""}`, d: path,
          "data-curve": curve.name, "data-part": part }));
      }
      const cursor = element("path", { class: "cursor", d: "" });
      svg.append(cursor);
      svg.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect();
        const share = ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
        const at = Math.min(1, Math.max(0, share));
        const epoch = Math.round(log ? most ** at : 1 + at * (most - 1));
        cursor.setAttribute("d", `M${x(epoch)} ${TOP}V${HEIGHT - BOTTOM}`);
        const said = drawn.flatMap((curve) => {
          const i = curve.epochs.indexOf(epoch);
          if (i < 0) return [];
          return [`${curve.name} ${curve.train[i] ?? "∞"}${curve.val ? ` (validation ${curve.val[i] ?? "∞"})` : ""}`];
        });
        values.textContent = `Epoch ${epoch}: ${said.join(", ") || "no curve on reaches it"}`;
      });
      chart.replaceChildren(svg);
    }
    draw();
    window.addEventListener("resize", draw);
  }

  function showCharacters(data) {
    const PAGE = 1500, BITS = [0.25, 0.5, 1, 2, 3, 5, 8], DIFFERENCES = [0.25, 0.5, 1, 3], NUM_WORDS = 8;
    const bits = new Map();  // "part model" → bits by character
    const texts = new Map(data.parts.map((part) => [part.name, [...part.text]]));
    const box = byId("held-out"), [part, a, b] = ["part", "model-a", "model-b"].map(byId);
    let page = 0, chosen = 0;

    /** Return the bits of each character of a part under a model. */
    function bitsOf(partName, model) {
      const key = `${partName} ${model}`;
      if (!bits.has(key)) {
        const binary = atob(data.models.find((one) => one.name === model)[partName]);
        const decoded = new Float32Array(binary.length / 2);
        for (let i = 0; i < decoded.length; i++) {
          const steps = binary.charCodeAt(2 * i) | (binary.charCodeAt(2 * i + 1) << 8);
          decoded[i] = steps === data.infinite ? Infinity : steps * data.step;
        }
        bits.set(key, decoded);
      }
      return bits.get(key);
    }

    const first = () => bitsOf(part.value, a.value);
    const second = () => (b.value ? bitsOf(part.value, b.value) : null);
    const level = (value, bounds) => bounds.filter((bound) => value >= bound).length;
    const minus = (one, other) => (one === other ? 0 : one - other);  // ∞ − ∞ is no difference
    const shown = (value) => (Number.isFinite(value) ? value.toFixed(3) : value < 0 ? "−∞" : "∞").replace("-", "−");
    const signed = (value) => (value > 0 ? "+" : "") + shown(value);
    const visible = (character) => (character === " " ? "␣" : character);

    /** Return the colour class of bits, or of bits of the first model minus bits of the second. */
    function classOf(value, compared) {
      if (!compared) return `q${level(value, BITS)}`;
      const size = level(Math.abs(value), DIFFERENCES);
      return size ? `${value < 0 ? "a" : "b"}${size}` : "q0";
    }

    function mean(values, begin, end) {
      let sum = 0;
      for (let i = begin; i < end; i++) sum += values[i];
      return sum / (end - begin);
    }

    function drawLegend() {
      const range = (bounds, i) => (i === bounds.length ? `${bounds.at(-1)} and more` : `${i ? bounds[i - 1] : 0} – ${bounds[i]}`);
      const sample = (name, text) => element("i", { class: name }, text);
      const legend = byId("legend");
      if (!b.value) {
        legend.replaceChildren("bits: ", ...[...BITS, 0].map((_, i) => sample(`q${i}`, range(BITS, i))));
        return;
      }
      const words = (side) => DIFFERENCES.map((bound, i) => sample(`${side}${i + 1}`, `${bound}+`));
      legend.replaceChildren(`${a.value} needs fewer bits: `, ...words("a").reverse(), sample("q0", "equal"),
        ...words("b"), ` ${b.value} needs fewer bits`);
    }

    function drawMeans() {
      const text = texts.get(part.value), begin = page * PAGE, end = Math.min(text.length, begin + PAGE);
      const line = (model, values) => [element("strong", {}, `${shown(mean(values, begin, end))}`),
        ` bits per character on this page with ${model} (${shown(mean(values, 0, text.length))} on the whole part)`];
      byId("means").replaceChildren(...line(a.value, first()), ...(second() ? ["; ", ...line(b.value, second())] : []), ".");
    }

    function drawPages() {
      const text = texts.get(part.value), number = Math.ceil(text.length / PAGE), one = first(), other = second();
      const means = Array.from({ length: number }, (_, i) => {
        const ends = [i * PAGE, Math.min(text.length, (i + 1) * PAGE)];
        return other ? minus(mean(one, ...ends), mean(other, ...ends)) : mean(one, ...ends);
      });
      // Means of pages lie close together, so their colours are by rank among the pages, or by a finer difference.
      const sorted = [...means].sort((x, y) => x - y);
      byId("pages").replaceChildren(...means.map((value, i) => {
        const name = other ? classOf(10 * value, true) : `q${Math.floor(sorted.indexOf(value) / number * 8)}`;
        const button = element("button", { type: "button", class: name,
          title: `${other ? signed(value) : shown(value)} bits per character`, "aria-label": `Page ${i + 1}` }, String(i + 1));
        if (i === page) button.setAttribute("aria-current", "page");
        button.addEventListener("click", () => turnTo(i));
        return button;
      }));
      byId("pages-title").textContent = other ? "Pages, by the difference of their means" : "Pages: a stronger colour means more bits";
      byId("page-number").textContent = `page ${page + 1} of ${number}`;
      byId("previous").disabled = page === 0;
      byId("next").disabled = page === number - 1;
    }

    function drawWords() {
      const text = texts.get(part.value), one = first(), other = second(), found = [];
      for (let i = 0, begin = 0; i <= text.length; i++) {
        if (i < text.length && text[i] !== " ") continue;
        if (i > begin) {
          let sum = 0;
          for (let j = begin; j < i; j++) sum += other ? minus(one[j], other[j]) : one[j];
          if (Number.isFinite(sum)) found.push([sum, begin, i]);
        }
        begin = i + 1;
      }
      found.sort((x, y) => x[0] - y[0]);
      const half = NUM_WORDS / 2;
      const picked = other ? [...found.slice(0, half), ...found.slice(-half)] : found.slice(-NUM_WORDS).reverse();
      byId("words-title").textContent = other ? "Words that differ most, in bits" : "Words that cost most, in bits";
      byId("words").replaceChildren(...picked.map(([sum, begin, end]) => {
        const button = element("button", { type: "button" }, element("span", {}, text.slice(begin, end).join("")),
          element("span", {}, other ? signed(sum) : shown(sum)));
        button.addEventListener("click", () => { turnTo(Math.floor(begin / PAGE)); choose(begin - page * PAGE); });
        return element("li", {}, button);
      }));
    }

    function drawText() {
      const text = texts.get(part.value), begin = page * PAGE, one = first(), other = second();
      const spans = text.slice(begin, begin + PAGE).map((character, i) => {
        const value = other ? minus(one[begin + i], other[begin + i]) : one[begin + i];
        return element("span", { class: classOf(value, other !== null) }, character);
      });
      box.replaceChildren(...spans);
    }

    function choose(index) {
      const spans = box.children;
      if (!spans.length) return;
      spans[chosen]?.classList.remove("chosen");
      chosen = Math.min(spans.length - 1, Math.max(0, index));
      spans[chosen].classList.add("chosen");
      const text = texts.get(part.value), i = page * PAGE + chosen, one = first()[i], other = second()?.[i];
      const row = (name, value) => [element("dt", {}, name), element("dd", {}, value)];
      const cost = (value) => `${shown(value)} bits, P ${(2 ** -value).toPrecision(3)}`;
      const before = text.slice(Math.max(0, i - 18), i).map(visible).join("");
      byId("readout").replaceChildren(
        element("span", { class: "quiet" }, `…${before}`), element("b", {}, visible(text[i])),
        element("dl", {}, ...row(a.value, cost(one)),
          ...(other === undefined ? [] : [...row(b.value, cost(other)), ...row("difference", `${signed(minus(one, other))} bits`)]),
          ...row("place", `character ${(i + 1).toLocaleString("en")} of ${text.length.toLocaleString("en")}`)));
    }

    function draw() {
      drawLegend();
      drawMeans();
      drawPages();
      drawWords();
      drawText();
      choose(chosen);
    }

    function turnTo(number) {
      page = number;
      chosen = 0;
      draw();
    }

    const indexOf = (target) => (target.parentNode === box ? [...box.children].indexOf(target) : -1);
    for (const kind of ["pointerover", "click"]) {
      box.addEventListener(kind, (event) => { const i = indexOf(event.target); if (i >= 0) choose(i); });
    }
    box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) { event.preventDefault(); choose(chosen + step); }
    });
    byId("previous").addEventListener("click", () => turnTo(page - 1));
    byId("next").addEventListener("click", () => turnTo(page + 1));
    part.addEventListener("change", () => turnTo(0));
    for (const select of [a, b]) select.addEventListener("change", draw);
    draw();
  }
})();
