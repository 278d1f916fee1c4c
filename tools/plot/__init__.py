"""Figures and the report of `alchemist plot`; one module for each family of figures."""

import logging

# Without a home matplotlib tells on standard error where it keeps its files, which is no message of ours.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
