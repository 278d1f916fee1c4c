"use strict";
// A click on a heading sorts the table by that column, a second one the other way round. Rows without a value come last.

function valueOf(row, column) {
  return row.cells[column].dataset.value;
}

function compare(a, b) {
  const difference = Number(a) - Number(b);
  return Number.isNaN(difference) ? a.localeCompare(b) : difference;
}

function sortTable(table, column) {
  const heading = table.tHead.rows[0].cells[column];
  const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const rows = Array.from(table.tBodies[0].rows);
  const filled = rows.filter((row) => valueOf(row, column) !== "");
  filled.sort((a, b) => sign * compare(valueOf(a, column), valueOf(b, column)));
  const empty = rows.filter((row) => valueOf(row, column) === "");
  table.tBodies[0].append(...filled, ...empty);
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((cell, column) => {
    cell.querySelector("button").addEventListener("click", () => sortTable(table, column));
  });
}
