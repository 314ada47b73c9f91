// Tables and chips. A column is {name, text(row)} or {name, chip(row)}; `kind` sets its look, and a
// `rare` one is there if it has something to say.

import { keyed, light, make, mark, say, scrolling } from "./dom.js";
import { sign, spoken } from "./words.js";

export function chip() {
  return make("span", { class: "chip" },
    make("span", { class: "sign", "aria-hidden": "true" }), make("span", { class: "word" }));
}

export function setChip(node, word, text = spoken(word)) {
  const [symbol, tone] = sign(word);
  mark(node, "data-tone", tone);
  say(node.firstChild, symbol);
  say(node.lastChild, text);
}

export class Table {
  constructor(name, columns, { empty, tall = false, id = (row) => row.id } = {}) {
    this.columns = columns;
    this.id = id;
    this.body = make("tbody", { role: "rowgroup" });
    const head = make("tr", { role: "row" },
      ...columns.map((column) => make("th", {
        scope: "col", role: "columnheader", class: column.kind,
      }, column.name)));
    this.table = make("table", { role: "table", "aria-label": name },
      make("thead", { role: "rowgroup" }, head), this.body);
    this.box = scrolling(name, this.table);
    if (tall) this.box.classList.add("tall");
    this.empty = make("p", { class: "empty" }, empty ?? "None.");
    this.more = make("p", { class: "more" });
    this.node = make("div", { class: "listing" }, this.empty, this.box, this.more);
    this.render({ shown: [], count: 0 });
  }

  render({ shown, count }, { has = () => true } = {}) {
    const rows = shown.filter(has);
    this.empty.hidden = count > 0;
    this.box.hidden = rows.length === 0;
    keyed(this.body, rows, this.id, (row) => this.create(row), (node, row, isNew) =>
      this.update(node, row, isNew));
    this.columns.forEach((column, index) => {
      if (column.rare) this.narrow(index, !rows.some((row) => column.text(row)));
    });
    const parts = [];
    if (rows.length < shown.length) parts.push(`${rows.length} of ${shown.length} match`);
    if (count > shown.length) parts.push(`${shown.length} of ${count} are listed`);
    this.more.hidden = parts.length === 0;
    say(this.more, `${parts.join("; ")}.`);
  }

  // A column that says nothing takes no room.
  narrow(index, isNarrow) {
    for (const row of this.table.rows) row.children[index].hidden = isNarrow;
  }

  create() {
    return make("tr", { role: "row" }, ...this.columns.map((column, index) => {
      const attributes = { role: index ? "cell" : "rowheader", class: column.kind };
      if (!index) attributes.scope = "row";
      attributes["data-name"] = column.name;
      const content = column.chip ? chip() : make("span", { class: "text", dir: "auto" });
      return make(index ? "td" : "th", attributes, content);
    }));
  }

  update(node, row, isNew) {
    this.columns.forEach((column, index) => {
      const cell = node.children[index];
      const content = cell.firstChild;
      if (column.chip) {
        const word = column.chip(row);
        content.hidden = !word;
        if (word) setChip(content, word, column.text?.(row));
      } else if (say(content, column.text(row)) && !isNew && column.lit) light(cell);
      mark(cell, "data-none", !cell.textContent || content.hidden ? "" : null);
    });
  }
}
