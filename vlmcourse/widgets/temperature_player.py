"""The temperature player of lesson 02: what the learned scale does to a softmax over cosines."""

from __future__ import annotations

import math
import textwrap

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vlmcourse.plots import bars


def at_scale(cosines: Tensor, scale: float, names: list[str]):
    """Softmax of scale * cosines (texts,) of one picture, as bars; names label the texts, the right one first."""
    found = (scale * cosines).softmax(-1)
    loss = cross_entropy((scale * cosines)[None], torch.tensor([0])).item()
    labels = ["\n".join(textwrap.wrap(name, 32)) for name in names]
    made = bars(
        {label: {"probability": float(value)} for label, value in zip(labels, found)},
        "probability",
        chance=1 / len(names),
        sideways=True,
    )
    made.axes[0].set_title(
        f"scale {scale:.1f}, temperature {1 / scale:.3f}, loss {loss:.3f}", loc="left", fontsize=10
    )
    made.axes[0].set_xlim(0, 1)
    made.description = f"Scale {scale:.1f}, loss {loss:.3f}. {made.description}"
    return made


def temperature_player(cosines: Tensor, names: list[str], learned: float) -> None:
    """Displays a slider for the scale, which starts at the learned one. cosines (texts,), the right text first."""
    import ipywidgets

    from vlmcourse.widgets.interactive import play, row

    slider = ipywidgets.FloatLogSlider(
        value=learned,
        base=10,
        min=0,
        max=2,
        step=0.05,
        description="scale",
        continuous_update=False,
        readout_format=".1f",
    )
    reset = ipywidgets.Button(description=f"learned: {learned:.1f}")
    reset.on_click(
        lambda _: setattr(slider, "value", min(100.0, max(1.0, math.floor(learned * 100) / 100)))
    )
    play([row(slider, reset)], lambda: at_scale(cosines, slider.value, names))
