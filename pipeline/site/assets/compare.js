// Compare two to eight runs: curves from a common start, metrics, params, and what stands against comparing them.
(function () {
  "use strict";
  var site = EvidenceSite, el = site.el;
  var MOST = 8, DRAWN = 1600;
  var place, runs = [], onlyDifferences = true;

  function bytes(text) {
    var raw = window.atob(text), out = new Uint8Array(raw.length);
    for (var i = 0; i < raw.length; i += 1) out[i] = raw.charCodeAt(i);
    return new DataView(out.buffer);
  }
  // The thinned curve as seconds and equity.
  function curve(run) {
    if (!run.curve) return null;
    var steps = bytes(run.curve.steps), equity = bytes(run.curve.equity);
    var time = [run.curve.first], values = [];
    for (var i = 0; i < steps.byteLength / 4; i += 1) time.push(time[i] + steps.getUint32(4 * i, true) * run.curve.unit);
    for (var j = 0; j < equity.byteLength / 4; j += 1) values.push(equity.getFloat32(4 * j, true));
    return { time: time, values: values };
  }
  function common(list) {
    var with_ = list.filter(function (run) { return run.points; });
    if (!with_.length) return null;
    var start = Math.max.apply(null, with_.map(function (run) { return run.curve.first; }));
    var end = Math.min.apply(null, with_.map(function (run) { return run.curve.last; }));
    return start < end ? [start, end] : null;
  }
  // Equity from 100 at the start of the window, and the fall below its highest value inside the window. Where a thinned
  // curve stood at the start is not known: it begins with its first point in the window.
  function rebased(run, span) {
    var time = run.points.time, values = run.points.values, base = null, high = 0;
    var out = { time: [], equity: [], drawdown: [] };
    time.forEach(function (at, i) {
      if (span && at <= span[0] && (!isThinned(run) || at === span[0])) base = values[i];
      if (span && (at < span[0] || at > span[1])) return;
      if (base === null) base = values[i];
      var level = values[i] / base * 100;
      high = Math.max(high, level);
      out.time.push(at);
      out.equity.push(level);
      out.drawdown.push(level / high - 1);
    });
    return out;
  }
  function isThinned(run) { return run.curve.bars > run.points.time.length; }
  // What is drawn of a curve: of each of some hundred stretches the lowest and highest equity and the deepest fall.
  function drawnPoints(curve) {
    var n = curve.time.length, stretches = DRAWN / 4;
    if (n <= DRAWN) return curve.time.map(function (_, i) { return i; });
    var kept = new Set([0, n - 1]);
    for (var k = 0; k < stretches; k += 1) {
      var end = Math.floor((k + 1) * n / stretches), first = Math.floor(k * n / stretches);
      var low = first, high = first, deep = first;
      for (var i = first; i < end; i += 1) {
        if (curve.equity[i] < curve.equity[low]) low = i;
        if (curve.equity[i] > curve.equity[high]) high = i;
        if (curve.drawdown[i] < curve.drawdown[deep]) deep = i;
      }
      kept.add(low).add(high).add(deep);
    }
    return Array.from(kept).sort(function (a, b) { return a - b; });
  }
  function iso(seconds) { return new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " "); }
  function day(seconds) { return iso(seconds).slice(0, 10); }
  function letter(i) { return String.fromCharCode(65 + i); }
  function letters(list) { return list.map(function (run) { return run.letter; }).join(", "); }

  // What the equity starts from, as return and end tell; 0 where they do not.
  function capital(run) {
    var end = run.stats.final_equity, grown = run.stats.total_return;
    return typeof end === "number" && typeof grown === "number" && grown > -1 ? end / (1 + grown) : 0;
  }
  function otherCapital() {
    var known = runs.map(capital).filter(Boolean);
    return known.length > 1 && Math.max.apply(null, known) > 1.001 * Math.min.apply(null, known);
  }

  // What stands against a comparison.
  function cautions(span) {
    var said = [];
    var groups = new Map();
    var unknown = runs.filter(function (run) { return !run.data_sha256; });
    if (unknown.length) said.push("Unknown data: " + letters(unknown) + " recorded no digest of the data.");
    runs.forEach(function (run) {
      var key = run.data_sha256 || run.run_id; // of unknown data nobody knows that they are the same
      groups.set(key, (groups.get(key) || []).concat([run]));
    });
    var known = Array.from(groups.values()).filter(function (group) { return group[0].data_sha256; });
    if (known.length > 1) {
      said.push("Different data: " + known.map(letters).join(" / ") +
        " were made from different data files, so their numbers are not about the same market.");
    }
    if (otherCapital()) {
      said.push("Different capital: " + runs.filter(capital).map(function (run) {
        return run.letter + " starts from " + site.format(capital(run), "money");
      }).join(", ") + ", so sums of money are not compared.");
    }
    said = said.concat(otherConventions(Array.from(groups.values())));
    var drawn = runs.filter(function (run) { return run.points; });
    if (drawn.length < runs.length) {
      said.push("No curve: " + letters(runs.filter(function (run) { return !run.points; })) + " left no equity curve that can be drawn.");
    }
    if (span) {
      var outside = drawn.filter(function (run) { return !run.shown.time.length; });
      if (outside.length) said.push("Nothing to draw: " + letters(outside) + " has no point in the common period.");
      var thinned = drawn.filter(function (run) { return isThinned(run) && run.shown.time.length; });
      if (thinned.length) {
        said.push("Thinned curves: " + thinned.map(function (run) {
          return run.letter + " has " + site.count(run.curve.bars) + " bars, of which " +
            site.count(run.points.time.length) + " are on this page, " + site.count(run.shown.time.length) +
            " of them in the common period";
        }).join("; ") + ". Lows and highs are kept; a curve may begin and end some bars off.");
      }
    }
    if (drawn.length > 1 && !span) {
      said.push("No common period: there is no time that all runs cover. Each curve starts at 100 on its own first day.");
    } else if (span) {
      var partly = drawn.filter(function (run) {
        return (span[1] - span[0]) < 0.999 * (run.curve.last - run.curve.first);
      });
      if (partly.length) {
        said.push("Different periods: curves show the common period, " + day(span[0]) + " to " + day(span[1]) + ". " +
          partly.map(function (run) {
            var share = (span[1] - span[0]) / (run.curve.last - run.curve.first);
            return run.letter + " runs from " + day(run.curve.first) + " to " + day(run.curve.last) + " (" +
              Math.round(share * 100) + " % of it is common)";
          }).join("; ") + ". Metrics are of each whole run.");
      }
    }
    var weak = runs.filter(function (run) {
      return run.seal === "broken" || run.seal === "unsealed" || run.status !== "FINISHED" || site.LOOK_AHEAD[run.look_ahead];
    });
    if (weak.length) {
      said.push("Weak evidence: " + weak.map(function (run) {
        var ahead = site.LOOK_AHEAD[run.look_ahead];
        return run.letter + " (" + run.status + ", " + (site.SEALS[run.seal] || ["", run.seal])[1].toLowerCase() +
          (ahead ? ", " + ahead[1].toLowerCase() : "") + ")";
      }).join(", ") + ".");
    }
    return said;
  }
  // Annual figures of the same data are only alike under the same conventions; a rate nobody recorded counts as 0.
  function otherConventions(sameData) {
    var said = [];
    var currencies = runs.map(function (run) { return run.currency || "unknown"; });
    if (new Set(currencies).size > 1) {
      said.push("Different currencies: " + runs.map(function (run, i) { return run.letter + " " + currencies[i]; }).join(", ") +
        ", so their amounts are not to be compared.");
    }
    var rates = runs.map(function (run) { return run.risk_free_rate || 0; });
    if (new Set(rates).size > 1) {
      said.push("Different risk-free rates: " + runs.map(function (run, i) { return run.letter + " " + site.format(rates[i], "percent"); }).join(", ") +
        " a year, so their Sharpe and Sortino ratios are not of the same kind.");
    }
    sameData.forEach(function (group) {
      var bars = group.map(function (run) { return run.stats.periods_per_year; });
      if (new Set(bars).size > 1) {
        said.push("Different bars a year: " + group.map(function (run, i) { return run.letter + " " + site.format(bars[i], "number"); }).join(", ") +
          " on the same data, so their volatilities and ratios are annualised differently.");
      }
    });
    return said;
  }
  function cautionBox(span) {
    var said = cautions(span);
    if (!said.length) {
      return el("p", { "class": "note", text: "All runs share the same data and the same period" +
        (span ? ", " + day(span[0]) + " to " + day(span[1]) : "") + ". The best of several on the same data looks better than it is." });
    }
    var items = said.map(function (text) {
      var cut = text.indexOf(":");
      var item = el("li", {}, [el("strong", { text: text.slice(0, cut + 1) })]);
      item.appendChild(document.createTextNode(text.slice(cut + 1)));
      return item;
    });
    return el("div", { "class": "cautions", role: "note", "aria-label": "What stands against comparing these runs" }, [el("ul", {}, items)]);
  }

  // Tables.
  function key(run) {
    var mark = site.svg("svg", { "class": "key", viewBox: "0 0 26 8", "aria-hidden": "true" });
    var line = site.svg("line", { x1: 0, x2: 26, y1: 4, y2: 4, "stroke-width": 2.5, "stroke-dasharray": dashes(run.index) });
    mark.appendChild(line);
    site.restyle.push(function () { line.setAttribute("stroke", site.colour(run.index)); });
    line.setAttribute("stroke", site.colour(run.index));
    return mark;
  }
  function dashes(i) {
    return { solid: "none", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 4" }[site.dash(i)];
  }
  function runRow(run) {
    var drop = el("button", { type: "button", text: "Remove", "aria-label": "Remove " + run.letter + ", " + run.title,
      on: { click: function () { choose(runs.filter(function (other) { return other !== run; }).map(function (other) { return other.run_id; })); } } });
    var facts = [run.strategy, run.symbol, run.period, run.engine, run.experiment].concat(run.tags).filter(Boolean).join(" \u00b7 ");
    return el("tr", {}, [
      el("th", { scope: "row", "class": "letter" }, [el("span", { text: run.letter }), key(run)]),
      el("td", {}, [el("a", { href: site.pageOf(run.run_id), text: run.title }), el("span", { "class": "facts-line", text: facts })]),
      el("td", { text: run.curve ? day(run.curve.first) + " \u2013 " + day(run.curve.last) : "\u2013" }),
      el("td", {}, [el("code", { "class": "digest", text: (run.data_sha256 || "\u2013").slice(0, 12) })]),
      el("td", { "class": "state" }, [site.statusMark(run.status), site.sealMark(run.seal)].concat(site.lookAheadMarks(run.look_ahead), site.partsMarks(run.reconciled))),
      el("td", {}, [drop])
    ]);
  }
  function box(name, label, caption, heads, rows) {
    return el("div", { "class": "table-box " + name, tabindex: "0", role: "region", "aria-label": label }, [
      el("table", {}, [el("caption", { text: caption }), el("thead", {}, [el("tr", {}, heads)]), el("tbody", {}, rows)])
    ]);
  }
  function head(text, kind) { return el("th", { scope: "col", "class": kind || null, text: text }); }
  function metricRow(name) {
    var known = site.metric(name), first = runs[0].stats[name];
    var digits = site.digitsOf(runs.map(function (run) { return run.stats[name]; }), known.kind);
    var cells = runs.map(function (run, i) {
      var value = run.stats[name];
      var cell = el("td", { "class": run.seal === "broken" ? "num broken" : "num", text: site.format(value, known.kind, digits) });
      var apart = known.kind === "money" && otherCapital();
      if (i && typeof value === "number" && typeof first === "number" && known.kind !== "flag" && !apart) {
        var text = site.format(value - first, known.kind === "percent" ? "points" : known.kind, digits);
        cell.appendChild(el("span", { "class": "beside", text: (value > first && /[1-9]/.test(text) ? "+" : "") + text }));
      }
      return cell;
    });
    return el("tr", {}, [el("th", { scope: "row", title: known.meaning || null, text: known.label })].concat(cells));
  }
  function metricTable() {
    var names = new Set();
    runs.forEach(function (run) {
      Object.keys(run.stats).forEach(function (name) { if (run.stats[name] !== null) names.add(name); });
    });
    var heads = [head("Metric")].concat(runs.map(function (run) { return head(run.letter, "num"); }));
    return box("compared", "Metrics", "Metrics of each whole run; below them the difference to A, that of percentages in percentage points (pp)", heads,
      site.ordered(Array.from(names)).map(metricRow));
  }
  function periodTable(span) {
    var drawn = runs.filter(function (run) { return run.points && run.shown.time.length; });
    function row(label, kind, value) {
      return el("tr", {}, [el("th", { scope: "row", text: label })].concat(drawn.map(function (run) {
        return el("td", { "class": "num", text: site.format(value(run.shown), kind) });
      })));
    }
    var heads = [head("In the common period")].concat(drawn.map(function (run) { return head(run.letter, "num"); }));
    return box("compared period", "In the common period", "From " + day(span[0]) + " to " + day(span[1]) + ", of all points of the curves", heads, [
      row("Total return", "percent", function (curve) { return curve.equity.at(-1) / 100 - 1; }),
      row("Max drawdown", "percent", function (curve) { return Math.min.apply(null, [0].concat(curve.drawdown)); })
    ]);
  }
  function paramTable() {
    var names = new Set();
    runs.forEach(function (run) { Object.keys(run.params).forEach(function (name) { names.add(name); }); });
    var rows = Array.from(names).sort().map(function (name) {
      var values = runs.map(function (run) { return run.params[name]; });
      var same = values.every(function (value) { return JSON.stringify(value) === JSON.stringify(values[0]); });
      if (same && onlyDifferences) return null;
      return el("tr", { "class": same ? null : "differs" }, [el("th", { scope: "row" }, [el("code", { text: name })])].concat(
        values.map(function (value) { return el("td", { text: value === undefined ? "\u2013" : String(value) }); })));
    }).filter(Boolean);
    var heads = [head("Param")].concat(runs.map(function (run) { return head(run.letter); }));
    var toggle = el("button", { type: "button", "aria-pressed": String(!onlyDifferences), text: "Show equal ones too",
      on: { click: function () { onlyDifferences = !onlyDifferences; var again = params(); box_.replaceWith(again); again.querySelector("button").focus(); } } });
    var content = rows.length ? box("compared", "Params", onlyDifferences ? "Params that differ" : "All params", heads, rows)
      : el("p", { text: "No param differs." });
    var box_ = el("div", { id: "params" }, [toggle, content]);
    return box_;
  }
  function params() { return paramTable(); }

  // Figures.
  function figure(id, caption, label) {
    return el("figure", {}, [el("div", { "class": "plot", id: id, role: "group", "aria-label": label }), el("figcaption", { text: caption })]);
  }
  function draw() {
    var drawn = runs.filter(function (run) { return run.points; });
    var curves = drawn.map(function (run) {
      var points = drawnPoints(run.shown);
      function of(values) { return points.map(function (i) { return values[i]; }); }
      return { x: of(run.shown.time.map(iso)), equity: of(run.shown.equity), drawdown: of(run.shown.drawdown) };
    });
    function traces(part, template) {
      return function () {
        return drawn.map(function (run, i) {
          return { type: "scatter", mode: "lines", name: run.letter + " " + site.plain(run.title), x: curves[i].x, y: curves[i][part],
            line: { color: site.colour(run.index), dash: site.dash(run.index), width: 1.6 }, hovertemplate: template };
        });
      };
    }
    site.draw(document.getElementById("equity"), traces("equity", "%{y:.1f}"), {
      height: 420, hovermode: "x unified", xaxis: {}, yaxis: { title: { text: "Equity, start = 100" } }, showlegend: true });
    site.draw(document.getElementById("drawdown"), traces("drawdown", "%{y:.1%}"), {
      height: 240, hovermode: "x unified", xaxis: {}, yaxis: { title: { text: "Drawdown" }, tickformat: ".0%" }, showlegend: false });
  }

  function render(missing) {
    var span = common(runs);
    runs.forEach(function (run) { if (run.points) run.shown = rebased(run, span); });
    var heads = [head(""), head("Run"), head("Period"), head("Data"), head("Status"), head("")];
    heads[0] = el("th", { scope: "col" }, [el("span", { "class": "unseen", text: "Letter" })]);
    heads[5] = el("th", { scope: "col" }, [el("span", { "class": "unseen", text: "Remove" })]);
    var back = el("p", {}, [el("a", { href: site.root() + "index.html#pick=" + runs.map(function (run) { return run.run_id; }).join(","), text: "Choose other runs" })]);
    var parts = [];
    if (missing) parts.push(el("p", { "class": "cautions", role: "alert", text: site.plural(missing, "run is", "runs are") + " not on this site." }));
    if (runs.length < 2) parts.push(el("p", { "class": "empty", text: "Choose at least two runs to compare." }));
    if (runs.length) parts.push(box("chosen-runs", "Compared runs", "Compared runs", heads, runs.map(runRow)));
    parts.push(back);
    if (runs.length > 1) {
      parts.push(cautionBox(span));
      parts.push(el("h2", { text: "Equity and drawdown" }));
      parts.push(figure("equity", "Equity, each run from 100 at the start of what is shown.", "Line chart of the equity of the compared runs"));
      parts.push(figure("drawdown", "Fall below the highest value so far inside what is shown.", "Line chart of the drawdown of the compared runs"));
      if (span) parts.push(periodTable(span));
      parts.push(el("h2", { text: "Metrics" }), metricTable(), el("h2", { text: "Params" }), params());
    }
    place.replaceChildren.apply(place, parts);
    if (runs.length > 1) draw();
    place.setAttribute("data-ready", "");
  }
  function choose(ids) {
    site.writeHash({ runs: ids.join(",") });
    open();
  }
  function open() {
    var ids = (site.readHash().runs || "").split(",").filter(function (id) { return /^[0-9a-f-]{36}$/.test(id); });
    ids = ids.filter(function (id, i) { return ids.indexOf(id) === i; }).slice(0, MOST);
    if (!ids.length) return;
    var found = [];
    place.removeAttribute("data-ready");
    (function next(i) {
      if (i < ids.length) {
        site.loadRun(ids[i], function (run) { if (run) found.push(run); next(i + 1); });
        return;
      }
      runs = found.map(function (run, index) {
        var title = run.name || "Run " + run.run_id.slice(0, 8);
        return Object.assign(run, { letter: letter(index), index: index, points: curve(run), title: title });
      });
      render(ids.length - found.length);
    })(0);
  }
  site.ready(function () {
    place = document.getElementById("compare");
    if (!place) return;
    open();
    window.addEventListener("hashchange", open);
  });
})();
