"use strict";
// Without scripts the page is whole: tables keep their order, and browsers show each mark's title.

// Sorting: a click on a heading sorts its table, another one turns the order round. Empty cells stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const falling = heading.getAttribute("aria-sort") === "ascending" ||
        (heading.getAttribute("aria-sort") === "none" && !heading.classList.contains("text"));
      for (const other of headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const body = table.tBodies[0];
      const numeric = [...body.rows].every((row) => "value" in row.cells[column].dataset);
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const sorted = [...body.rows].sort((one, other) => {
        const [a, b] = [key(one), key(other)];
        if (a === "" || b === "") return (a === "") - (b === "");
        const [x, y] = [Number(a), Number(b)]; // not x - y, which of two infinite ones is no number
        const order = numeric ? (x > y) - (x < y) : a.localeCompare(b);
        return falling ? -order : order;
      });
      body.append(...sorted);
    });
  });
}

// Tips: what a mark says, beside the pointer or the focused mark.
const tip = document.createElement("div");
tip.id = "tip";
tip.hidden = true;
document.body.append(tip);
const show = (mark, x, y) => {
  tip.textContent = mark.getAttribute("aria-label");
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, innerHeight - height - 4))}px`;
};
for (const mark of document.querySelectorAll(".mark")) {
  mark.querySelector("title")?.remove(); // else browsers show it a second time
  mark.addEventListener("pointermove", (event) => show(mark, event.clientX, event.clientY));
  mark.addEventListener("pointerleave", () => { tip.hidden = true; });
  mark.addEventListener("focus", () => {
    const box = mark.getBoundingClientRect();
    show(mark, box.right, box.bottom);
  });
  mark.addEventListener("blur", () => { tip.hidden = true; });
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

// A chart, or a legend, is one stop of the tab key; arrows go on from there.
const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
const rove = (group, selector) => {
  const items = [...group.querySelectorAll(selector)];
  const choose = (chosen) => { for (const item of items) item.setAttribute("tabindex", item === chosen ? 0 : -1); };
  choose(items[0]);
  group.addEventListener("focusin", (event) => choose(event.target));
  group.addEventListener("keydown", (event) => {
    if (!(event.key in step)) return;
    event.preventDefault();
    items[Math.max(0, Math.min(items.length - 1, items.indexOf(event.target) + step[event.key]))].focus();
  });
};
for (const chart of document.querySelectorAll("svg.chart")) rove(chart, ".mark");
for (const legend of document.querySelectorAll(".legend")) rove(legend, "button");

// Legends: a pressed name stays forward, others step back.
for (const figure of document.querySelectorAll("figure")) {
  const buttons = [...figure.querySelectorAll(".legend button")];
  const refresh = (over) => {
    const chosen = new Set(buttons.filter((button) => button === over || button.getAttribute("aria-pressed") === "true")
      .map((button) => button.dataset.series));
    figure.classList.toggle("dimmed", chosen.size > 0);
    for (const part of figure.querySelectorAll("[data-series]")) part.classList.toggle("forward", chosen.has(part.dataset.series));
  };
  for (const button of buttons) {
    button.addEventListener("pointerenter", () => refresh(button));
    button.addEventListener("focus", () => refresh(button));
    button.addEventListener("pointerleave", () => refresh());
    button.addEventListener("blur", () => refresh());
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      refresh();
    });
  }
}

// On paper nothing can be unfolded.
addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });
