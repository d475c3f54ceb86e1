"""Stands for what a rank measures with, and for the other ranks: one process tells all."""


class Alone:
    """The agreement of a rank that has no peer."""

    def maximum(self, values):
        return list(values)


class Voice:
    """Keeps what the rank would tell its supervisor."""

    def __init__(self):
        self.said = []

    def progress(self, phase, steps=0):
        self.said.append(phase)

    def entering(self, phase):
        self.said.append(phase)


class ToldClock:
    """Stands still but when something tells it that time has passed."""

    def __init__(self):
        self.now_s = 0.0

    def now(self):
        return self.now_s

    def wait(self):
        return

    def seconds(self, interval):
        return interval.stop - interval.start

    def launch_seconds(self, interval):
        return None
