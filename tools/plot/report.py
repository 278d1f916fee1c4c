"""The report: one HTML file that needs nothing else."""

import re
import shlex
from html import escape
from pathlib import Path
from urllib.parse import quote

from plot import summary_table
from plot.inputs import Sweep
from plot.measurement import Measurement

_HERE = Path(__file__).resolve().parent


def _data(svg):
    """An SVG as a data URI; most characters stand as they are, which is shorter than base64."""
    return "data:image/svg+xml," + quote(re.sub(rb">\s+<", b"><", svg), safe=" !$()*+,-./:;<=>?@[]^_`{|}~'")


def _figure(figure, svg):
    return (f"<figure id=\"{escape(figure.name)}\"><h3>{escape(figure.title)}</h3>\n"
            f"<div class=\"scroll\"><img alt=\"{escape(figure.title)}\" src=\"{_data(svg)}\"></div>\n"
            f"<figcaption>{escape(figure.caption)}</figcaption></figure>\n")


def _failures(study):
    rows = []
    for point in study.points:
        where = ", ".join(f"{axis} {value}" for axis, value in point.axes.items())
        rows += [f"<li>{escape(where)}, seed {escape(seed)}: {escape(message)}</li>"
                 for seed, status, message in point.rows if status != "ok"]
    if not rows:
        return ""
    return f"<details open><summary>{len(rows)} runs failed</summary><ul>{''.join(rows)}</ul></details>\n"


def _source(source):
    """How one directory came about, and how to make it again."""
    path = str(source.path)
    if isinstance(source, Sweep):
        file, text = "sweep.yaml", source.text
        command = f"alchemist sweep {shlex.quote(f'{path}/sweep.yaml')} --out NEW_DIRECTORY"
        seeds = sorted({row.text("seed") for row in source.results.rows}, key=lambda seed: (len(seed), seed))
        what = f"{len(source.results.rows)} runs, seeds {', '.join(seeds)}"
    else:
        file, text = "config.yaml", source.config_text
        device = source.summary.get("device")
        verb, options = ("validate", "--device DEVICE ") if device else ("run", "")
        command = f"alchemist {verb} {shlex.quote(f'{path}/config.yaml')} {options}--out NEW_DIRECTORY"
        what = f"one run, seed {source.summary.get('seed')}" + (f"; for real, on {device}" if device else "")
    what += "".join(f"; {engine}" for engine in source.engines())
    lines = [f"<h3>{escape(path)}</h3>", f"<p>{escape(what)}</p>"]
    if text:
        lines += [f"<pre class=\"command\">{escape(command)}</pre>",
                  f"<details><summary>{file}</summary><pre>{escape(text)}</pre></details>"]
    return "\n".join(lines) + "\n"


def _subjects(study):
    """Model and hardware in one line."""
    pairs = dict.fromkeys((p.name_of("model"), p.name_of("hardware")) for p in study.points if p.name_of("model"))
    return "; ".join(f"{model} on {hardware}" for model, hardware in pairs)


def _figures(drawn):
    links = " · ".join(f"<a href=\"#{escape(figure.name)}\">{escape(figure.title)}</a>" for figure, _ in drawn)
    return f"<nav>{links}</nav>\n", "".join(_figure(figure, svg) for figure, svg in drawn)


def _study(study, drawn):
    links, figures = _figures(drawn)
    return (f"<p class=\"subject\">{escape(_subjects(study))}</p>\n{summary_table.choice(study)}{links}"
            f"{summary_table.numbers(study)}{_failures(study)}{figures}{summary_table.differences(study)}")


def _measurement(each, drawn):
    links, figures = _figures(drawn)
    return (f"<p class=\"subject\">{escape(each.subject())}</p>\n{links}{figures}"
            f"<details><summary>all numbers</summary>{each.numbers()}</details>\n")


def page(title, command, sections):
    """`sections`: (name, study or measurement, its figures as (Figure, SVG)) each. The text of the whole file."""
    css, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    body, sources = "", ""
    for name, part, drawn in sections:
        heading = f"<h2>{escape(name)}</h2>\n" if len(sections) > 1 else ""
        is_measurement = isinstance(part, Measurement)
        body += f"<section>{heading}{(_measurement if is_measurement else _study)(part, drawn)}</section>\n"
        sources += "" if is_measurement else "".join(map(_source, part.sources))
    return (f"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
            f"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            f"<link rel=\"icon\" href=\"data:,\">\n<title>{escape(title)}</title>\n<style>\n{css}</style></head>\n"
            f"<body><main><h1>{escape(title)}</h1>\n{body}"
            f"<section><h2>What was run, and how to run it again</h2>\n{sources}"
            f"<p>This report:</p>\n<pre class=\"command\">{escape(command)}</pre></section></main>\n"
            f"<script>\n{script}</script></body></html>\n")
