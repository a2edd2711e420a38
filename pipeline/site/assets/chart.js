// Figures of the site: they follow the theme, and tell runs apart by colour and by dash.
(function () {
  "use strict";
  var site = EvidenceSite, el = site.el;
  var LIGHT = ["#0b5fa5", "#b3470b", "#0d6b58", "#8a3f8f", "#7a6200", "#1b2330", "#2b7fb8", "#6b7480"];
  var DARK = ["#6db3ee", "#f0935a", "#63c9ae", "#d8a0dc", "#e0c341", "#e4e8ee", "#a9d6f5", "#a0a9b5"];
  var DASHES = ["solid", "solid", "solid", "dash", "dash", "dot", "dashdot", "longdash"];
  var CONFIG = { responsive: true, displaylogo: false, plotlyServerURL: "",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]] };
  var FEWEST = 10; // runs, for a histogram
  var drawn = [];

  site.colour = function (i) { return (site.isDark() ? DARK : LIGHT)[i % LIGHT.length]; };
  site.dash = function (i) { return DASHES[i % DASHES.length]; };
  // plotly reads some tags in names.
  site.plain = function (text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  };
  function variable(name) {
    var probe = el("span");
    probe.style.color = "var(--" + name + ")";
    document.body.appendChild(probe);
    var value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  }
  function axis(given, line) {
    return Object.assign({ gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true }, given);
  }
  function show(figure) {
    var line = variable("line"), muted = variable("muted");
    var layout = Object.assign({
      autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: muted },
      margin: { l: 56, r: 12, t: 8, b: 40 }, legend: { orientation: "h", y: -0.14 },
      hoverlabel: { bgcolor: variable("background"), bordercolor: line, font: { color: variable("text") } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: muted, activecolor: variable("strategy") },
      dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom"
    }, figure.layout);
    ["xaxis", "yaxis"].forEach(function (name) { layout[name] = axis(figure.layout[name], line); });
    window.Plotly.react(figure.place, figure.traces(), layout, CONFIG);
  }
  // `traces` is a function, called again when the theme changes.
  site.draw = function (place, traces, layout) {
    if (!window.Plotly) return;
    var figure = { place: place, traces: traces, layout: layout };
    drawn = drawn.filter(function (one) { return one.place !== place && document.body.contains(one.place); }).concat([figure]);
    show(figure);
  };
  site.restyle.push(function () { drawn.forEach(show); });

  // How the results of an experiment are spread.
  function quantile(sorted, p) {
    var at = (sorted.length - 1) * p, low = Math.floor(at);
    return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
  }
  function bins(values) {
    var low = values[0], high = values[values.length - 1];
    var number = Math.max(5, Math.min(40, Math.ceil(Math.sqrt(values.length)) * 2));
    var width = (high - low) / number || 1;
    var counts = Array.from({ length: number }, function () { return 0; });
    values.forEach(function (value) { counts[Math.min(number - 1, Math.floor((value - low) / width))] += 1; });
    return { x: counts.map(function (_, i) { return low + (i + 0.5) * width; }), y: counts, width: width };
  }
  site.spread = function (experiment) {
    var place = document.querySelector(".spread");
    var runs = site.runs.filter(function (run) { return run.experiment === experiment; });
    var sharpes = runs.map(function (run) { return run.stats.sharpe; })
      .filter(function (value) { return typeof value === "number"; }).sort(function (a, b) { return a - b; });
    if (!place || sharpes.length < 2) return;
    var say = function (value) { return site.format(value, "ratio"); };
    var failed = runs.filter(function (run) { return run.status !== "FINISHED"; }).length;
    var text = site.plural(runs.length, "run", "runs") + (failed ? ", " + site.count(failed) + " of them not finished" : "") +
      ". Sharpe ratio: median " + say(quantile(sharpes, 0.5)) + ", half of the runs between " + say(quantile(sharpes, 0.25)) +
      " and " + say(quantile(sharpes, 0.75)) + ", all between " + say(sharpes[0]) + " and " + say(sharpes[sharpes.length - 1]) +
      ". The highest of many is high by luck as well.";
    var plot = el("div", { "class": "plot", id: "spread-plot", role: "group", "aria-label": "Histogram of the Sharpe ratios of this experiment" });
    place.hidden = false;
    place.replaceChildren(el("p", { text: text }));
    if (sharpes.length < FEWEST) return;
    place.appendChild(el("figure", {}, [plot,
      el("figcaption", { text: "Sharpe ratios of the runs of this experiment." })]));
    var found = bins(sharpes);
    site.draw(plot, function () {
      return [{ type: "bar", x: found.x, y: found.y, width: found.width * 0.94, marker: { color: site.colour(0) },
        hovertemplate: "%{x:.2f}: %{y} runs<extra></extra>" }];
    }, { height: 240, showlegend: false, xaxis: { title: { text: "Sharpe ratio" } }, yaxis: { title: { text: "Runs" } } });
  };
})();
