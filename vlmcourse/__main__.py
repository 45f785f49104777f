"""python -m vlmcourse: the command `vlmcourse`, with any Python of the machine.

`setup`, and any command where the course's packages are missing, first make the clone's own environment.
"""

import importlib.util
import sys

if __name__ == "__main__":
    needed = ("typer", "torch", "transformers", "jupyterlab", "vlmgrader")
    if sys.argv[1:2] == ["setup"] or not all(map(importlib.util.find_spec, needed)):
        from vlmcourse.installation import start

        sys.exit(start(sys.argv[1:]))
    from vlmcourse.cli import main

    main()
