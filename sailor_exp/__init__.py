"""Measures what training a layer of a large language model costs."""

__version__ = "0.1.0"
