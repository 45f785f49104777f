"""nbgrader's own commands and formgrader's buttons in our courses: none of them runs a student's code outside the sandbox.

A course's nbgrader_config.py calls `protect`. Then `nbgrader autograde` and formgrader's Autograde go through `vlmgrader
run`, whatever else would execute a notebook refuses, and what students wrote is cleaned before a browser shows it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import Execute, GetGrades, NbGraderPreprocessor
from tornado import web

from vlmgrader.authoring import SCHEME, STUB
from vlmgrader.feedback import safe_markdown


class Refused(RuntimeError):
    """A stock command would have run a student's code with the instructor's rights."""


class GradeInSandbox(NbGraderPreprocessor):
    """Replaces nbgrader's Execute and SaveAutoGrades: the notebook as `vlmgrader run` left it."""

    def preprocess(self, nb, resources):
        named = resources["nbgrader"]
        name, student = named["assignment"], named["student"]
        course = Path(os.environ["VLMGRADER_COURSE"])
        command = [sys.executable, "-m", "vlmgrader", "run", name, "--student", student, "--force"]
        ran = subprocess.run(
            [*command, "--workers", "1", "--course", str(course)], capture_output=True, text=True
        )
        path = course / "outcomes" / name / f"{student}.json"
        outcome = json.loads(path.read_text()) if path.exists() else {}
        if ran.returncode or outcome.get("status") != "graded":
            reason = outcome.get("reason") or (ran.stderr.strip().splitlines() or ["no reason"])[-1]
            raise Refused(f"vlmgrader didn't grade {student}: {reason}")
        if (lead := outcome.get("submitted_by", student)) != student:
            raise Refused(
                f"{student}'s group is graded by the submission of {lead}: autograde that one"
            )
        graded = course / "autograded" / student / name / f"{name}.ipynb"
        return nbformat.read(graded, 4), resources


class Refuse(NbGraderPreprocessor):
    """Replaces Execute where nothing may be executed."""

    def preprocess(self, nb, resources):
        raise Refused(
            "a student's code is run by `vlmgrader run` alone, in its sandbox. "
            "Whether a notebook can be graded: vlmgrader check NOTEBOOK"
        )


class HideMarkScheme(NbGraderPreprocessor):
    """The mark scheme stands in the graded notebook for those who mark; a student's page doesn't show it."""

    def preprocess_cell(self, cell, resources, index):
        cell.source = SCHEME.sub("", cell.source).rstrip("\n") if cell.source else cell.source
        return cell, resources


class NoKernels(AsyncMappingKernelManager):
    """For formgrader's server: there a click on a student's notebook must not run it."""

    async def start_kernel(self, **options):
        raise web.HTTPError(
            403,
            "This server shows what students wrote and runs nothing of it. Use your own JupyterLab.",
        )


def _execute_own(execute, self, nb, resources=None, *rest, **options):
    """Execute.preprocess, for the course's own sources alone."""
    student = ((resources or {}).get("nbgrader") or {}).get("student")
    if student != ".":
        return Refuse.preprocess(self, nb, resources)
    return execute(self, nb, resources, *rest, **options)


def protect(config, folder: Path, assignments: str = "") -> None:
    """Sets nbgrader's configuration for a course in this folder. Called by its nbgrader_config.py, last.

    assignments  the folder of the assignments, where vlmgrader doesn't find it from the course's folder
    """
    os.environ["VLMGRADER_COURSE"] = str(folder)
    if assignments:
        os.environ.setdefault("VLMGRADER_ASSIGNMENTS", assignments)
    config.CourseDirectory.root = str(folder)
    config.CourseDirectory.db_url = f"sqlite:///{folder / 'gradebook.db'}?timeout=60"
    config.ClearSolutions.code_stub = {"python": STUB}
    config.Autograde.sanitize_preprocessors = []
    config.Autograde.autograde_preprocessors = [GradeInSandbox]
    config.GenerateFeedback.preprocessors = [GetGrades, HideMarkScheme, CSSHTMLHeaderPreprocessor]
    config.HTMLExporter.sanitize_html = True
    config.HTMLExporter.filters = {"markdown2html": safe_markdown}
    # Traits can be set on the command line, and Validator's can't be set here: Execute itself refuses, too.
    if not hasattr(Execute, "unprotected"):
        Execute.unprotected = execute = Execute.preprocess
        Execute.preprocess = lambda self, nb, resources=None, *rest, **options: _execute_own(
            execute, self, nb, resources, *rest, **options
        )
