"""What a reader of the numbers should be careful with, and what to do about each."""

from sailor_exp.report import cell_concerns, machine_concerns
from sailor_exp.report.concern import Concern, Weight
from sailor_exp.report.content import Content


def concerns_of(content: Content, *, error_limit: float | None) -> list[Concern]:
    """Everything to be careful with, the gravest first.

    error_limit: relative error of a prediction above which it is told; None for no limit.
    """
    found = [concern for look in (*cell_concerns.LOOKS, *machine_concerns.LOOKS) for concern in look(content)]
    found += cell_concerns.wrong_predictions(content, error_limit)
    return sorted(found, key=lambda concern: list(Weight).index(concern.weight))
