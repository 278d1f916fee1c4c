"""Which loads of a study stand together in a figure: panels along one axis, and a page for each value of the others."""

from dataclasses import dataclass

from plot import quantities, style
from plot.axes import axis_name, value_name
from plot.figure import Figure
from plot.study import spread

PANELS = 4  # beside each other
PAGES = 8   # figures of one kind


def along(study, axis):
    """The other axes that go along with this one: each of its values comes with only one of theirs."""
    def pairs(*axes):
        return len({tuple(p.axes[a] for a in axes) for p in study.points})
    return [other for other in study.other_axes
            if other != axis and pairs(other) > 1 and pairs(axis, other) == pairs(axis)]


def leading(study):
    """{axis: those that go along with it} of the axes but the policy, so that each is named once."""
    found, named = {}, set()
    for axis in study.other_axes:
        if axis not in named:
            found[axis] = [other for other in along(study, axis) if other not in found]
            named.update(found[axis])
    return found


@dataclass
class Page:
    """`loads`: one for each panel. `axes`: those that the titles of panels name; `heading`: what all panels have in common
    and other pages have otherwise; `part`: which of many values the panels of this page have; `note`: a sentence or more for
    the caption, about what is not seen."""
    study: object
    loads: list
    axes: list
    heading: str = ""
    note: str = ""
    number: int = 1
    part: str = ""

    def panels(self, rows, above="", **options):
        """A figure with a column for each load; `above` stands over all of them."""
        figure, axes = style.panels(rows, len(self.loads), **options)
        for panel, load in zip(axes[0], self.loads):
            values = dict(zip(self.study.other_axes, load))
            style.title(panel, "\n".join(self.study.axis_value(axis, values[axis]) for axis in self.axes))
        words = "\n".join(filter(None, (above, self.heading)))
        if words:
            style.heading(figure, words)
        return figure, axes

    def figure(self, name, title, caption, drawing):
        """The page as a figure. Those behind the first have a number, and all of them say what they show."""
        shown = "; ".join(filter(None, (self.heading, self.part)))
        return Figure(name if self.number == 1 else f"{name}_{self.number}", title + (f": {shown}" if shown else ""),
                      caption + self.note, drawing)


def _values(study, loads, axis):
    place = study.other_axes.index(axis)
    return list(dict.fromkeys(load[place] for load in loads))


def _column_axis(study, loads, axes):
    """The axis along which panels stand: the one with the most values, as far as there is room; of these a number."""
    def worth(axis):
        values = _values(study, loads, axis)
        return min(len(values), PANELS), quantities.common_unit(values) is not None, len(values)
    return max(axes, key=worth)


def _in_rows(study, loads, column):
    """At most PANELS of the loads beside each other. Of a number that has lines of its own some are enough; words are all
    shown, in rows of about the same length."""
    if len(loads) <= PANELS:
        return [loads]
    if column in study.series and quantities.common_unit(_values(study, loads, column)) is not None:
        return [spread(loads, PANELS)]
    count = -(-len(loads) // PANELS)
    ends = [round(i * len(loads) / count) for i in range(count + 1)]
    return [loads[begin:end] for begin, end in zip(ends, ends[1:])]


def _rows(study, loads, axes):
    """(column axis, [(held values by axis, loads of a page)]): no page mixes axes."""
    column = _column_axis(study, loads, axes)
    held = [axis for axis in axes if axis != column and len(_values(study, loads, axis)) > 1]
    groups = {}
    for load in loads:
        values = dict(zip(study.other_axes, load))
        groups.setdefault(tuple(values[axis] for axis in held), []).append(load)
    return column, [(dict(zip(held, values)), row) for values, own in groups.items() for row in _in_rows(study, own, column)]


def _part(study, loads, axis):
    return f"{axis_name(axis)} = {', '.join(map(value_name, _values(study, loads, axis)))}"


def _notes(study, loads, pages, followers):
    """What holds for every page, a sentence each."""
    for axis, others in followers.items():
        for other in others:
            values = {dict(zip(study.other_axes, load))[axis]: dict(zip(study.other_axes, load))[other] for load in loads}
            if len(values) > 1:
                yield f"{axis_name(other)} goes along with {axis_name(axis)}: {', '.join(values.values())}."
    shown = sum(len(row) for _, row in pages)
    if shown < len(loads):
        yield f"{shown} of {len(loads)} loads are shown; the table has all."
    if len(pages) > 1:
        yield f"{len(pages)} figures of this kind, each with a scale of its own."


def of(study, loads=None):
    """The pages of a study, or of some of its loads, in their order."""
    loads = study.loads() if loads is None else loads
    followers = leading(study) if any(loads) else {}  # runs stand on one axis, called by what they differ in
    if len(loads) <= PANELS:
        note = "".join(f" {sentence}" for sentence in _notes(study, loads, [({}, loads)], followers))
        return [Page(study, loads, list(followers), note=note)] if loads else []
    column, rows = _rows(study, loads, list(followers))
    rows = [row for row in rows if row in sorted(rows, key=lambda row: -len(row[1]))[:PAGES]]
    note = "".join(f" {sentence}" for sentence in _notes(study, loads, rows, followers))
    axes = [axis for axis in followers if axis == column or axis not in rows[0][0]]
    every_held = [held for held, _ in rows]
    parts = [_part(study, row, column) if every_held.count(held) > 1 else "" for held, row in rows]
    return [Page(study, row, axes, "; ".join(study.axis_value(axis, value) for axis, value in held.items()), note, number, part)
            for number, ((held, row), part) in enumerate(zip(rows, parts), 1)]
