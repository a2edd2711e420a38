// Tables that can be searched and sorted, in place and offline. Without this script they are whole, oldest row first.
(function () {
  "use strict";
  var EMPTY = /^[\u2013\s]*$/;

  // Numbers as the report writes them: thousands by comma, a real minus sign, perhaps a percent sign.
  function value(cell, numeric) {
    var text = cell.textContent.trim();
    if (!numeric) return text.toLowerCase();
    if (EMPTY.test(text)) return null;
    return parseFloat(text.replace(/,/g, "").replace("\u2212", "-"));
  }
  function compare(a, b) {
    if (a === b) return 0;
    if (a === null || a !== a) return 1;
    if (b === null || b !== b) return -1;
    return a < b ? -1 : 1;
  }
  function sort(table, heads, column) {
    var head = heads[column];
    var down = head.getAttribute("aria-sort") === "ascending";
    var numeric = head.classList.contains("num");
    var body = table.tBodies[0];
    var rows = Array.prototype.map.call(body.rows, function (row, place) {
      return { row: row, place: place, key: value(row.cells[column], numeric) };
    });
    rows.sort(function (a, b) {
      var order = compare(a.key, b.key);
      var undefinedOne = a.key === null || b.key === null;
      return (down && !undefinedOne ? -order : order) || a.place - b.place;
    });
    var all = document.createDocumentFragment();
    rows.forEach(function (item) { all.appendChild(item.row); });
    body.appendChild(all);
    heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }
  function addSorting(table) {
    var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      while (head.firstChild) button.appendChild(head.firstChild);
      head.appendChild(button);
      button.addEventListener("click", function () { sort(table, heads, column); });
    });
  }
  function addSearch(box, table, number) {
    var rows = Array.prototype.slice.call(table.tBodies[0].rows);
    var texts = rows.map(function (row) {
      return Array.prototype.map.call(row.cells, function (cell) { return cell.textContent; }).join(" ").toLowerCase();
    });
    var place = document.createElement("div");
    var label = document.createElement("label");
    var input = document.createElement("input");
    var said = document.createElement("span");
    place.className = "find";
    label.textContent = "Search";
    input.type = "search";
    input.id = "find-" + number;
    label.htmlFor = input.id;
    said.setAttribute("role", "status");
    input.addEventListener("input", function () {
      var words = input.value.toLowerCase().replace(/-/g, "\u2212").split(/\s+/).filter(Boolean);
      var shown = 0;
      rows.forEach(function (row, i) {
        var text = texts[i].replace(/-/g, "\u2212");
        row.hidden = !words.every(function (word) { return text.indexOf(word) >= 0; });
        if (!row.hidden) shown += 1;
      });
      said.textContent = words.length ? shown + " of " + rows.length + " rows" : "";
    });
    [label, input, said].forEach(function (part) { place.appendChild(part); });
    box.parentNode.insertBefore(place, box);
  }
  function start() {
    document.querySelectorAll(".table-box.searchable").forEach(function (box, number) {
      var table = box.querySelector("table");
      if (!table || !table.tHead || table.tBodies[0].rows.length < 2) return;
      addSorting(table);
      addSearch(box, table, number);
    });
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
