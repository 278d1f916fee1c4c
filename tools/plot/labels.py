"""Short labels of what stands beside each other: the policy, and what else tells one run or candidate from another."""

import itertools
import re
import textwrap
from pathlib import Path

from plot import quantities

BARE = ("model", "hardware", "run")  # axes whose values say what they are
_LONGEST = 24                 # characters of one value
_LINE = 32                    # of a line of a label beside a bar


def unique(names):
    """The names, of equal ones the later with a number behind: x, x-2."""
    result = []
    for name in names:
        candidates = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        result.append(next(candidate for candidate in candidates if candidate not in result))
    return result


def path_names(paths):
    """Of each path its last part; of those that end alike as many more as tell them apart: x/real, y/real."""
    ends = [path.resolve().parts for path in paths]

    def is_its_own(end, count):
        return all(other == end or other[-count:] != end[-count:] for other in ends)

    shown = [next((count for count in range(1, len(end)) if is_its_own(end, count)), len(end)) for end in ends]
    return unique([str(Path(*end[-count:])) for end, count in zip(ends, shown)])


def _short_keys(keys):
    """{key: its end}: without its section, and at most two words. A key stays whole where another has the same end."""
    ends = {key: ".".join(key.split(".")[1:][-2:]) or key for key in keys}
    taken = list(ends.values())
    return {key: end if taken.count(end) == 1 else key for key, end in ends.items()}


def _cut(text):
    return text if len(text) <= _LONGEST else text[:_LONGEST - 1] + "…"


def _short_value(key, text):
    """Of a path the name of the file, and not all of a long text."""
    if key == "run":  # no file, and its folders tell it from others
        return "/".join(map(_cut, text.split("/")))
    return _cut(Path(text).stem if "/" in text and quantities.parse(text) is None else text)


def labels(rows):
    """`rows`: (policy, {key: value as text}) each, with what is to be named: "planned, h100, max_itl=20 ms"."""
    short = _short_keys(dict.fromkeys(key for _, values in rows for key in values))
    result = []
    for policy, values in rows:
        words = [_short_value(key, values[key]) for key in BARE if key in values]
        words += [f"{short[key]}={_short_value(key, value)}" for key, value in values.items() if key not in BARE]
        result.append(", ".join([policy, *words]))
    return result


def _broken(word):
    """A word longer than a line in pieces with a space between them, behind its "_", "-" and "/" where it has any."""
    lines = [""]
    for piece in re.findall(rf"[^_/-]{{1,{_LINE - 1}}}[_/-]?|[_/-]", word):
        lines += [piece] if len(lines[-1] + piece) > _LINE else [lines.pop() + piece]
    return " ".join(lines)


def wrapped(label):
    """In lines, for the axis of a panel; a value stays in one piece with its key and its unit, as far as a line goes."""
    parts = [part.replace(" ", "\N{NO-BREAK SPACE}") for part in label.split(", ")]
    parts = [_broken(part) if len(part) > _LINE else part for part in parts]
    return textwrap.fill(", ".join(parts), _LINE, break_long_words=False, break_on_hyphens=False)
