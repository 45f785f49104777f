"""Changes that cosmic-ray doesn't make and that people do: a method left out, an argument, a context."""

from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Keyword


def _span(node):
    return node.start_pos, node.end_pos


class LeaveOutMethod(Operator):
    """`x.detach() @ y` becomes `x @ y`: calls of methods that change a value and keep its kind."""

    NAMES = frozenset(
        "detach float clamp contiguous abs relu tanh softmax log_softmax sigmoid exp log sqrt square flip sort "
        "transpose clone masked_fill masked_fill_ where cumsum argsort norm eval lower strip resolve".split()
    )

    OWNERS = frozenset(
        "self torch nn functional math np".split()
    )  # `self.norm(x)` calls no method of a value

    def _places(self, node):
        children = getattr(node, "children", [])
        if node.type not in ("atom_expr", "power"):
            return []
        first = 2 if getattr(children[0], "value", None) in self.OWNERS else 1
        return [
            place
            for place in range(first, len(children) - 1)
            if children[place].type == "trailer"
            and children[place].children[0].value == "."
            and children[place].children[1].value in self.NAMES
            and children[place + 1].type == "trailer"
            and children[place + 1].children[0].value == "("
        ]

    def mutation_positions(self, node):
        """Where such calls begin."""
        return [_span(node.children[place]) for place in self._places(node)]

    def mutate(self, node, index):
        """The expression without the call."""
        place = self._places(node)[index]
        del node.children[place : place + 2]
        return node

    @classmethod
    def examples(cls):
        """One of each."""
        return (
            Example("a.detach() @ b\n", "a @ b\n"),
            Example("f(x).float().norm(1)\n", "f(x).float()\n", 1),
        )


class LeaveOutArgument(Operator):
    """`f(a, mask=m)` becomes `f(a)`: the default is taken."""

    def _places(self, node):
        if node.type != "arglist":
            return []
        return [
            place
            for place, child in enumerate(node.children)
            if child.type == "argument"
            and len(child.children) == 3
            and child.children[1] == "="
            and place > 0
        ]

    def mutation_positions(self, node):
        """Where such arguments stand."""
        return [_span(node.children[place]) for place in self._places(node)]

    def mutate(self, node, index):
        """The arguments without it and the comma before it."""
        place = self._places(node)[index]
        del node.children[place - 1 : place + 1]
        return node

    @classmethod
    def examples(cls):
        """One of each."""
        return (Example("f(a, b=1, c=2)\n", "f(a, b=1)\n", 1),)


class LeaveOutContext(Operator):
    """`with torch.no_grad():` becomes `if True:`."""

    def mutation_positions(self, node):
        """Where such blocks begin, if there is one context and it has no name."""
        single = (
            node.type == "with_stmt"
            and len(node.children) == 4
            and node.children[1].type != "with_item"
        )
        return [_span(node.children[1])] if single else []

    def mutate(self, node, index):
        """The block as one that always runs."""
        keyword = node.children[0]
        keyword.value = "if"
        node.children[1] = Keyword("True", node.children[1].start_pos, prefix=" ")
        return node

    @classmethod
    def examples(cls):
        """One of each."""
        return (Example("with torch.no_grad():\n    f()\n", "if True:\n    f()\n"),)


OPERATORS = {
    operator.__name__: operator()
    for operator in (LeaveOutMethod, LeaveOutArgument, LeaveOutContext)
}
