"""How every figure looks: colours, the order of policies, and files that are the same to the byte for the same data."""

import io
import re
import textwrap

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend is chosen first)
from matplotlib.colors import to_hex, to_rgb  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter  # noqa: E402

# Colours that people with any colour vision tell apart (Okabe and Ito).
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, BLACK, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#000000", "#7F7F7F"

# Sixteen policies need more than eight colours: relatives share one, and line, marker and hatch tell them apart. The
# order is that of every table. Name: (colour, line, marker, hatch).
POLICIES = {
    "serve_only": (BLACK, ":", "x", ""),
    "separate": (SKY, "-", "o", ""),
    "separate_checkpoint": (SKY, "--", "s", "//"),
    "separate_offload": (SKY, ":", "^", ".."),
    "temporal": (ORANGE, "-", "v", ""),
    "token_fill": (ORANGE, "--", "<", "//"),
    "reuse": (GREEN, "-", "P", ""),
    "reuse_offload": (GREEN, "--", "X", "//"),
    "alchemist": (VERMILLION, "-", "D", ""),
    "answers": (VERMILLION, "--", "p", "//"),
    "compact": (VERMILLION, ":", ">", ".."),
    "elastic": (VERMILLION, "-.", "H", "xx"),
    "race": (PURPLE, "-", "d", ""),
    "planned": (BLUE, "-", "*", ""),
    "beside": (YELLOW, "-", "8", ""),
    "oracle": (GREY, "--", "h", "\\\\"),
}
# Those that are not built in, in turn (after Tol); the second time round with other dashes, markers and hatches.
_OTHERS = (("#882255", "-", "p", ""), ("#999933", "--", "H", "//"), ("#44AA99", "-.", ">", ".."),
           ("#332288", ":", "s", "xx"), ("#CC6677", "-", "^", "\\\\"))
_LINES, _MARKERS, _HATCHES = ("-", "--", ":", "-."), ("o", "s", "^", "D", "v", "P", "X", "*"), ("", "//", "..", "xx")

# Memory and the phases of a training step have the same colours everywhere.
MEMORY = {"weights": GREY, "kv": SKY, "activations": VERMILLION, "training": GREEN}
PHASES = {"forward": ORANGE, "restore_stall": VERMILLION, "backward": BLUE, "optimizer": GREEN}


def policy_key(name):
    """Sorts policies: the built-in ones in their order, then the others by name."""
    order = list(POLICIES)
    return (order.index(name), "") if name in POLICIES else (len(order), name)


def policy_style(name, names):
    """(colour, line, marker, hatch) of a policy; those that are not built in take turns, by their place in `names`."""
    if name in POLICIES:
        return POLICIES[name]
    others = [n for n in sorted(names, key=policy_key) if n not in POLICIES]
    turn, place = divmod(others.index(name), len(_OTHERS))
    return _with_marks(_OTHERS[place], _OTHERS[place][0], turn)


def _with_marks(look, colour, number):
    """A look in this colour, with the dashes, marker and hatch that come so many places behind its own. Relatives begin at
    different markers, which alone tell them apart where there are no lines."""
    if number == 0:
        return look
    own, line, marker, _ = look
    taken = {marker, *(shape for shade, _, shape, _ in POLICIES.values() if shade == own)}
    others = [shape for shape in _MARKERS if shape not in taken]
    place = _LINES.index(line) + number
    return colour, _LINES[place % len(_LINES)], others[(place - 1) % len(others)], _HATCHES[number % len(_HATCHES)]


def variant(look, number):
    """The look of the next run of the same policy, (colour, line, marker, hatch): in turn lighter and darker, with other
    dashes and another marker. Number 0 is the policy's own."""
    towards, by = ((0, 0.0), (1, 0.45), (0, 0.3))[number % 3]
    shade = to_hex([part + (towards - part) * by for part in to_rgb(look[0])])
    return _with_marks(look, shade, number)


def use():
    """Sets matplotlib up; before any figure is made."""
    matplotlib.rcdefaults()
    plt.rcParams.update({
        "svg.hashsalt": "alchemist",  # the same figure gives the same file
        "svg.fonttype": "none",       # text stays text: small files, searchable
        "font.sans-serif": ["DejaVu Sans"], "font.size": 9, "axes.titlesize": 9.5, "axes.labelsize": 9,
        "legend.fontsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
        "axes.formatter.limits": (-6, 9),  # no "1e6" in a corner: what does not fit is thinned out
        "axes.axisbelow": True, "hatch.linewidth": 0.6, "legend.frameon": False,
        "text.parse_math": False,     # a name with dollar signs is no formula
        "figure.constrained_layout.use": True, "lines.linewidth": 1.5, "lines.markersize": 5})


def panels(rows, columns, width=10.0, height=2.9, **options):
    """A figure of rows x columns axes, `height` inches each row; always a 2-D array of axes."""
    figure, axes = plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False, **options)
    return figure, axes


