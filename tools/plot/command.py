"""alchemist plot DIR...: figures and one self-contained report of runs, sweeps, validations and learning curves."""

import argparse
import functools
import itertools
import re
import shlex
import sys
import traceback
import warnings
from pathlib import Path

from plot import (breakeven, differences, inputs, latency, load, memory, output, pareto, report, search, sensitivity,
                  style, study, throughput, timeline)
from plot.errors import InputError
from plot.labels import path_names, unique

_FORMATS, _TITLE = "png,svg", "Alchemist"


def _formats(text):
    chosen = list(dict.fromkeys(text.split(",")))
    for name in chosen:
        if name not in style.FORMATS:
            raise InputError(f"--format {text}: expected a comma-separated list of {' '.join(style.FORMATS)}")
    return chosen


def _parse(arguments):
    parser = argparse.ArgumentParser(prog="alchemist plot", description=__doc__)
    parser.add_argument("directories", nargs="+", metavar="DIR")
    parser.add_argument("--out", metavar="DIR")
    parser.add_argument("--format", default=_FORMATS)
    parser.add_argument("--title", default=_TITLE)
    parser.add_argument("--program", required=True, help="the alchemist binary, for what it alone can compute")
    options = parser.parse_args(arguments)
    for name in ("out", "format", "title"):
        if getattr(options, name) == []:  # of "--", which argparse takes away before Python 3.13
            setattr(options, name, "--")
    return options


def _render(parts, formats):
    """({file name: bytes}, sections of the report). `parts`: (name, study or measurement, its figures) each."""
    files, sections = {}, []
    for name, part, figures in parts:
        drawn = []
        for figure in figures:
            if len(parts) > 1:
                figure.name = f"{name}-{figure.name}"
            figure.name = re.sub(r"[^\w.-]+", "_", figure.name)  # names of models may be anything
            rendered = style.render_all(figure.drawing, dict.fromkeys([*formats, "svg"]))  # the report needs SVG
            files.update({f"figures/{figure.name}.{form}": rendered[form] for form in formats})
            drawn.append((figure, rendered["svg"]))
        sections.append((name, part, drawn))
    return files, sections


def _parts(directories, program):
    """What the directories hold, each with a name of its own and its figures, which are drawn when they are asked for."""
    families = [search.figures, sensitivity.figures, throughput.figures, memory.figures, latency.figures, pareto.figures,
                differences.figures, load.figures, functools.partial(breakeven.figures, program=program), timeline.figures]

    def drawn(each):
        return itertools.chain.from_iterable(family(each) for family in families)

    runs, sweeps, measurements = inputs.read(directories)
    studies = study.make(runs, sweeps)
    names = unique([*path_names([each.path for each in measurements]), *(each.name for each in studies)])
    figures = [*(each.figures() for each in measurements), *map(drawn, studies)]
    return list(zip(names, [*measurements, *studies], figures))


def _command(options):
    """The command line again, without what stands for its default."""
    words = ["alchemist", "plot", *options.directories]
    words += ["--out", options.out] if options.out else []
    words += ["--format", options.format] if options.format != _FORMATS else []
    words += ["--title", options.title] if options.title != _TITLE else []
    return shlex.join(words)


def _stale(out, sections):
    """Files of figures that the report in this directory shows and the new one does not."""
    try:
        before = set(re.findall(r'<figure id="([\w.-]+)">', (out / "report.html").read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        return []
    names = before - {figure.name for _, _, drawn in sections for figure, _ in drawn}
    return [out / "figures" / f"{name}.{form}" for name in names for form in style.FORMATS]


def _told(found):
    """The one warning of matplotlib's that is about what the user gave."""
    if any("missing from" in str(each.message) for each in found):
        print("alchemist: warning: the font of the figures lacks characters of some names, which PNG and PDF show as boxes",
              file=sys.stderr)


def run(options):
    style.use()
    formats = _formats(options.format)
    with warnings.catch_warnings(record=True) as found:
        files, sections = _render(_parts(options.directories, options.program), formats)
    _told(found)
    files["report.html"] = report.page(options.title, _command(options), sections).encode()
    out = Path(options.out or options.directories[0])
    output.write(out, files, _stale(out, sections))
    print(f"Figures: {out / 'figures'} ({len(files) - 1} files)\nReport:  {out / 'report.html'}", flush=True)


def _shown(error):
    """A message quotes what stands in files, and a terminal would obey its control characters."""
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found.group()):02x}", str(error))


def main(arguments):
    try:
        run(_parse(arguments))
    except InputError as error:
        print(f"alchemist: {_shown(error)}", file=sys.stderr)
        return 1
    except OSError as error:  # a name that is too long, a file that may not be read; without a name it is the output's
        where = error.filename or "cannot write to standard output"
        print(f"alchemist: {where}: {error.strerror}", file=sys.stderr)
        return 1
    except Exception:  # noqa: BLE001 (whatever it is, it is ours)
        print("alchemist: internal error of the figures:", file=sys.stderr)
        traceback.print_exc()
        return 2
    return 0
