// The list of runs: search, filters, sorting by any metric, a choice to compare. The state is in the address.
(function () {
  "use strict";
  var site = EvidenceSite, el = site.el;
  var COLUMNS = ["total_return", "sharpe", "max_drawdown", "total_trades"];
  var FILTERS = [
    ["strategy", "Strategy", function (run) { return [run.strategy]; }],
    ["symbol", "Symbol", function (run) { return [run.symbol]; }],
    ["engine", "Engine", function (run) { return [run.engine]; }],
    ["experiment", "Experiment", function (run) { return [run.experiment]; }],
    ["tag", "Tag", function (run) { return run.tags; }],
    ["status", "Status", function (run) { return [run.status]; }],
    ["seal", "Seal", function (run) { return [run.seal]; }],
    ["reconciled", "Parts", function (run) { return [run.reconciled]; }]
  ];
  var SIZES = [25, 50, 100, 250];
  var MOST = 8;
  var LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  var place, locked, state, parts = {}, shown = [], loading = true, waiting = false;

  function defaults() {
    return { q: "", from: "", to: "", sort: "-started", metric: "", page: 1, size: 50, pick: [],
      strategy: "", symbol: "", engine: "", experiment: "", tag: "", status: "", seal: "", reconciled: "" };
  }
  function readState() {
    var given = site.readHash(), next = defaults();
    Object.keys(next).forEach(function (key) { if (given[key] !== undefined) next[key] = given[key]; });
    next.page = Math.max(1, parseInt(next.page, 10) || 1);
    next.size = SIZES.indexOf(Number(next.size)) >= 0 ? Number(next.size) : 50;
    next.pick = typeof next.pick === "string" ? next.pick.split(",").filter(Boolean).slice(0, MOST) : next.pick;
    return next;
  }
  function writeState() {
    var plain = defaults(), out = {};
    Object.keys(plain).forEach(function (key) {
      var value = key === "pick" ? state.pick.join(",") : state[key];
      if (String(value) !== String(plain[key])) out[key] = value;
    });
    site.writeHash(out);
  }

  // Which rows, in which order.
  function matching() {
    var words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    var wanted = FILTERS.filter(function (filter) { return state[filter[0]]; });
    return site.runs.filter(function (run) {
      if (locked && run.experiment !== locked) return false;
      if (state.from && run.started.slice(0, 10) < state.from) return false;
      if (state.to && run.started.slice(0, 10) > state.to) return false;
      return words.every(function (word) { return run.text.indexOf(word) >= 0; }) &&
        wanted.every(function (filter) { return filter[2](run).indexOf(state[filter[0]]) >= 0; });
    });
  }
  function keyOf(name) {
    if (name === "started" || name === "name" || name === "status" || name === "data") {
      return function (run) { return run[name].toLowerCase() || null; };
    }
    return function (run) { var value = run.stats[name]; return typeof value === "number" ? value : null; };
  }
  function later_(a, b) {
    var one = a.started + a.id, other = b.started + b.id;
    return one === other ? 0 : one > other ? -1 : 1;
  }
  function ordered(runs) {
    var down = state.sort[0] === "-", key = keyOf(state.sort.replace(/^-/, ""));
    var keyed = runs.map(function (run) { return { run: run, key: key(run) }; });
    // What does not match its seal ranks last; equals are in one order whatever the list is sorted by: the latest first.
    keyed.sort(function (a, b) {
      var broken = (a.run.seal === "broken") - (b.run.seal === "broken");
      if (broken && state.sort !== "-started") return broken;
      if (a.key === b.key) return later_(a.run, b.run);
      if (a.key === null) return 1;
      if (b.key === null) return -1;
      return (a.key < b.key ? -1 : 1) * (down ? -1 : 1);
    });
    return keyed.map(function (item) { return item.run; });
  }

  // Controls.
  function field(label, control) {
    control.id = "find-" + label.toLowerCase().replace(/ /g, "-");
    return el("div", { "class": "field" }, [el("label", { "for": control.id, text: label }), control]);
  }
  function set(key, value) {
    state[key] = value;
    state.page = 1;
    if (key === "metric" && value) state.sort = "-" + value;
    later();
  }
  function later() {
    if (waiting) return;
    waiting = true;
    window.requestAnimationFrame(function () { waiting = false; writeState(); render(); });
  }
  function chooser(key, label) {
    var made = el("select", { on: { change: function () { set(key, made.value); } } });
    parts[key] = made;
    return field(label, made);
  }
  function textInput(key, label, type) {
    var made = el("input", { type: type, on: { input: function () { set(key, made.value); } } });
    parts[key] = made;
    return field(label, made);
  }
  function build() {
    var filters = FILTERS.filter(function (filter) { return !(locked && filter[0] === "experiment"); });
    var controls = [textInput("q", "Search", "search")];
    filters.forEach(function (filter) { controls.push(chooser(filter[0], filter[1])); });
    controls.push(textInput("from", "Started from", "date"), textInput("to", "Started to", "date"), chooser("metric", "Sort by"));
    var reset = el("button", { type: "button", text: "Reset", on: { click: function () {
      state = Object.assign(defaults(), { pick: state.pick });
      later();
    } } });
    var more = el("button", { type: "button", "class": "more-filters", "aria-expanded": "false", text: "Filters", on: { click: function () {
      more.setAttribute("aria-expanded", String(parts.filters.classList.toggle("open")));
    } } });
    parts.filters = el("form", { "class": "filters", role: "search", "aria-label": "Find runs",
      on: { submit: function (event) { event.preventDefault(); } } }, controls.concat([more, reset]));
    parts.said = el("p", { "class": "note", role: "status" });
    parts.head = el("thead");
    parts.body = el("tbody");
    parts.table = el("table", {}, [el("caption", { "class": "unseen", text: "Runs" }), parts.head, parts.body]);
    var box = el("div", { "class": "table-box runs", tabindex: "0", role: "region", "aria-label": "List of runs" }, [parts.table]);
    parts.pages = el("nav", { "class": "pages", "aria-label": "Pages of the list" });
    parts.chosen = el("div", { "class": "chosen", role: "group", "aria-label": "Chosen runs", hidden: true });
    [parts.filters, parts.said, box, parts.pages, parts.chosen].forEach(function (part) { place.appendChild(part); });
    buildPages();
    buildChosen();
  }
  function fillChoosers() {
    FILTERS.forEach(function (filter) {
      if (!parts[filter[0]]) return;
      var counts = new Map();
      site.runs.forEach(function (run) {
        if (locked && run.experiment !== locked) return;
        filter[2](run).forEach(function (value) { if (value) counts.set(value, (counts.get(value) || 0) + 1); });
      });
      if (state[filter[0]] && !counts.has(state[filter[0]])) counts.set(state[filter[0]], 0);
      var options = [["", "All"]].concat(Array.from(counts.keys()).sort().map(function (value) {
        var label = filter[0] === "seal" ? (site.SEALS[value] || ["", value])[1] : filter[0] === "reconciled" ? value.toLowerCase() : value;
        return [value, label + " (" + site.count(counts.get(value)) + ")"];
      }));
      fill(parts[filter[0]], options);
    });
    var names = new Set();
    site.runs.forEach(function (run) { Object.keys(run.stats).forEach(function (name) { names.add(name); }); });
    fill(parts.metric, [["", "Column headings"]].concat(site.ordered(Array.from(names)).map(function (name) {
      return [name, site.metric(name).label];
    })));
  }
  function fill(select, options) {
    select.replaceChildren.apply(select, options.map(function (option) {
      return el("option", { value: option[0], text: option[1] });
    }));
  }
  function showControls() {
    ["q", "from", "to", "metric"].concat(FILTERS.map(function (filter) { return filter[0]; })).forEach(function (key) {
      if (parts[key] && parts[key].value !== state[key]) parts[key].value = state[key];
    });
  }

  // Table.
  function columns() {
    return state.metric && COLUMNS.indexOf(state.metric) < 0 ? COLUMNS.concat([state.metric]) : COLUMNS;
  }
  function heading(key, label, kind, title) {
    var now = state.sort.replace(/^-/, "") === key;
    var button = el("button", { type: "button", "class": "sort", "data-sort": key, text: label, title: title || null,
      on: { click: function () {
        var first = key === "name" || key === "status" || key === "data" ? key : "-" + key;
        state.sort = state.sort === first ? (first[0] === "-" ? key : "-" + key) : first;
        state.page = 1;
        later();
      } } });
    return el("th", { scope: "col", "class": kind || null,
      "aria-sort": now ? (state.sort[0] === "-" ? "descending" : "ascending") : null }, [button]);
  }
  function renderHead() {
    var focused = document.activeElement && document.activeElement.getAttribute("data-sort");
    var cells = [el("th", { scope: "col", "class": "pick" }, [el("span", { "class": "unseen", text: "Compare" })]),
      heading("name", "Run", "run-head"), el("th", { scope: "col", "class": "spark-head", text: "Equity" }),
      heading("started", "Started", "when"), heading("data", "Data", "data", "The first digits of the SHA-256 of the data"),
      heading("status", "Status", "state")];
    columns().forEach(function (name) {
      var known = site.metric(name);
      cells.push(heading(name, known.label, "num " + (name === state.metric ? "asked" : "m-" + name), known.meaning));
    });
    parts.head.replaceChildren(el("tr", { "aria-rowindex": "1" }, cells));
    if (focused) {
      var again = parts.head.querySelector("[data-sort='" + CSS.escape(focused) + "']");
      if (again) again.focus();
    }
  }
  function sparkline(text) {
    var picture = site.svg("svg", { "class": "spark", viewBox: "0 0 78 26", "aria-hidden": "true", focusable: "false" });
    if (text.length < 2) return picture;
    var y = function (c) { return (24.5 - LEVELS.indexOf(c) / 63 * 23).toFixed(1); };
    var base = y(text[0]);
    var d = Array.prototype.map.call(text, function (c, i) { return (i * 78 / (text.length - 1)).toFixed(1) + "," + y(c); });
    picture.appendChild(site.svg("line", { x1: 0, x2: 78, y1: base, y2: base, "class": "spark-base" }));
    picture.appendChild(site.svg("polyline", { points: d.join(" "), "class": "spark-line" }));
    return picture;
  }
  function row(run, index) {
    var picked = state.pick.indexOf(run.id) >= 0;
    var box = el("input", { type: "checkbox", "aria-label": "Compare " + run.name + ", " + run.id.slice(0, 8),
      "data-run": run.id, on: { change: function () { pick(run, box.checked); } } });
    box.checked = picked;
    var facts = [run.strategy, run.symbol, run.period, run.engine, locked ? "" : run.experiment].concat(run.tags).filter(Boolean).join(" \u00b7 ");
    var cells = [
      el("td", { "class": "pick" }, [box]),
      el("th", { scope: "row", "class": "name" }, [el("a", { href: site.pageOf(run.id), text: run.name }),
        el("code", { text: run.id.slice(0, 8) }), run.found ? el("span", { "class": "found", text: run.found }) : null,
        el("span", { "class": "facts-line", text: facts })]),
      el("td", { "class": "spark-cell" }, [sparkline(run.spark)]),
      el("td", { "class": "when", text: run.started.replace("T", " ").slice(0, 16) || "\u2013" }),
      el("td", { "class": "data" }, [el("code", { text: run.data || "\u2013" })]),
      el("td", { "class": "state" }, [site.statusMark(run.status), site.sealMark(run.seal)].concat(site.lookAheadMarks(run.look_ahead), site.partsMarks(run.reconciled)))
    ];
    columns().forEach(function (name) {
      var kind = name === state.metric ? "asked" : "m-" + name;
      cells.push(el("td", { "class": "num " + kind, text: site.format(run.stats[name], site.metric(name).kind) }));
    });
    return el("tr", { "aria-rowindex": String(index + 2), "class": run.seal === "broken" ? "broken" : null,
      title: run.seal === "broken" ? "The files of this run differ from its seal" : null }, cells);
  }
  function render() {
    shown = ordered(matching());
    var last = Math.max(1, Math.ceil(shown.length / state.size));
    if (!loading) state.page = Math.min(state.page, last);
    var start = (state.page - 1) * state.size;
    showControls();
    renderHead();
    parts.body.replaceChildren.apply(parts.body, shown.slice(start, start + state.size).map(function (run, i) {
      return row(run, start + i);
    }));
    parts.table.setAttribute("aria-rowcount", String(shown.length + 1));
    var all = locked ? site.runs.filter(function (run) { return run.experiment === locked; }).length : site.runs.length;
    parts.said.textContent = loading ? "Loading\u2026"
      : shown.length === all ? site.plural(all, "run", "runs") : site.count(shown.length) + " of " + site.plural(all, "run", "runs");
    renderPages(last);
    renderChosen();
  }

  // Pages and the choice. Built once, so that the focus stays where it is.
  function turn(to) {
    return function () { state.page = to(); writeState(); render(); parts.filters.scrollIntoView({ block: "start" }); };
  }
  function buildPages() {
    parts.before = el("button", { type: "button", text: "Previous", on: { click: turn(function () { return state.page - 1; }) } });
    parts.where = el("span");
    parts.after = el("button", { type: "button", text: "Next", on: { click: turn(function () { return state.page + 1; }) } });
    parts.size = el("select", { on: { change: function () { set("size", Number(parts.size.value)); } } });
    fill(parts.size, SIZES.map(function (size) { return [size, String(size)]; }));
    [parts.before, parts.where, parts.after, field("Rows", parts.size)].forEach(function (part) { parts.pages.appendChild(part); });
  }
  function renderPages(last) {
    parts.before.disabled = state.page <= 1;
    parts.after.disabled = state.page >= last;
    parts.where.textContent = "Page " + site.count(state.page) + " of " + site.count(last);
    parts.size.value = String(state.size);
  }
  function pick(run, on) {
    var at = state.pick.indexOf(run.id);
    if (on && at < 0) state.pick.push(run.id);
    if (!on && at >= 0) state.pick.splice(at, 1);
    writeState();
    renderChosen();
  }
  function buildChosen() {
    parts.count = el("span", { role: "status" });
    parts.compare = el("a", { "class": "button", text: "Compare" });
    parts.clear = el("button", { type: "button", text: "Clear", on: { click: function () { state.pick = []; later(); } } });
    [parts.count, parts.compare, parts.clear].forEach(function (part) { parts.chosen.appendChild(part); });
  }
  function renderChosen() {
    var number = state.pick.length;
    parts.chosen.hidden = number === 0;
    parts.count.textContent = number === 1 ? "1 run chosen; choose one more to compare"
      : site.count(number) + " runs chosen" + (number === MOST ? ", which is the most" : "");
    if (number > 1) parts.compare.setAttribute("href", site.root() + "compare.html#runs=" + state.pick.join(","));
    parts.compare.hidden = number < 2;
    parts.body.querySelectorAll("input[data-run]").forEach(function (box) {
      box.disabled = !box.checked && number >= MOST;
    });
  }

  function countGroups() {
    document.querySelectorAll("[data-item]").forEach(function (item) {
      var name = item.getAttribute("data-item");
      var number = site.runs.filter(function (run) { return run.experiment === name; }).length;
      item.querySelectorAll(".note").forEach(function (old) { old.remove(); });
      item.appendChild(el("span", { "class": "note", text: " " + site.plural(number, "run", "runs") }));
    });
  }
  site.ready(function () {
    place = document.getElementById("listing");
    if (!place) {
      if (document.querySelector("[data-item]")) site.loadRuns(function (now) { if (now.done) countGroups(); });
      return;
    }
    locked = place.getAttribute("data-experiment") || "";
    state = readState();
    build();
    site.loadRuns(function (now) {
      loading = !now.done;
      if (now.done) fillChoosers();
      render();
      if (now.missing) parts.said.textContent += " (" + site.plural(now.missing, "part", "parts") + " of the list could not be loaded)";
      if (now.done) {
        place.setAttribute("data-ready", "");
        if (locked && site.spread) site.spread(locked);
      }
    });
    window.addEventListener("hashchange", function () { state = readState(); render(); });
  });
})();