def title(panel, text):
    """The title of a panel, its lines wrapped to the panel's width; a value stays in one piece with its unit."""
    characters_an_inch = 12  # of the title's font, on the cautious side
    inches = panel.figure.get_figwidth() / panel.get_subplotspec().get_gridspec().ncols
    most = int(characters_an_inch * inches)
    lines = []
    for line in text.splitlines():
        name, equals, value = line.partition(" = ")
        whole = name + equals + value.replace(" ", "\N{NO-BREAK SPACE}")
        lines.append(line if len(line) <= most else textwrap.fill(whole, most))
    panel.set_title("\n".join(lines))


def heading(figure, text):
    """What holds for all panels, in a strip above them by which the figure grows; lines are wrapped to its width."""
    characters_an_inch = 14
    most = int(characters_an_inch * figure.get_figwidth())
    words = figure.suptitle("\n".join(textwrap.fill(line, most) for line in text.splitlines()),
                            fontsize=plt.rcParams["axes.titlesize"])
    figure.set_figheight(figure.get_figheight() + words.get_window_extent().height / figure.dpi + 0.1)


def legend_below(figure, handles, labels, columns=6):
    """One legend for all panels, in a strip under them by which the figure grows. Where labels are long it has fewer
    columns."""
    legend = figure.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 0.0), ncols=columns)
    while columns > 1 and legend.get_window_extent().width > figure.bbox.width:
        columns -= 1
        legend.remove()
        legend = figure.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 0.0), ncols=columns)
    inches = legend.get_window_extent().height / figure.dpi + 0.15
    height = figure.get_figheight() + inches
    figure.set_figheight(height)
    figure.get_layout_engine().set(rect=(0, inches / height, 1, 1 - inches / height))


def start_at_zero(axes, which, values):
    """Lets the x or y axis of these panels go from 0 to a little above the largest value."""
    for panel in axes:
        getattr(panel, f"set_{which}lim")(0, 1.08 * max([0, *values]) or 1)


def short_number(value):
    """A tick's number, thousands as "50k" from ten of them on: longer ones run into each other in narrow panels."""
    return f"{value / 1000:g}k" if abs(value) >= 10000 else f"{value:g}"


def fit_axis(axes, which, values):
    """Makes the x or y axis of these panels logarithmic, with plain numbers at its ticks, if the values span much;
    otherwise it starts at 0."""
    positive = [value for value in values if value > 0]
    span = max(positive) / min(positive) if positive else 1
    if span < 5:
        return start_at_zero(axes, which, values)
    for panel in axes:
        axis = getattr(panel, f"{which}axis")
        getattr(panel, f"set_{which}scale")("log")
        getattr(panel, f"set_{which}lim")(min(positive) / 1.2, max(positive) * 1.2)
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 200 else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
        axis.set_minor_formatter(NullFormatter())


def _rounded(svg):
    """Coordinates with two decimals, which no eye tells from six, in half the bytes."""
    return re.sub(rb"-?\d+\.\d{3,}", lambda number: b"%g" % round(float(number.group()), 2), svg)


FORMATS = ("png", "svg", "pdf")


def render(figure, form, dpi=120):
    """The bytes of a figure in one format (png, svg or pdf), without anything that changes from run to run."""
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}, "png": {}}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, dpi=dpi, metadata=dates[form])
    return _rounded(buffer.getvalue()) if form == "svg" else buffer.getvalue()


def _numbers_touch(axis, space):
    """True if the numbers of an x axis stand closer to each other than `space`, in pixels."""
    axis.get_majorticklabels()  # puts them where the ticks are now
    low, high = sorted(axis.get_view_interval())
    boxes = [tick.label1.get_window_extent() for tick in axis.get_major_ticks()
             if low <= tick.get_loc() <= high and tick.label1.get_visible() and tick.label1.get_text()]
    return any(right.x0 - left.x1 < space for left, right in zip(boxes, boxes[1:]))


def _fit_titles(figure):
    """Wraps titles that are wider than their panels, which long names beside them make narrow. True if there are any."""
    changed = False
    for panel in figure.axes:
        room, needed = panel.get_window_extent().width, panel.title.get_window_extent().width
        longest = max(map(len, panel.get_title().splitlines()), default=0)
        if panel.get_visible() and needed > 1.1 * room:
            words = panel.get_title().replace("\N{NO-BREAK SPACE}", " ").splitlines()
            panel.set_title("\n".join(textwrap.fill(line, max(int(longest * room / needed), 8)) for line in words))
            changed = True
    return changed


def spread_ticks(figure):
    """Lays the figure out, with fewer ticks on x axes whose numbers would touch: matplotlib counts on three digits."""
    figure.draw_without_rendering()
    if _fit_titles(figure):
        figure.draw_without_rendering()
    space = 0.6 * plt.rcParams["xtick.labelsize"] / 72 * figure.dpi  # of a digit
    changed = False
    for panel in figure.axes:
        for most in (6, 5, 4, 3):
            if not isinstance(panel.xaxis.get_major_locator(), MaxNLocator) or not _numbers_touch(panel.xaxis, space):
                break
            panel.xaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
            changed = True
    if changed:
        figure.draw_without_rendering()


def render_all(figure, forms):
    """{form: bytes}; the figure is laid out once and gone afterwards."""
    spread_ticks(figure)
    figure.set_layout_engine("none")
    rendered = {form: render(figure, form) for form in forms}
    plt.close(figure)
    return rendered
