"use strict";
// Without this script the page is complete; with it tables can be sorted and filtered, and links open their runs.
function value(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = parseFloat(text.replace(/[,<]/g, "").replace("\u2212", "-"));
  if (Number.isNaN(number)) return text.toLowerCase();
  return text.startsWith("<") ? number / 2 : number;  // "< 0.001" is below 0.001
}
function compare(a, b, sign) {
  // Words come after numbers in both orders: a dash stands for an absent number.
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return sign * (a < b ? -1 : a > b ? 1 : 0);
}
function sort(table, column, heads) {
  const down = heads[column].getAttribute("aria-sort") === "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row, place) => ({ row, place, key: value(row, column) }));
  rows.sort((a, b) => compare(a.key, b.key, down ? -1 : 1) || a.place - b.place);
  body.append(...rows.map((item) => item.row));
}
function sortable(table) {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(table, column, heads));
    head.replaceChildren(button);
  });
}
function filterable(table) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("span");
  label.className = "filter";
  input.type = "search";
  count.setAttribute("role", "status");
  label.append("Show methods with ", input, count);
  input.addEventListener("input", () => {
    const rows = Array.from(table.tBodies[0].rows);
    const wanted = input.value.trim().toLowerCase();
    rows.forEach((row) => { row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted); });
    count.textContent = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });
  table.parentElement.before(label);
}
function open() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.firstElementChild.focus();
  }
}
document.querySelectorAll("table").forEach(sortable);
document.querySelectorAll("table.results").forEach(filterable);
window.addEventListener("hashchange", open);
open();
