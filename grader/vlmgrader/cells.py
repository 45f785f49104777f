"""Cells of a notebook: which belong to which task, and which reach beyond themselves."""

import ast

from nbformat import NotebookNode

REACHING = {"setattr", "__import__", "get_ipython", "globals", "delattr"}
REACHING_MODULES = {
    "builtins",
    "ctypes",
    "gc",
    "inspect",
    "sys",
    "signal",
    "threading",
    "multiprocessing",
    "importlib",
    "IPython",
}


def grade_id(cell: NotebookNode) -> str | None:
    """The grade_id of an autograded test cell; None for any other cell."""
    data = cell.metadata.get("nbgrader", {})
    return (
        data.get("grade_id")
        if data.get("grade") and not data.get("solution") and cell.cell_type == "code"
        else None
    )


def sections(cells: list[NotebookNode], tasks) -> dict[int, str]:
    """Each cell's task: the first test cell after it. Test cells that follow each other share a section."""
    task_of, current, answered = {}, "", False
    following = [index for index, cell in enumerate(cells) if grade_id(cell) in tasks]
    for index in range(len(cells)):
        if not current or (index not in following and answered):
            current = next(
                (grade_id(cells[position]) for position in following if position >= index), ""
            )
            answered = False
        answered |= index in following
        task_of[index] = current
    return task_of


def uses(cell: NotebookNode, packages: tuple[str, ...]) -> str | None:
    """The first of these packages' modules that a code cell imports. Advice for a human: answers may not need them."""
    if cell.cell_type != "code":
        return None
    try:
        tree = ast.parse(cell.source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if any(name == package or name.startswith(f"{package}.") for package in packages):
                return name
    return None


def reaches(cell: NotebookNode) -> str | None:
    """A word on how a code cell may change what is not its own: libraries, the interpreter. Advice, no proof."""
    if cell.cell_type != "code":
        return None
    try:
        tree = ast.parse(cell.source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return (
            "magic"
            if cell.source.lstrip().startswith(("%", "!"))
            or "\n%" in cell.source
            or "\n!" in cell.source
            else None
        )
    own = {
        node.name for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    } | {"self", "cls"}
    for node in ast.walk(tree):
        for target in (
            getattr(node, "targets", []) if isinstance(node, (ast.Assign, ast.Delete)) else []
        ):
            root = target
            while isinstance(root, (ast.Attribute, ast.Subscript)):
                root = root.value
            if (
                isinstance(target, ast.Attribute)
                and isinstance(root, ast.Name)
                and root.id not in own
            ):
                return f"sets {root.id}.{'...' if target.value is not root else ''}{target.attr}"
        if isinstance(node, ast.Name) and node.id in REACHING:
            return f"uses {node.id}"
        named = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        )
        for name in named:
            if name.split(".")[0] in REACHING_MODULES:
                return f"imports {name}"
    return None
