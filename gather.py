"""Gather records into Sailor's files, or export those: python gather.py model=opt-350 gpu=a100-40 exporter=amp."""

import sys

from sailor_exp.gathering import main

if __name__ == "__main__":
    sys.exit(main())
