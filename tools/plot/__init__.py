"""Figures and the report of `alchemist plot`; one module for each family of figures."""
