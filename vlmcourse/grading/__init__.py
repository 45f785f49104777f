"""Assignments: written once, checked at once in the student's notebook, graded by a parent that the student's code can't reach.

checks     a trusted check: fresh inputs, expected values, the mistakes it can name
authoring  one text master -> the student's notebook, the solution, nbgrader's source
public     check("a1-attention-test", attention): the instant check in the notebook, on fixed inputs
preflight  what is wrong with a notebook before it runs, and what can be repaired
sandbox, kernel, inside, codec, outputs, bridge    a student's code behind walls, judged from outside
course, collect, gradebook, batch    a class: from downloads to nbgrader's gradebook
feedback, report, similar, export    what students, instructors and other systems get to see
"""

__all__ = ["check", "look"]


def __getattr__(name: str):
    """check and look bring torch along: only when a notebook asks for them, not for each `vlmcourse --help`."""
    if name in __all__:
        from vlmcourse.grading import public

        return getattr(public, name)
    raise AttributeError(f"module 'vlmcourse.grading' has no attribute '{name}'")
