"""Grades nbgrader assignments: the student's code runs in a sandbox, a parent that it can't reach judges its answers.

checks     a trusted check: fresh inputs, expected values, the mistakes it can name
authoring  one text master -> the student's notebook, the solution, nbgrader's source
public     the instant check in the student's notebook, on fixed inputs
preflight  what is wrong with a notebook before it runs, and what can be repaired
sandbox, kernel, inside, codec, outputs, bridge    a student's code behind walls, judged from outside
course, collect, gradebook, batch    a class: from downloads to nbgrader's gradebook
feedback, report, similar, export    what students, instructors and other systems get to see
"""
