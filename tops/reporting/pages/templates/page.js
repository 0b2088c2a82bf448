"use strict";
(() => {
  const { cells, browser } = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  // Text of data and models reaches the page through textContent only.
  const make = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

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
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
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

  /* Provenance of a number, one click away. */
  const dialog = $("provenance");
  const describe = (key) => {
    const box = make("section");
    const cell = cells[key];
    box.append(make("h3", cell ? cell.label : key));
    if (!cell) return box;
    const list = make("dl");
    const plain = (value) => (typeof value === "object" && value !== null ? JSON.stringify(value) : String(value));
    const rows = { cell: key, status: cell.status, scorer: cell.scorer, ...cell.provenance };
    for (const [name, value] of Object.entries(rows)) {
      if (value === null || value === undefined) continue;
      list.append(make("dt", name), make("dd", plain(value)));
    }
    box.append(list, make("h4", "Scores"), make("pre", JSON.stringify(cell.scores, null, 1)));
    box.append(make("h4", "Specification"), make("pre", JSON.stringify(cell.specification, null, 1)));
    return box;
  };
  const show = (keys) => {
    dialog.querySelector("div").replaceChildren(...keys.map(describe));
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-cells]");
    if (button) show(button.dataset.cells.split(" "));
  });

  if (!$("filters")) return;

  /* Document browser. */
  const control = Object.fromEntries(["backbone", "level", "method", "benchmark", "outcome"].map((name) => [name, $(`f-${name}`)]));
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
    flipped: (mine, base) => mine !== null && base !== null && mine !== base,
    lost: (mine, base) => mine === false && base === true,
    gained: (mine, base) => mine === true && base === false,
  };
  let open = null;

  const refill = () => {
    const backbone = browser.backbones.find((b) => b.name === control.backbone.value);
    fill(control.level, Object.entries(backbone.levels).length ? Object.entries(backbone.levels) : [["", "none"]]);
    const here = browser.documents.filter((d) => d.backbone === backbone.name);
    const there = rowsAt(control.level.value).filter(([, i]) => here.some((d) => d.answers[i]));
    fill(control.method, there.map(([row, i]) => [String(i), row.title]));
    fill(control.benchmark, [["", "all"], ...[...new Set(here.map((d) => d.benchmark))].map((name) => [name, name])]);
  };
  const sign = (right) => (right === null ? make("span", "?", { class: "mark", title: "not scored" })
    : make("span", right ? "\u2713" : "\u2717", { class: `mark ${right ? "right" : "wrong"}`, title: right ? "right" : "wrong" }));

  const list = () => {
    const method = control.method.value;
    const shown = browser.documents.filter((d) => {
      const answer = d.answers[method];
      return d.backbone === control.backbone.value && answer
        && (!control.benchmark.value || d.benchmark === control.benchmark.value)
        && outcomes[control.outcome.value](isRight(answer), isRight(d.answers[reference]));
    });
    $("count").textContent = `${shown.length} of ${browser.documents.filter((d) => d.backbone === control.backbone.value).length} documents`;
    $("list").replaceChildren(...shown.map((d) => {
      const button = make("button", null, { type: "button" });
      button.append(sign(isRight(d.answers[method])), make("span", d.question.slice(0, 160)));
      button.append(make("small", `${d.benchmark} \u00b7 document ${d.id}`));
      button.addEventListener("click", () => view(d, Number(method)));
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
  const draw = (canvas, picture, answer, stage) => {
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

  const view = (document_, chosen) => {
    open = document_;
    for (const button of $("list").querySelectorAll("button")) button.removeAttribute("aria-current");
    const box = $("viewer");
    box.replaceChildren(make("h3", document_.question));
    let picture = null;
    if (document_.image !== null) { picture = new Image(); picture.src = browser.images[document_.image]; }
    const canvas = make("canvas", null, { role: "img" });
    const stages = make("div", null, { class: "stages" });
    const hint = make("p", null, { class: "hint" });
    const select = (row) => {
      const answer = document_.answers[row];
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
      stages.replaceChildren(button(null, "image"), ...layers.map((l) => button(l, `${l === "0" ? "before the model" : `from layer ${l}`}: ${count(l)}`)));
      const nothing = layers.length === 0 && picture === null;
      canvas.hidden = stages.hidden = nothing;
      hint.textContent = nothing ? "Neither the picture nor the kept tokens were stored with this answer."
        : layers.length === 0 ? "Kept tokens were not recorded for this answer."
        : answer.grid.map ? (answer.grid.tiles > 1 ? `The overview image, the first of ${answer.grid.tiles} tiles.` : "Dark: dropped. Framed: kept.")
          : "Tokens in sequence order; this model's layout on the image is not known here.";
      press(layers.length ? layers[layers.length - 1] : null);
      for (const line of box.querySelectorAll("tbody tr")) line.setAttribute("aria-selected", String(line.dataset.row === String(row)));
    };
    const table = make("table");
    const head = make("tr");
    for (const title of ["Method", "Answer", "", "Tokens"]) head.append(make("th", title, { scope: "col", style: "text-align:left" }));
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
      line.append(make("td", row.title), make("td", answer.text === "" ? "(empty)" : answer.text), verdict, make("td", answer.tokens));
      line.addEventListener("click", () => select(i));
      line.addEventListener("keydown", (event) => { if (event.key === "Enter") select(i); });
      body.append(line);
    }
    table.append(top, body);
    const facts = document_.target && typeof document_.target === "object" ? document_.target : { answer: document_.target };
    const told = facts.choices || facts.options ? facts : facts.answers ?? facts.answer ?? facts;
    const truth = told && typeof told === "object" ? JSON.stringify(told) : String(told);
    box.append(canvas, hint, stages, table, make("p", `Ground truth: ${truth}`, { class: "hint" }));
    const source = make("button", "Provenance of this answer", { type: "button", "data-cells": document_.answers[chosen].cell, class: "cell" });
    box.append(source);
    select(chosen);
    [...$("list").querySelectorAll("button")].find((b) => b.textContent.includes(`document ${document_.id}`) && b.textContent.includes(document_.benchmark))?.setAttribute("aria-current", "true");
  };

  fill(control.backbone, browser.backbones.map((b) => [b.name, b.title]));
  refill();
  const method = browser.rows.findIndex((row) => row.role === "method" && row.level === control.level.value && row.title === "TOPS");
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
  for (const name of ["method", "benchmark", "outcome"]) control[name].addEventListener("change", list);
  list();
})();
