"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  // Text of data and models reaches the page through textContent only.
  const make = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

  /* Dark and light: what the system says, until the button is pressed. Nothing is stored. */
  const theme = $("theme");
  const paintTheme = (dark) => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    theme.setAttribute("aria-pressed", String(dark));
    theme.textContent = dark ? "Light" : "Dark";
  };
  paintTheme(matchMedia("(prefers-color-scheme: dark)").matches);
  theme.addEventListener("click", () => paintTheme(document.documentElement.dataset.theme !== "dark"));

  /* Tables sort inside their sections; holes stay last. */
  const keyOf = (row, column) => {
    const raw = row.cells[column].dataset.v;
    if (raw === undefined || raw === "") return null;
    const number = Number(raw);
    return Number.isNaN(number) ? raw : number;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const down = column === 0 ? head.getAttribute("aria-sort") === "ascending" : head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => !row.classList.contains("section"));
        rows.sort((x, y) => {
          const [a, b] = [keyOf(x, column), keyOf(y, column)];
          if (a === null || b === null) return (a === null) - (b === null);
          return down ? compare(b, a) : compare(a, b);
        });
        body.append(...rows);
      }
    }));
  }

  /* A table is one stop of the tab key; arrow keys go from number to number, Enter opens one. */
  for (const region of document.querySelectorAll(".scroll")) {
    const table = region.querySelector("table");
    if (!table) continue;
    const stops = () => [...table.rows].map((row) => [...row.querySelectorAll("button")]).filter((line) => line.length);
    region.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
      const lines = stops();
      let [y, x] = [-1, 0];
      lines.forEach((line, i) => { const at = line.indexOf(document.activeElement); if (at >= 0) [y, x] = [i, at]; });
      y = Math.min(Math.max(y + step[0], 0), lines.length - 1);
      x = Math.min(Math.max(x + step[1], 0), lines[y].length - 1);
      lines[y][x].focus();
      event.preventDefault();
    });
  }

  /* The data is compressed by the page's maker and read by the browser itself. */
  const bytes = Uint8Array.from(atob($("data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const { cells, common, browser } = await new Response(stream).json();

  /* Provenance of a number, one click away. */
  const dialog = $("provenance");
  const describe = (number) => {
    const box = make("section");
    const cell = cells[number];
    box.append(make("h3", cell ? cell.label : number));
    if (!cell) return box;
    const metrics = make("table");
    for (const [scorer, values] of Object.entries(cell.scores)) {
      for (const [name, value] of Object.entries(values)) {
        const row = make("tr");
        row.append(make("th", `${scorer}${scorer === cell.scorer ? " (shown)" : ""}`), make("td", name), make("td", typeof value === "number" ? String(Math.round(value * 1e4) / 1e4) : String(value)));
        metrics.append(row);
      }
    }
    box.append(make("h4", "Run it"), make("pre", cell.command), make("h4", "Scores"), metrics, make("h4", "Specification and provenance"));
    const list = make("dl");
    const facts = { cell: cell.key, status: cell.status, ...common, ...cell.facts };
    for (const name of Object.keys(facts).sort()) list.append(make("dt", name), make("dd", String(facts[name])));
    box.append(list);
    return box;
  };
  const show = (numbers) => {
    dialog.querySelector("div").replaceChildren(...numbers.map(describe));
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-cells]");
    if (button) show(button.dataset.cells.split(" "));
  });
  document.documentElement.dataset.ready = "true";

  if (!$("filters")) return;

  /* Document browser. */
  const control = Object.fromEntries(["backbone", "level", "method", "other", "benchmark", "outcome", "search"].map((name) => [name, $(`f-${name}`)]));
  const fill = (select, options) => {
    const before = select.value;
    select.replaceChildren(...options.map(([value, text]) => make("option", text, { value })));
    if (options.some(([value]) => value === before)) select.value = before;
  };
  const reference = browser.rows.findIndex((row) => row.role === "reference");
  const rowsAt = (level) => browser.rows.map((row, i) => [row, i]).filter(([row]) => row.level === "" || row.level === level);
  const isRight = (answer) => (answer && answer.score !== null && answer.score !== undefined ? answer.score >= 0.5 : null);
  const outcomes = {
    all: () => true,
    right: (mine) => mine === true,
    wrong: (mine) => mine === false,
    unread: (mine, base, answer) => answer.read === null,
    flipped: (mine, base) => mine !== null && base !== null && mine !== base,
    lost: (mine, base) => mine === false && base === true,
    gained: (mine, base) => mine === true && base === false,
  };
  let open = null;
  const name = (d) => `${d.backbone}/${d.benchmark}/${d.id}`;

  const refill = () => {
    const backbone = browser.backbones.find((b) => b.name === control.backbone.value);
    fill(control.level, Object.entries(backbone.levels).length ? Object.entries(backbone.levels) : [["", "none"]]);
    const here = browser.documents.filter((d) => d.backbone === backbone.name);
    const there = rowsAt(control.level.value).filter(([, i]) => here.some((d) => d.answers[i]));
    fill(control.method, there.map(([row, i]) => [String(i), row.title]));
    fill(control.other, [["", "nothing"], ...there.map(([row, i]) => [String(i), row.title])]);
    fill(control.benchmark, [["", "all"], ...[...new Set(here.map((d) => d.benchmark))].map((name) => [name, name])]);
  };
  const sign = (right) => (right === null ? make("span", "?", { class: "mark", title: "not scored" })
    : make("span", right ? "\u2713" : "\u2717", { class: `mark ${right ? "right" : "wrong"}`, title: right ? "right" : "wrong" }));

  const list = () => {
    const method = control.method.value;
    const words = control.search.value.trim().toLowerCase();
    const said = (d) => [d.question, d.id, ...Object.values(d.answers).map((a) => a.text)].join(" ").toLowerCase();
    const shown = browser.documents.filter((d) => {
      const answer = d.answers[method];
      return d.backbone === control.backbone.value && answer
        && (!control.benchmark.value || d.benchmark === control.benchmark.value)
        && (!words || said(d).includes(words))
        && outcomes[control.outcome.value](isRight(answer), isRight(d.answers[reference]), answer);
    });
    $("count").textContent = `${shown.length} of ${browser.documents.filter((d) => d.backbone === control.backbone.value).length} documents`;
    $("list").replaceChildren(...shown.map((d) => {
      const button = make("button", null, { type: "button" });
      button.append(sign(isRight(d.answers[method])), make("span", d.question.slice(0, 160)));
      button.append(make("small", `${d.benchmark} \u00b7 document ${d.id}`));
      button.addEventListener("click", () => view(d, Number(method)));
      button.dataset.document = name(d);
      if (open === d) button.setAttribute("aria-current", "true");
      const item = make("li");
      item.append(button);
      return item;
    }));
    if (open && !shown.includes(open)) { open = null; $("viewer").replaceChildren(); }
    else if (open) view(open, Number(method));
  };

  const unpack = (text, count) => {
    const bytes = atob(text);
    return Array.from({ length: count }, (_, i) => ((bytes.charCodeAt(i >> 3) >> (7 - (i & 7))) & 1) === 1);
  };
  /* Every view of the picture beside the other: the overview, the tiles; what was dropped is dark. */
  const drawViews = (canvas, picture, places, kept) => {
    const size = 352;
    const gap = 10;
    canvas.width = places.views.length * (size + gap) - gap;
    canvas.height = size;
    const pen = canvas.getContext("2d");
    const paint = () => {
      pen.clearRect(0, 0, canvas.width, canvas.height);
      const [w, h] = picture && picture.naturalWidth ? [picture.naturalWidth, picture.naturalHeight] : [1, 1];
      const square = places.placing === "crop" || places.placing === "pad";
      const scale = places.placing === "crop" ? size / Math.min(w, h) : size / Math.max(w, h);
      const [wide, high] = square ? [size, size] : [w * scale, h * scale];
      places.views.forEach((grids, number) => {
        const left = number * (size + gap);
        pen.save();
        pen.beginPath();
        pen.rect(left, 0, wide, high);
        pen.clip();
        pen.fillStyle = "#7a7468";
        pen.fillRect(left, 0, wide, high);
        if (picture) pen.drawImage(picture, left + (wide - w * scale) / 2, (high - h * scale) / 2, w * scale, h * scale);
        for (const [start, stride, rows, columns, x0, y0, x1, y1] of kept === null ? [] : grids) {
          const [dx, dy] = [((x1 - x0) * wide) / columns, ((y1 - y0) * high) / rows];
          for (let i = 0; i < rows * columns; i += 1) {
            const [r, c] = [Math.floor(i / columns), i % columns];
            const [x, y] = [left + x0 * wide + c * dx, y0 * high + r * dy];
            if (!kept[start + r * stride + c]) {
              pen.fillStyle = "rgba(20,26,38,.78)";
              pen.fillRect(x, y, dx + 0.5, dy + 0.5);
            } else {
              pen.strokeStyle = "rgba(230,159,0,.95)";
              pen.lineWidth = 1;
              pen.strokeRect(x + 0.5, y + 0.5, dx - 1, dy - 1);
            }
          }
        }
        pen.restore();
      });
    };
    if (picture && !picture.complete) picture.addEventListener("load", paint);
    paint();
  };
  const draw = (canvas, picture, answer, stage) => {
    if (answer.places !== null) {
      drawViews(canvas, picture, browser.places[answer.places], stage === null ? null : unpack(answer.kept[stage], answer.grid.visual));
      return;
    }
    const size = 352;
    canvas.width = canvas.height = size;
    const pen = canvas.getContext("2d");
    const { side, visual, map } = answer.grid;
    const paint = () => {
      pen.fillStyle = "#e7ebf0";
      pen.fillRect(0, 0, size, size);
      if (picture && map) pen.drawImage(picture, 0, 0, size, size);
      if (stage === null || !side) return;
      const kept = unpack(answer.kept[stage], visual);
      const step = size / side;
      for (let i = 0; i < Math.min(visual, side * side); i += 1) {
        const [x, y] = [(i % side) * step, Math.floor(i / side) * step];
        if (!kept[i]) {
          pen.fillStyle = "rgba(20,26,38,.78)";
          pen.fillRect(x, y, step + 0.5, step + 0.5);
        } else {
          if (!(picture && map)) { pen.fillStyle = "#56b4e9"; pen.fillRect(x, y, step, step); }
          pen.strokeStyle = "rgba(230,159,0,.95)";
          pen.lineWidth = 1.2;
          pen.strokeRect(x + 0.6, y + 0.6, step - 1.2, step - 1.2);
        }
      }
    };
    if (picture && !picture.complete) picture.addEventListener("load", paint);
    paint();
  };

  /* The picture with the tokens that one method kept, a button for each stage. */
  const panel = (document_, picture, row) => {
    const box = make("div", null, { class: "panel" });
    const answer = document_.answers[row];
    const canvas = make("canvas", null, { role: "img" });
    const stages = make("div", null, { class: "stages" });
    const layers = Object.keys(answer.kept);
    const press = (stage) => {
      [...stages.children].forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.stage === String(stage))));
      draw(canvas, picture, answer, stage);
      canvas.setAttribute("aria-label", stage === null ? "the image" : `tokens kept by ${browser.rows[row].title} from layer ${stage} on`);
    };
    const button = (stage, text) => {
      const node = make("button", text, { type: "button", "data-stage": String(stage) });
      node.addEventListener("click", () => press(stage));
      return node;
    };
    const count = (stage) => unpack(answer.kept[stage], answer.grid.visual).filter(Boolean).length;
    stages.append(button(null, "image"), ...layers.map((l) => button(l, `${l === "0" ? "before the model" : `from layer ${l}`}: ${count(l)}`)));
    const nothing = layers.length === 0 && picture === null;
    canvas.hidden = stages.hidden = nothing;
    const hint = nothing ? "Neither the picture nor the kept tokens were stored with this answer."
      : layers.length === 0 ? "Kept tokens were not recorded for this answer."
      : answer.places !== null ? "Dark: dropped. Framed: kept."
      : answer.grid.map ? (answer.grid.tiles > 1 ? `The overview image, the first of ${answer.grid.tiles} tiles.` : "Dark: dropped. Framed: kept.")
        : "Tokens in sequence order; this model's layout on the image is not known here.";
    box.append(make("h4", browser.rows[row].title), canvas, make("p", hint, { class: "hint" }), stages);
    press(layers.length ? layers[layers.length - 1] : null);
    return box;
  };

  const view = (document_, chosen) => {
    open = document_;
    history.replaceState(null, "", `#document=${encodeURIComponent(name(document_))}`);
    for (const button of $("list").querySelectorAll("button")) {
      if (button.dataset.document === name(document_)) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    const box = $("viewer");
    const panels = make("div", null, { class: "panels" });
    let picture = null;
    if (document_.image !== null) { picture = new Image(); picture.src = browser.images[document_.image]; }
    const source = make("button", "Provenance of this answer", { type: "button", class: "cell" });
    const table = make("table");
    const select = (row) => {
      const other = control.other.value;
      const beside = other !== "" && other !== String(row) && document_.answers[other] ? [Number(other)] : [];
      panels.replaceChildren(...[row, ...beside].map((r) => panel(document_, picture, r)));
      source.dataset.cells = document_.answers[row].cell;
      for (const line of table.querySelectorAll("tbody tr")) line.setAttribute("aria-selected", String(line.dataset.row === String(row)));
    };
    const head = make("tr");
    for (const title of ["Method", "Answer", "Read as", "", "Tokens"]) head.append(make("th", title, { scope: "col" }));
    const top = make("thead");
    top.append(head);
    const body = make("tbody");
    for (const [row, i] of rowsAt(control.level.value)) {
      const answer = document_.answers[i];
      if (!answer) continue;
      const line = make("tr", null, { "data-row": i, tabindex: 0 });
      const verdict = make("td");
      verdict.append(sign(isRight(answer)));
      const [mine, base] = [isRight(answer), isRight(document_.answers[reference])];
      if (mine !== null && base !== null && mine !== base) verdict.append(make("small", mine ? "gained" : "lost"));
      const read = answer.read === undefined ? "" : answer.read === null ? "unreadable" : answer.read;
      line.append(make("td", row.title), make("td", answer.text === "" ? "(empty)" : answer.text), make("td", read), verdict, make("td", answer.tokens));
      line.addEventListener("click", () => select(i));
      line.addEventListener("keydown", (event) => { if (event.key === "Enter") select(i); });
      body.append(line);
    }
    table.append(top, body);
    const facts = document_.target && typeof document_.target === "object" ? document_.target : { answer: document_.target };
    const told = facts.choices || facts.options ? facts : facts.answers ?? facts.answer ?? facts;
    const truth = told && typeof told === "object" ? JSON.stringify(told) : String(told);
    const title = make("h3", document_.question);
    const link = make("a", `${document_.benchmark}, document ${document_.id}`, { href: location.hash, class: "permalink" });
    box.replaceChildren(title, link, panels, table, make("p", `Ground truth: ${truth}`, { class: "hint" }), source);
    select(chosen);
  };

  $("list").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...$("list").querySelectorAll("button")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (next) { next.focus(); next.click(); }
    event.preventDefault();
  });

  /* The address may name a document: then it is opened, with the model that it belongs to. */
  const follow = () => {
    const wanted = location.hash.startsWith("#document=") ? decodeURIComponent(location.hash.slice(10)) : "";
    const found = wanted && browser.documents.find((d) => name(d) === wanted);
    if (!found || found === open) return;
    control.backbone.value = found.backbone;
    control.benchmark.value = control.search.value = "";
    control.outcome.value = "all";
    sameTitle();
    if (!found.answers[control.method.value]) control.method.value = Object.keys(found.answers)[0];
    list();
    view(found, Number(control.method.value));
    $("documents").scrollIntoView();
  };

  fill(control.backbone, browser.backbones.map((b) => [b.name, b.title]));
  refill();
  const methods = browser.rows.map((row, i) => [row, i]).filter(([row]) => row.role === "method" && row.level === control.level.value);
  const method = (methods.find(([row]) => row.subject) ?? methods[methods.length - 1] ?? [null, -1])[1];
  if (method >= 0 && [...control.method.options].some((o) => o.value === String(method))) control.method.value = String(method);
  const sameTitle = () => {
    const title = browser.rows[control.method.value]?.title;
    refill();
    const again = [...control.method.options].find((o) => o.textContent === title);
    if (again) control.method.value = again.value;
    list();
  };
  control.backbone.addEventListener("change", sameTitle);
  control.level.addEventListener("change", sameTitle);
  for (const key of ["method", "other", "benchmark", "outcome"]) control[key].addEventListener("change", list);
  control.search.addEventListener("input", list);
  list();
  addEventListener("hashchange", follow);
  follow();
})();
