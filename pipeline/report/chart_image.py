"""A drawing as a file of its own: its style sheet with it, in the colours of the light theme."""

from __future__ import annotations

import re

from pipeline.report.chart import COLOURED

DRAWN_RULE = re.compile(r"^[^{}@\n]*\{[^{}]*\b(?:fill|stroke)\b[^{}]*\}", re.MULTILINE)
VARIABLE = re.compile(r"var\(--(\w+)\)")
MIX = re.compile(r"color-mix\(in srgb, #(\w{6}) (\d+)%, #(\w{6})\)")


def as_image(svg: str, style: str = "") -> str:
    """Return a drawing as a file of its own: with its name space and its size, in the colours of the light theme.

    `style` is what the page adds to the style sheet of every report; its rules about drawings come along.
    """
    from dataclasses import asdict

    from pipeline.palette import FONT_FAMILY, LIGHT

    colours = asdict(LIGHT)
    fonts = ",".join(f"'{name}'" for name in FONT_FAMILY)
    rules = f"text{{font:12px {fonts},sans-serif;fill:{LIGHT.muted}}}.rule,.axis{{stroke:{LIGHT.grid}}}"
    rules += f".area.solid{{fill-opacity:1}}.window{{fill:{LIGHT.benchmark};fill-opacity:.12}}"
    rules += f".zero{{stroke:{LIGHT.muted}}}.line{{fill:none;stroke-width:1.5}}.area{{fill-opacity:.18}}"
    for role in COLOURED:
        rules += f".line.{role}{{stroke:{colours[role]}}}.fill.{role},.area.{role}{{fill:{colours[role]}}}"
    rules += f".trace{{fill:none;stroke:{LIGHT.strategy};stroke-width:1.5}}.small text{{font-size:10.5px}}"
    rules += f".dot{{fill:{LIGHT.background};stroke:{LIGHT.strategy};stroke-width:1.5}}.base{{fill:{LIGHT.strategy}}}"
    rules += "".join(in_light(rule) for rule in DRAWN_RULE.findall(style) if ":hover" not in rule)
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    attributes = f'width="{size[1]}" height="{size[2]}" ' if size else ""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}'
    return svg.replace("<svg ", head, 1).replace(">", f"><style>{rules}</style>", 1)


def in_light(rule: str) -> str:
    """Return a rule or a value of a style sheet with the light theme's colours in the place of names and mixtures."""
    from dataclasses import asdict

    from pipeline.palette import LIGHT

    colours = asdict(LIGHT)
    plain = VARIABLE.sub(lambda match: colours[match[1]], rule)
    return MIX.sub(lambda match: _mixed(match[1], int(match[2]) / 100, match[3]), plain)


def _mixed(first: str, share: float, second: str) -> str:
    pairs = zip(bytes.fromhex(first), bytes.fromhex(second), strict=True)
    return "#" + bytes(round(a * share + b * (1.0 - share)) for a, b in pairs).hex()
