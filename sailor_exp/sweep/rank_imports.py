"""What a rank imports, with the error if something does not load. The server that forks ranks imports this module.

Python's fork server drops an ImportError of what it imports beforehand. Ranks would then find modules that are half
imported, and report another error than the cause.
"""

FAULT: ImportError | OSError | None = None
"""Why ranks cannot run; OSError for a shared library that does not load."""

try:
    from sailor_exp.sweep import rank_process
except (ImportError, OSError) as error:
    FAULT = error

__all__ = ["FAULT", "rank_process"]
