// What moves in the report: light and dark, the figures and their controls, contents, copying. Works without any of it.
(function () {
  "use strict";
  var root = document.documentElement;
  var KEY = "evidence-chain-theme";
  var system = window.matchMedia ? window.matchMedia("(prefers-color-scheme: dark)") : null;

  // Storage is refused in some sandboxes; the choice then lasts as long as the page.
  function stored() {
    try { return window.localStorage.getItem(KEY); } catch (error) { return null; }
  }
  function store(theme) {
    try { window.localStorage.setItem(KEY, theme); } catch (error) { /* stays for this page only */ }
  }
  function isDark() {
    var chosen = root.getAttribute("data-theme");
    return chosen ? chosen === "dark" : Boolean(system && system.matches);
  }
  var before = stored();
  if (before === "dark" || before === "light") root.setAttribute("data-theme", before);

  function colour(name) {
    var probe = document.createElement("span");
    probe.style.color = "var(--" + name + ")";
    document.body.appendChild(probe);
    var value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  }
  function palette() {
    var names = ["strategy", "benchmark", "drawdown", "gain", "loss", "text", "muted", "line", "background"];
    for (var i = 1; i <= 8; i += 1) names.push("series" + i);
    var found = {};
    names.forEach(function (name) { found[name] = colour(name); });
    return found;
  }
  function faded(rgb) {
    return rgb.replace(/^rgb\(([^)]*)\)$/, "rgba($1, 0.18)");
  }

  function styledTraces(traces, colours) {
    return traces.map(function (trace) {
      var own = colours[(trace.meta || {}).role];
      if (!own) return trace;
      var styled = Object.assign({}, trace);
      if (trace.type === "bar" || trace.mode === "markers") styled.marker = Object.assign({}, trace.marker, { color: own });
      else styled.line = Object.assign({}, trace.line, { color: own });
      if (trace.fill) styled.fillcolor = trace.meta.solid ? own : faded(own);
      return styled;
    });
  }
  function styledLayout(layout, colours) {
    var styled = Object.assign({}, layout, {
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colours.muted },
      hoverlabel: { bgcolor: colours.background, bordercolor: colours.line, font: { color: colours.text } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.muted, activecolor: colours.strategy },
      dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom"
    });
    if (layout.shapes) styled.shapes = layout.shapes.map(function (shape) {
      return shape.name === "window" ? Object.assign({ fillcolor: faded(colours.benchmark) }, shape) : shape;
    });
    Object.keys(layout).forEach(function (key) {
      if (!/^[xy]axis\d*$/.test(key)) return;
      styled[key] = Object.assign({
        gridcolor: colours.line, linecolor: colours.line, zerolinecolor: colours.line,
        spikecolor: colours.muted, spikethickness: 1, spikedash: "solid",
        showspikes: key.charAt(0) === "x",
        automargin: true, showgrid: key.charAt(0) === "y"
      }, layout[key]);
    });
    return styled;
  }
  // Buttons are listed one by one: plotly's own choice has one that uploads the figure's data to a server.
  var CONFIG = {
    responsive: true, displaylogo: false, plotlyServerURL: "",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]]
  };

  var figures = [];
  function readFigures() {
    document.querySelectorAll("script.plot-data").forEach(function (data) {
      var place = document.getElementById(data.getAttribute("data-for"));
      if (place) figures.push({ place: place, spec: JSON.parse(data.textContent) });
    });
  }
  function drawAll() {
    if (!window.Plotly) return;
    var colours = palette();
    figures.forEach(function (figure) {
      var layout = styledLayout(figure.spec.layout, colours);
      // Keep what the reader zoomed to when the theme changes.
      var now = figure.place.layout;
      if (now) Object.keys(figure.spec.layout).forEach(function (key) {
        if (!/^[xy]axis/.test(key) || !now[key]) return;
        ["range", "autorange", "type"].forEach(function (part) { layout[key][part] = now[key][part]; });
      });
      if (!now) figure.place.replaceChildren(); // the drawing for readers without scripts
      window.Plotly.react(figure.place, styledTraces(figure.spec.data, colours), layout, CONFIG);
    });
  }

  function button(text, label, action) {
    var made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", action);
    return made;
  }
  function group(label, buttons) {
    var box = document.createElement("div");
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", label);
    buttons.forEach(function (one) { box.appendChild(one); });
    return box;
  }
  function press(chosen) {
    Array.prototype.forEach.call(chosen.parentNode.children, function (one) {
      one.setAttribute("aria-pressed", String(one === chosen));
    });
  }
  function bounds(figure) {
    var x = figure.spec.data[0].x;
    return [x[0], x[x.length - 1]];
  }
  function rangeButtons(figure) {
    var ends = bounds(figure);
    var days = (Date.parse(ends[1]) - Date.parse(ends[0])) / 86400000;
    var buttons = [1, 3, 5, 10].filter(function (years) { return years * 365.25 < days; }).map(function (years) {
      return button(years + "Y", years + "Y: the last " + (years === 1 ? "year" : years + " years"), function (event) {
        var start = new Date(ends[1].slice(0, 10) + "T00:00:00Z");
        start.setUTCFullYear(start.getUTCFullYear() - years);
        window.Plotly.relayout(figure.place, { "xaxis.range": [start.toISOString().slice(0, 10), ends[1]] });
        press(event.currentTarget);
      });
    });
    if (!buttons.length) return null;
    var all = button("All", "All: the whole period", function (event) {
      window.Plotly.relayout(figure.place, { "xaxis.autorange": true });
      press(event.currentTarget);
    });
    all.setAttribute("aria-pressed", "true");
    return group("Period shown", buttons.concat([all]));
  }
  function scaleButtons(figure) {
    function scale(type) {
      return function (event) {
        window.Plotly.relayout(figure.place, { "yaxis.type": type, "yaxis.autorange": true });
        press(event.currentTarget);
      };
    }
    var linear = button("Linear", "Linear scale", scale("linear"));
    linear.setAttribute("aria-pressed", "true");
    return group("Scale of equity", [linear, button("Log", "Log scale", scale("log"))]);
  }
  function addTools(figure) {
    var wanted = (figure.place.getAttribute("data-tools") || "").split(" ");
    var tools = document.createElement("div");
    tools.className = "tools";
    var range = wanted.indexOf("range") >= 0 ? rangeButtons(figure) : null;
    if (range) tools.appendChild(range);
    if (wanted.indexOf("log") >= 0) tools.appendChild(scaleButtons(figure));
    if (tools.children.length) figure.place.parentNode.insertBefore(tools, figure.place);
  }

  function addToggle() {
    var toggle = document.querySelector(".theme-toggle");
    if (!toggle) return;
    function show() {
      toggle.textContent = isDark() ? "Light theme" : "Dark theme";
    }
    toggle.hidden = false;
    toggle.addEventListener("click", function () {
      var theme = isDark() ? "light" : "dark";
      root.setAttribute("data-theme", theme);
      store(theme);
      show();
      drawAll();
    });
    if (system && system.addEventListener) system.addEventListener("change", function () { show(); drawAll(); });
    show();
  }
  function addCopy() {
    if (!navigator.clipboard) return;
    document.querySelectorAll("button.copy").forEach(function (copy) {
      copy.hidden = false;
      copy.addEventListener("click", function () {
        navigator.clipboard.writeText(copy.parentNode.querySelector("pre").textContent).then(function () {
          copy.textContent = "Copied";
          window.setTimeout(function () { copy.textContent = "Copy"; }, 1500);
        }, function () { copy.textContent = "Select and copy"; });
      });
    });
  }
  function followContents() {
    var box = document.querySelector(".contents details");
    if (box && window.matchMedia("(max-width: 63.99rem)").matches) box.open = false;
    var links = Array.prototype.slice.call(document.querySelectorAll(".contents a[href^='#']"));
    var targets = links.map(function (link) {
      return document.getElementById(decodeURIComponent(link.getAttribute("href").slice(1)));
    });
    function mark() {
      var current = -1;
      targets.forEach(function (target, i) {
        if (target && target.getBoundingClientRect().top < window.innerHeight * 0.3) current = i;
      });
      links.forEach(function (link, i) {
        if (i === current) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
      });
    }
    if (!links.length) return;
    var waiting = false;
    window.addEventListener("scroll", function () {
      if (waiting) return;
      waiting = true;
      window.requestAnimationFrame(function () { waiting = false; mark(); });
    }, { passive: true });
    mark();
  }
  // Paper is light; the screen is as before afterwards.
  function preparePrint() {
    var theme = null;
    window.addEventListener("beforeprint", function () {
      theme = root.getAttribute("data-theme");
      root.setAttribute("data-theme", "light");
      drawAll();
    });
    window.addEventListener("afterprint", function () {
      if (theme) root.setAttribute("data-theme", theme); else root.removeAttribute("data-theme");
      drawAll();
    });
    var paper = window.matchMedia ? window.matchMedia("print") : null;
    if (paper && paper.addEventListener) paper.addEventListener("change", drawAll);
  }

  function start() {
    readFigures();
    drawAll();
    if (window.Plotly) figures.forEach(addTools);
    addToggle();
    addCopy();
    followContents();
    preparePrint();
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
