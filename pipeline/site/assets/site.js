// What every page of the site shares: theme, loading of data by <script> (a page opened as a file may not fetch), numbers.
var EvidenceSite = (function () {
  "use strict";
  var root = document.documentElement;
  var KEY = "evidence-chain-theme";
  var system = window.matchMedia ? window.matchMedia("(prefers-color-scheme: dark)") : null;
  var DASH = "\u2013", MINUS = "\u2212";
  var site = { runs: [], known: Object.create(null), metricOrder: [], restyle: [] };

  // Storage is refused in some sandboxes; the choice then lasts as long as the page.
  function stored() {
    try { return window.localStorage.getItem(KEY); } catch (error) { return null; }
  }
  function store(theme) {
    try { window.localStorage.setItem(KEY, theme); } catch (error) { /* stays for this page only */ }
  }
  site.isDark = function () {
    var chosen = root.getAttribute("data-theme");
    return chosen ? chosen === "dark" : Boolean(system && system.matches);
  };
  var before = stored();
  if (before === "dark" || before === "light") root.setAttribute("data-theme", before);

  function changed() { site.restyle.forEach(function (one) { one(); }); }
  function addToggle() {
    var toggle = document.querySelector(".theme-toggle");
    if (!toggle) return;
    function show() { toggle.textContent = site.isDark() ? "Light theme" : "Dark theme"; }
    toggle.hidden = false;
    toggle.addEventListener("click", function () {
      var theme = site.isDark() ? "light" : "dark";
      root.setAttribute("data-theme", theme);
      store(theme);
      show();
      changed();
    });
    if (system && system.addEventListener) system.addEventListener("change", function () { show(); changed(); });
    show();
  }

  // Elements. Text is only ever set as text.
  site.el = function (name, attributes, children) {
    var made = document.createElement(name);
    Object.keys(attributes || {}).forEach(function (key) {
      var value = attributes[key];
      if (key === "text") made.textContent = value;
      else if (key === "on") Object.keys(value).forEach(function (type) { made.addEventListener(type, value[type]); });
      else if (value === true) made.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
    });
    (children || []).forEach(function (child) { if (child) made.appendChild(child); });
    return made;
  };
  site.svg = function (name, attributes) {
    var made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.keys(attributes).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    return made;
  };

  // Data.
  site.root = function () { return document.body.getAttribute("data-root") || ""; };
  function load(path, done, failed) {
    var script = document.createElement("script");
    script.src = site.root() + path;
    script.onload = done;
    script.onerror = failed || done;
    document.head.appendChild(script);
  }
  var head = null;
  var loaded = null;
  site.head = function (given) { head = given; };
  site.shard = function (metrics, rows) {
    loaded = rows.map(function (row) {
      var stats = {};
      for (var i = 0; i < metrics.length; i += 1) stats[metrics[i]] = row[16 + i];
      return {
        id: row[0], name: row[1] || "Run " + row[0].slice(0, 8), status: row[2], seal: row[3], started: row[4],
        strategy: row[5], symbol: row[6], experiment: row[7], tags: row[8], spark: row[9], look_ahead: row[10],
        data: row[11], found: row[12], engine: row[13], reconciled: row[14], period: row[15], stats: stats,
        text: (row[1] + " " + row[0] + " " + row[5] + " " + row[6] + " " + row[7] + " " + row[8].join(" ") + " " + row[11] + " " + row[12] + " " + row[13]).toLowerCase()
      };
    });
  };
  // Calls back after the first shard, which has the latest runs, and when all are there.
  site.loadRuns = function (progress) {
    load("data/head.js", function () {
      var names = head ? head.shards : [];
      var parts = [], missing = 0, waiting = names.length;
      function one(place) {
        load("data/" + names[place], function () {
          parts[place] = loaded || [];
          missing += loaded ? 0 : 1;
          loaded = null;
          finished(place);
        });
      }
      function finished(place) {
        waiting -= 1;
        if (waiting && place) return;
        site.runs = [].concat.apply([], parts.map(function (part) { return part || []; }));
        progress({ done: waiting === 0, missing: missing, total: head ? head.runs : 0 });
        if (place === 0) for (var next = 1; next < names.length; next += 1) one(next);
      }
      if (names.length) one(0); else progress({ done: true, missing: 0, total: 0 });
    });
  };
  var detail = null;
  site.run = function (given) { detail = given; };
  site.loadRun = function (id, done) {
    load("runs/" + id + "/data.js", function () {
      var found = detail;
      detail = null;
      done(found && found.run_id === id ? found : null);
    }, function () { done(null); });
  };
  site.pageOf = function (id) { return site.root() + "runs/" + id + "/index.html"; };

  // Numbers, as the reports write them.
  site.metrics = function (rows) {
    rows.forEach(function (row) {
      site.known[row[0]] = { label: row[1], kind: row[2], meaning: row[3] };
      site.metricOrder.push(row[0]);
    });
  };
  site.metric = function (name) { return site.known[name] || { label: name, kind: "number", meaning: "" }; };
  site.ordered = function (names) {
    var known = site.metricOrder.filter(function (name) { return names.indexOf(name) >= 0; });
    return known.concat(names.filter(function (name) { return !site.known[name]; }).sort());
  };
  function fixed(value, digits) {
    return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }
  // Four significant digits, or as many decimals as `digits` says.
  function significant(value, digits) {
    var size = Math.abs(value);
    if (value !== 0 && (size < 1e-4 || size >= 1e15)) return value.toExponential(3);
    return fixed(value, digits === undefined ? decimalsOf(value) : digits);
  }
  function decimalsOf(value) {
    return Number.isInteger(value) ? 0 : Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value))));
  }
  // How many decimals numbers beside each other all have: those of the one that needs most. Kinds with a number of
  // decimals of their own need none.
  site.digitsOf = function (values, kind) {
    if (FORMATS[kind] && kind !== "number") return undefined;
    var known = values.filter(function (value) { return typeof value === "number" && isFinite(value); });
    return Math.max.apply(null, known.map(decimalsOf).concat([0]));
  };
  var FORMATS = {
    percent: function (value) { return fixed(value * 100, 2) + "%"; },
    points: function (value) { return fixed(value * 100, 2) + " pp"; },
    ratio: function (value) { return fixed(value, 2); },
    money: function (value) { return fixed(value, 2); },
    count: function (value) { return fixed(value, 0); },
    flag: function (value) { return value ? "yes" : "no"; },
    number: significant
  };
  site.format = function (value, kind, digits) {
    if (typeof value !== "number" || !isFinite(value)) return DASH;
    var text = (FORMATS[kind] || significant)(value, digits);
    return /[1-9]/.test(text) ? text.replace("-", MINUS) : text.replace("-", "");
  };
  site.count = function (value) { return fixed(value, 0); };
  site.plural = function (number, one, many) { return fixed(number, 0) + " " + (number === 1 ? one : many); };

  site.SEALS = {
    signed: ["finished", "Signature and seal match"], sealed: ["finished", "Seal matches"],
    broken: ["failed", "Seal broken"], unsealed: ["killed", "Not sealed"]
  };
  site.LOOK_AHEAD = {
    leak: ["failed", "Looks ahead"], unjudged: ["killed", "Look-ahead cannot be judged"],
    stochastic: ["killed", "Look-ahead unknown"]
  };
  site.lookAheadMarks = function (found) {
    var said = site.LOOK_AHEAD[found];
    return said ? [site.el("span", { "class": "mark mark-" + said[0], text: said[1] })] : [];
  };
  site.partsMarks = function (found) {
    return found === "NOT RECONCILED" ? [site.el("span", { "class": "mark mark-failed", text: "Parts disagree" })] : [];
  };
  site.sealMark = function (seal) {
    var said = site.SEALS[seal] || ["killed", seal];
    return site.el("span", { "class": "mark mark-" + said[0], text: said[1] });
  };
  site.statusMark = function (status) {
    return site.el("span", { "class": "mark mark-" + status.toLowerCase(), text: status });
  };

  // State in the address, so that a link shows the same.
  site.readHash = function () {
    var found = {};
    new URLSearchParams(window.location.hash.slice(1)).forEach(function (value, key) { found[key] = value; });
    return found;
  };
  site.writeHash = function (values) {
    var params = new URLSearchParams();
    Object.keys(values).forEach(function (key) { if (values[key]) params.set(key, values[key]); });
    var text = "#" + params.toString().replace(/%2C/g, ",");
    if (text === (window.location.hash || "#")) return;
    try { window.history.replaceState(null, "", text); } catch (error) { window.location.replace(text); }
  };

  site.ready = function (start) {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
    else start();
  };
  site.ready(addToggle);
  return site;
})();
