"""Diagrams: what stands in a box and on an arrow is drawn and described; bad input is named."""

from xml.etree import ElementTree

import pytest

from vlmcourse.plots import Diagram, show


@pytest.fixture
def diagram():
    made = Diagram("two <towers>")
    made.box("pixels", "pixel_values", "(8, 3, 64, 64)", column=0, kind="data")
    made.box("vit", "ViT", column=1, kind="trained")
    made.box("loss", "clip_loss", column=2, row=1, kind="loss")
    made.arrow("pixels", "vit", "17 patches")
    made.arrow("vit", "loss")
    made.arrow("loss", "vit", gradient=True)
    return made


def numbers(element, *names):
    return [float(element.get(name)) for name in names]


def test_everything_is_drawn_inside_the_picture(diagram):
    root = ElementTree.fromstring(diagram.svg)
    name = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in root.iter(f"{name}text")]
    assert {"two <towers>", "pixel_values", "(8, 3, 64, 64)", "17 patches", "gradient"} <= {*texts}
    width, height = numbers(root, "width", "height")
    for rect in list(root.iter(f"{name}rect"))[1:]:
        x, y, w, h = numbers(rect, "x", "y", "width", "height")
        assert 0 <= x and x + w <= width and 0 <= y and y + h <= height
    for line in root.iter(f"{name}polyline"):
        for point in line.get("points").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width and 0 <= y <= height


def test_boxes_of_a_row_do_not_overlap(diagram):
    rects = list(ElementTree.fromstring(diagram.svg).iter("{http://www.w3.org/2000/svg}rect"))
    (x1, w1), (x2, _) = (numbers(rect, "x", "width") for rect in rects[1:3])
    assert x1 + w1 < x2


def test_arrows_turn_between_the_boxes_not_inside_a_wider_one():
    made = Diagram("branches")
    made.box("source", "source", column=0, row=1)
    made.box("narrow", "n", column=1, row=0)
    made.box("wide", "a far wider box than its neighbour", column=1, row=1)
    made.arrow("source", "narrow")
    made.arrow("source", "wide")
    root, name = ElementTree.fromstring(made.svg), "{http://www.w3.org/2000/svg}"
    source, _, wide = list(root.iter(f"{name}rect"))[1:4]
    x, w = numbers(source, "x", "width")
    turn = float(next(root.iter(f"{name}polyline")).get("points").split()[1].split(",")[0])
    assert turn == pytest.approx((x + w + float(wide.get("x"))) / 2)  # midway


def test_it_is_described_in_words(diagram):
    assert diagram.description == (
        "Diagram: two <towers>. Parts: pixel_values ((8, 3, 64, 64), data); ViT (trained); "
        "clip_loss (loss). Arrows: pixel_values to ViT (17 patches); ViT to clip_loss; "
        "gradient from clip_loss to ViT."
    )


def test_it_is_shown_as_an_image_with_its_description_and_a_caption(diagram, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data))
    show(diagram, "Figure 1. Two towers & a loss.")
    assert 'src="data:image/svg+xml;base64,' in shown[0]["text/html"]
    assert 'alt="Diagram: two &lt;towers&gt;' in shown[0]["text/html"]
    assert shown[1].data == "<p><b>Figure 1. </b>Two towers &amp; a loss.</p>"


def test_mistakes_are_named(diagram):
    with pytest.raises(ValueError, match="kind 'new'; expected one of data, trained"):
        diagram.box("x", "x", column=5, kind="new")
    with pytest.raises(ValueError, match="a box 'vit' already"):
        diagram.box("vit", "x", column=5)
    with pytest.raises(ValueError, match="column 0, row 0 is taken"):
        diagram.box("x", "x", column=0)
    with pytest.raises(ValueError, match="no box 'y'; there are pixels, vit, loss"):
        diagram.arrow("vit", "y")
