"""What the wheel carries beside the packages: lessons, assignments as students get them, and measured results."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

MATERIAL = (
    "notebooks/*.ipynb",
    "notebooks/masters/*.py",
    "assignments/*.toml",
    "assignments/*/student/*",
    "assignments/P_project/*.md",
    "benchmarks/results/*.json",
    "SYLLABUS.md",
)


class BuildWithMaterial(build_py):
    """Copies the course's material into the package, as vlmcourse/material; an editable install finds it in the clone."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for source in (path for pattern in MATERIAL for path in Path().glob(pattern)):
            target = Path(self.build_lib, "vlmcourse", "material", source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithMaterial})
