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
    var down = turn(heads, column);
    var numeric = heads[column].classList.contains("num");
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
  }
  function addSorting(table, onSort) {
    var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      while (head.firstChild) button.appendChild(head.firstChild);
      head.appendChild(button);
      button.addEventListener("click", function () { onSort(heads, column); });
    });
  }
  // Say by which column a table is sorted; return whether downwards.
  function turn(heads, column) {
    var down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    return down;
  }
  function wordsOf(text) {
    return text.toLowerCase().replace(/-/g, "\u2212").split(/\s+/).filter(Boolean);
  }
  function holds(text, words) {
    return words.every(function (word) { return text.indexOf(word) >= 0; });
  }
  function add(tag, parent, text) {
    var made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    parent.appendChild(made);
    return made;
  }
  function searchBox(box, number, onInput) {
    var place = document.createElement("div");
    var label = add("label", place, "Search");
    var input = add("input", place);
    var said = add("span", place);
    place.className = "find";
    input.type = "search";
    input.id = "find-" + number;
    label.htmlFor = input.id;
    said.setAttribute("role", "status");
    input.addEventListener("input", function () { onInput(wordsOf(input.value)); });
    box.parentNode.insertBefore(place, box);
    return { place: place, said: said };
  }

  // All rows are in the page as a table.
  function whole(box, table, number) {
    var rows = Array.prototype.slice.call(table.tBodies[0].rows);
    var texts = rows.map(function (row) {
      return Array.prototype.map.call(row.cells, function (cell) { return cell.textContent; })
        .join(" ").toLowerCase().replace(/-/g, "\u2212");
    });
    addSorting(table, function (heads, column) { sort(table, heads, column); });
    var find = searchBox(box, number, function (words) {
      var shown = 0;
      rows.forEach(function (row, i) {
        row.hidden = !holds(texts[i], words);
        if (!row.hidden) shown += 1;
      });
      find.said.textContent = words.length ? shown + " of " + rows.length + " rows" : "";
    });
  }

  // The rows are data beside the table: some are shown at a time, all are sorted and searched.
  var PER_PAGE = 100;
  function commas(text) { return text.replace(/\B(?=(\d{3})+(?!\d))/g, ","); }
  function fixed(number, decimals) {
    var parts = Math.abs(number).toFixed(decimals).split(".");
    var text = commas(parts[0]) + (parts[1] ? "." + parts[1] : "");
    return number < 0 && /[1-9]/.test(text) ? "\u2212" + text : text;
  }
  function four(given) {
    var number = Number(given);
    if (typeof given === "string") return fixed(number, given.split(".")[1].length);
    if (number === 0 || Math.floor(number) === number) return fixed(number, 0);
    if (Math.abs(number) < 1e-4) return fixed(number, 8);
    return fixed(number, Math.max(0, 3 - Math.floor(Math.log10(Math.abs(number)))));
  }
  // Two decimals; below `plain` as many as keep `after` digits after the first one, unless there is nothing left.
  function small(value, plain, after, nothing) {
    var size = Math.abs(value);
    return fixed(value, size >= plain || size < nothing ? 2 : after - Math.floor(Math.log10(size)));
  }
  function when(value, seconds, clock) {
    return new Date(value * seconds * 1000).toISOString().slice(0, clock ? 16 : 10).replace("T", " ");
  }
  var SHOWN = {
    count: function (value) { return fixed(value, 0); },
    number: four,
    money: function (value) { return small(value / 100, 0.1, 1, 5e-9); },
    price: function (value) { return small(value, 100, 4, 1e-15); },
    percent: function (value) { return fixed(value / 100, 2) + "%"; }
  };
  function unpack(column) {
    if (!column.steps) return column.data;
    var now = 0;
    return column.steps.map(function (step) { return step === null ? null : (now += step); });
  }
  function reader(column) {
    var values = unpack(column);
    return {
      key: function (i) {
        var value = values[i];
        return column.texts ? column.texts[value].toLowerCase() : value === null ? null : Number(value);
      },
      sign: function (i) { return column.signed && values[i] !== null ? (values[i] > 0 ? "gain" : values[i] < 0 ? "loss" : "flat") : ""; },
      text: function (i) {
        var value = values[i];
        if (value === null) return "\u2013";
        if (column.texts) return column.texts[value];
        return column.steps ? when(value, column.seconds, column.kind === "time") : SHOWN[column.kind](value);
      },
      numeric: !column.texts && !column.steps,
      exit: column.heading === "Exit"
    };
  }
  function paged(box, table, data, number) {
    var readers = data.columns.map(reader), stillOpen = {}, order = [], texts = null, first = 0, words = [], i;
    data.open.forEach(function (row) { stillOpen[row] = true; });
    for (i = 0; i < data.rows; i += 1) order.push(i);
    var shown = order;
    function text(column, row) { return column.exit && stillOpen[row] ? "open" : column.text(row); }
    function line(row) { return readers.map(function (one) { return text(one, row); }).join(" ").toLowerCase().replace(/-/g, "\u2212"); }
    function draw() {
      var body = document.createElement("tbody");
      shown.slice(first, first + PER_PAGE).forEach(function (row) {
        var tr = add("tr", body);
        readers.forEach(function (one, at) {
          var cell = add(at ? "td" : "th", tr, text(one, row)), sign = one.sign(row);
          if (!at) cell.setAttribute("scope", "row");
          if (one.numeric) cell.className = "num" + (sign ? " " + sign : "");
          if (one.exit && stillOpen[row]) cell.className = "open";
        });
      });
      table.replaceChild(body, table.tBodies[0]);
      var last = Math.min(first + PER_PAGE, shown.length);
      find.said.textContent = (shown.length ? commas(String(first + 1)) + "\u2013" + commas(String(last)) : "0") + " of " +
        commas(String(shown.length)) + (words.length ? " found in " + commas(String(data.rows)) + " trades" : " trades");
      back.disabled = first === 0;
      on.disabled = last >= shown.length;
    }
    function filter() {
      if (words.length && !texts) texts = order.slice().sort(function (a, b) { return a - b; }).map(line);
      shown = words.length ? order.filter(function (row) { return holds(texts[row], words); }) : order;
      first = 0;
      draw();
    }
    addSorting(table, function (heads, column) {
      var down = turn(heads, column), keys = {};
      order.forEach(function (row) { keys[row] = readers[column].key(row); });
      order = order.slice().sort(function (a, b) {
        var result = compare(keys[a], keys[b]), none = keys[a] === null || keys[b] === null;
        return (down && !none ? -result : result) || a - b;
      });
      filter();
    });
    var find = searchBox(box, number, function (given) { words = given; filter(); });
    function step(label, by) {
      var made = add("button", find.place, label);
      made.type = "button";
      made.addEventListener("click", function () { first += by * PER_PAGE; box.scrollTop = 0; draw(); });
      return made;
    }
    var back = step("Previous", -1), on = step("Next", 1);
    table.caption.textContent = commas(String(data.rows)) + " trades";
    box.setAttribute("aria-label", table.caption.textContent);
    draw();
  }

  function start() {
    document.querySelectorAll(".table-box.searchable").forEach(function (box, number) {
      var table = box.querySelector("table");
      if (!table || !table.tHead || table.tBodies[0].rows.length < 2) return;
      var rows = box.nextElementSibling;
      if (rows && rows.matches("script.table-rows")) paged(box, table, JSON.parse(rows.textContent), number);
      else whole(box, table, number);
    });
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
