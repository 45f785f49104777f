"""The API reference, from docstrings: read from the sources, so that nothing has to be imported and nothing can be missing."""

from __future__ import annotations

import ast
import html
import re
from pathlib import Path

from docs.site.pages import code


def modules(package: Path) -> dict[str, Path]:
    """{dotted name: file} of every module of a package's folder; packages under their own name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        if parts[-1] == "__main__":
            continue
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _words(text: str) -> str:
    """Escaped, with `names` as code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", html.escape(text))


def _doc(node) -> str:
    text = ast.get_docstring(node)
    return f'<div class="doc">{_words(text)}</div>' if text else ""


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returned}"


def _public(nodes) -> list:
    return [
        node
        for node in nodes
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and (not node.name.startswith("_"))
    ]


def _class(node: ast.ClassDef) -> str:
    """A class with its fields and its public methods."""
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    fields = [ast.unparse(line) for line in node.body if isinstance(line, ast.AnnAssign)]
    start = next(
        (one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"),
        None,
    )
    head = f"class {node.name}{f'({bases})' if bases else ''}" + (
        f"\n    {_signature(start)}" if start else ""
    )
    made = [
        f'<h2 id="{node.name}">{node.name}</h2>',
        code("\n    ".join([head, *fields])),
        _doc(node),
    ]
    for method in _public(node.body):
        if isinstance(method, ast.ClassDef):
            continue
        made += [
            f'<h3 id="{node.name}.{method.name}">{node.name}.{method.name}</h3>',
            code(_signature(method)),
            _doc(method),
        ]
    return "\n".join(made)


def _constant(node, after) -> str:
    """A public name with a value, if a string below it says what it is."""
    said = (
        isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    )
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    if not said or not isinstance(target, ast.Name) or target.id.startswith("_"):
        return ""
    shown = ast.unparse(node)
    return "\n".join(
        [
            f'<h2 id="{target.id}">{target.id}</h2>',
            code(shown if len(shown) < 300 else f"{shown[:300]} ..."),
            f'<div class="doc">{_words(" ".join(after.value.value.split()))}</div>',
        ]
    )


def module(name: str, path: Path) -> str:
    """One module: what it is for, then everything public in it, in the order of the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    made = [f"<h1><code>{name.replace('.', '.<wbr>')}</code></h1>", _doc(tree)]
    for node, after in zip(tree.body, [*tree.body[1:], None]):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            made.append(_class(node))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith(
            "_"
        ):
            made += [f'<h2 id="{node.name}">{node.name}</h2>', code(_signature(node)), _doc(node)]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            made.append(_constant(node, after))
    return "\n".join(filter(None, made))


def index(found: dict[str, Path]) -> str:
    """All modules by folder, each with its first sentence."""
    made, folder = (
        ["<h1>API reference</h1>", "<p>From the docstrings of the package, module by module.</p>"],
        None,
    )
    for name, path in found.items():
        here = ".".join(name.split(".")[:2]) if name.count(".") else name
        if here != folder:
            made += ["</ul>" if folder else "", f'<h2 id="{here}">{here}</h2><ul>']
            folder = here
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = re.split(r"(?<=[.!?])\s|\n\n", text, maxsplit=1)[0]
        made.append(
            f'<li><a href="{name}.html"><code>{name}</code></a> {_words(" ".join(first.split()))}</li>'
        )
    return "\n".join([*made, "</ul>"])
