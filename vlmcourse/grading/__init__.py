"""Assignments: written once, checked at once in the student's notebook, graded by a parent that the student's code can't reach.

checks     a trusted check: fresh inputs, expected values, the mistakes it can name
authoring  one text master -> the student's notebook, the solution, nbgrader's source
public     check("a1-attention-test", attention): the instant check in the notebook, on fixed inputs
"""

from vlmcourse.grading.public import check, look

__all__ = ["check", "look"]
