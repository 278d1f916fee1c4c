"""A figure on its way into files and the report."""

from dataclasses import dataclass

import matplotlib.figure


@dataclass
class Figure:
    name: str     # of the file, without its ending
    title: str    # what stands above it in the report
    caption: str  # how to read it, and what was left out
    drawing: matplotlib.figure.Figure
