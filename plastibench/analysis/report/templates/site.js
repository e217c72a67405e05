// A table of class "choices" can be narrowed by the values of its columns with data-choice, and by the first column.
function labeled(text, field) {
  const label = document.createElement("label");
  label.className = "filter";
  field.setAttribute("aria-label", text);  // without it the options would be part of the name
  label.append(`${text} `, field);
  return label;
}
function choosable(table) {
  const rows = Array.from(table.tBodies[0].rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const fields = heads.flatMap((head, column) => {
    if (!head.dataset.choice) return [];
    const values = Array.from(new Set(rows.map((row) => row.cells[column].textContent))).sort();
    if (values.length < 2) return [];
    const select = document.createElement("select");
    select.append(new Option("all", ""), ...values.map((text) => new Option(text, text)));
    return [{ column, select, name: head.dataset.choice }];
  });
  const search = document.createElement("input");
  const found = document.createElement("span");
  search.type = "search";
  found.setAttribute("role", "status");
  function apply() {
    const wanted = search.value.trim().toLowerCase();
    rows.forEach((row) => {
      const chosen = fields.every((one) => !one.select.value || row.cells[one.column].textContent === one.select.value);
      row.hidden = !chosen || !row.cells[0].textContent.toLowerCase().includes(wanted);
    });
    const left = rows.filter((row) => !row.hidden).length;
    found.textContent = left < rows.length ? `${left} of ${rows.length} rows` : "";
  }
  const box = document.createElement("div");
  box.className = "filters";
  box.append(labeled("method", search), ...fields.map((one) => labeled(one.name, one.select)), found);
  box.addEventListener("input", apply);
  table.parentElement.before(box);
}
document.querySelectorAll("table.choices").forEach(choosable);
