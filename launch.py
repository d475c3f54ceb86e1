"""Measure one cell, or with -m a grid: python launch.py -m tp=1,2,4 mbs=1,2,4,8."""

import sys

from sailor_exp.launching import main

if __name__ == "__main__":
    sys.exit(main())
