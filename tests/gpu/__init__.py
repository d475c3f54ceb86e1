"""What only a real GPU can show: `prove` runs every check in one call, `test_on_gpu.py` those of a test run.

- prove: the command; wheels: collects what a bare machine lacks
- checks.py: every check, with its limit and its source
- on_device.py: checks inside one process that has the device
- by_command.py: checks that run launch.py, and read its records
- size.py: how large the models of a run are; finding.py: what a check found
- page.py: docs/gpu.md
"""
