"""Values of an axis: numbers, quantities such as "25 GB/s", or words."""

import re

_DECIMAL = {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BINARY = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

# Unit: (what is measured, factor to the unit that axes show it in).
_UNITS = {"": ("", 1.0)}
_UNITS.update({f"{p}B/s": ("GB/s", f / 1e9) for p, f in (_DECIMAL | _BINARY).items()})
_UNITS.update({f"{p}B": ("GiB", f / 2**30) for p, f in (_DECIMAL | _BINARY).items()})
_UNITS.update({f"{p}FLOP/s": ("TFLOP/s", f / 1e12) for p, f in _DECIMAL.items()})
_UNITS.update({u: ("s", f) for u, f in
               {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}.items()})

_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z/]*)\s*")


def parse(text):
    """(number, unit) in the unit of axes, or none for a word: "25 GB/s" is (25.0, "GB/s"), "64" is (64.0, "")."""
    match = _QUANTITY.fullmatch(text)
    if not match or match.group(2) not in _UNITS:
        return None
    unit, factor = _UNITS[match.group(2)]
    return float(match.group(1)) * factor, unit


def common_unit(texts):
    """The unit that all of them share, or none if one is a word or units differ."""
    units = {parsed[1] if parsed else None for parsed in map(parse, texts)}
    return units.pop() if len(units) == 1 else None


def sort_key(text):
    """Orders numbers by value, before words in the order of the alphabet."""
    parsed = parse(text)
    return (0, parsed[1], parsed[0], text) if parsed else (1, "", 0.0, text)
