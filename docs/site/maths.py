"""TeX -> MathML, for what the lessons write: every browser draws MathML, so no script has to be shipped or fetched."""

from __future__ import annotations

import html
import re

TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|[a-zA-Z]|\d+(?:\.\d+)?|\S")
SYMBOLS = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "theta": "θ",
    "lambda": "λ",
    "mu": "μ",
    "pi": "π",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "phi": "φ",
    "Delta": "Δ",
    "Sigma": "Σ",
    "Phi": "Φ",
    "ell": "ℓ",
    "infty": "∞",
}
OPERATORS = {
    "top": "⊤",
    "cdot": "⋅",
    "times": "×",
    "le": "≤",
    "leq": "≤",
    "ge": "≥",
    "geq": "≥",
    "ne": "≠",
    "approx": "≈",
    "in": "∈",
    "sum": "∑",
    "prod": "∏",
    "to": "→",
    "mid": "∣",
    "lVert": "‖",
    "rVert": "‖",
    "ldots": "…",
    "dots": "…",
    "pm": "±",
    "odot": "⊙",
    "partial": "∂",
    "sim": "∼",
}
NAMES = ("ln", "log", "exp", "cos", "sin", "min", "max", "tanh", "arg", "softmax")
SPACES = {
    "\\,": "0.17em",
    "\\;": "0.28em",
    "\\:": "0.22em",
    "\\ ": "0.33em",
    "\\quad": "1em",
    "\\qquad": "2em",
    "\\!": "-0.17em",
}


class _Reader:
    """Reads one formula from left to right."""

    def __init__(self, tex: str):
        self.tex, self.left = (
            tex,
            TOKEN.findall(re.sub(r"\\text\{([^}]*)\}", lambda m: f"\\text{{{m[1]}}}", tex)),
        )

    def next(self) -> str:
        if not self.left:
            raise ValueError(
                f"the formula {self.tex!r} ends too early; expected another symbol or a closing brace."
            )
        return self.left.pop(0)

    def row(self, until: str | None = None) -> str:
        """What stands before `until`, as one <mrow>."""
        made: list[str] = []
        while self.left and self.left[0] != until:
            token = self.left[0]
            if token in ("^", "_"):
                made.append(self.script(made.pop() if made else "<mrow></mrow>"))
            else:
                made.append(self.one())
        if until is not None:
            self.next()
        return f"<mrow>{''.join(made)}</mrow>"

    def script(self, base: str) -> str:
        """base with the index and the exponent that follow it, in either order."""
        found = {}
        while self.left and self.left[0] in ("^", "_") and self.left[0] not in found:
            kind = self.next()
            found[kind] = self.one()
        if len(found) == 2:
            return f"<msubsup>{base}{found['_']}{found['^']}</msubsup>"
        ((kind, value),) = found.items()
        return f"<msup>{base}{value}</msup>" if kind == "^" else f"<msub>{base}{value}</msub>"

    def words(self) -> str:
        """The text of \\text{...}; its spaces are lost to the tokens, so words are read letter by letter."""
        self.next()
        letters = []
        while (token := self.next()) != "}":
            letters.append(token)
        return "".join(letters)

    def one(self) -> str:
        """One symbol, or one group."""
        token = self.next()
        if token == "{":
            return self.row("}")
        if token in SPACES:
            return f'<mspace width="{SPACES[token]}"></mspace>'
        if not token.startswith("\\") or token in ("\\{", "\\}", "\\%", "\\|"):
            kind = "mi" if token.isalpha() else "mn" if token[0].isdigit() else "mo"
            return f"<{kind}>{html.escape({'-': '−', chr(92) + '|': '‖'}.get(token, token.lstrip(chr(92))))}</{kind}>"
        name = token[1:]
        if name in SYMBOLS:
            return f"<mi>{SYMBOLS[name]}</mi>"
        if name in OPERATORS:
            return f"<mo>{OPERATORS[name]}</mo>"
        if name in NAMES:
            return f"<mi>{name}</mi>"
        if name in ("text", "mathrm", "operatorname"):
            return f"<mtext>{html.escape(self.words())}</mtext>"
        if name == "mathbf":
            return f'<mstyle style="font-weight: bold">{self.one()}</mstyle>'
        if name == "frac":
            return f"<mfrac>{self.one()}{self.one()}</mfrac>"
        if name == "sqrt":
            return f"<msqrt>{self.one()}</msqrt>"
        if name in ("left", "right"):
            return f'<mo stretchy="true">{html.escape(self.next().lstrip(chr(92)))}</mo>'
        raise ValueError(
            f"the command {token} in {self.tex!r} is not known here; expected one of the lessons' own: "
            f"{', '.join(sorted((*SYMBOLS, *OPERATORS, *NAMES, 'text', 'mathbf', 'frac', 'sqrt', 'left', 'right')))}. "
            "Add it to docs/site/maths.py."
        )


def mathml(tex: str, block: bool = False) -> str:
    """One formula as a <math> element, with the TeX as its annotation. Raises ValueError for a command that isn't known."""
    reader = _Reader(tex)
    made = reader.row()
    shown = ' display="block"' if block else ""
    return (
        f'<math xmlns="http://www.w3.org/1998/Math/MathML"{shown}><semantics>{made}'
        f'<annotation encoding="application/x-tex">{html.escape(tex)}</annotation></semantics></math>'
    )
