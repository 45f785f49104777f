"""Your own pictures: every kind is read, every mistake is named, nothing good is lost."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from vlmcourse.data.folders import read_folder, read_dataset
from vlmcourse.data.images import load_picture
from vlmcourse.data.streams import PictureStream

CAPTIONS = ["a red square", "a green field", "a blue sea", "a grey wall"]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)]


@pytest.fixture
def folder(tmp_path):
    for index, colour in enumerate(COLOURS):
        Image.new("RGB", (40 + index, 30), colour).save(tmp_path / f"{index}.png")
    (tmp_path / "metadata.jsonl").write_text(
        "".join(
            json.dumps({"file_name": f"{index}.png", "text": text}) + "\n"
            for index, text in enumerate(CAPTIONS)
        )
    )
    return tmp_path


def add_line(folder, line):
    with open(folder / "metadata.jsonl", "a") as file:
        file.write(line + "\n")


def test_a_folder_is_a_batch(folder):
    rows = read_folder(folder, size=16)
    batch = rows.batch([2, 0])
    assert batch["text"] == ["a blue sea", "a red square"] and batch["pixel_values"].shape == (
        2,
        3,
        16,
        16,
    )
    assert torch.equal(batch["pixel_values"][1, :, 8, 8], torch.tensor([1.0, -1.0, -1.0]))
    assert len(rows.tokenizer) == 11 + len({word for text in CAPTIONS for word in text.split()})
    with pytest.raises(ValueError, match="unknown word 'yellow'"):
        rows.encode(["a yellow sea"])


def test_csv_is_the_same(folder):
    expected = read_folder(folder, 16).batch(range(4))
    (folder / "metadata.jsonl").unlink()
    (folder / "metadata.csv").write_text(
        "file_name,text\n" + "".join(f"{i}.png,{t}\n" for i, t in enumerate(CAPTIONS))
    )
    batch = read_folder(folder, 16).batch(range(4))
    assert torch.equal(batch["pixel_values"], expected["pixel_values"]) and torch.equal(
        batch["ids"], expected["ids"]
    )


@pytest.mark.parametrize(
    "make, colour",
    [
        (lambda: Image.new("L", (9, 9), 100), (100, 100, 100)),
        (lambda: Image.new("RGBA", (9, 9), (255, 0, 0, 0)), (255, 255, 255)),
        (lambda: Image.new("RGBA", (9, 9), (0, 0, 0, 128)), (127, 127, 127)),
        (lambda: Image.new("LA", (9, 9), (0, 0)), (255, 255, 255)),
        (lambda: Image.new("RGB", (9, 9), (1, 2, 3)).convert("P"), (0, 0, 0)),
        (lambda: Image.new("CMYK", (9, 9), (0, 255, 255, 0)), (255, 0, 0)),
        (lambda: Image.fromarray(np.full((9, 9), 65535, np.uint16)), (255, 255, 255)),
        (lambda: Image.fromarray(np.full((9, 9), 128 * 257, np.uint16)), (128, 128, 128)),
        (lambda: Image.new("1", (9, 9), 1), (255, 255, 255)),
        (lambda: Image.new("RGB", (1, 1), (9, 8, 7)), (9, 8, 7)),
        (lambda: Image.new("RGB", (3000, 2), (9, 8, 7)), (9, 8, 7)),
    ],
    ids=[
        "grey",
        "transparent",
        "half transparent",
        "grey alpha",
        "palette",
        "cmyk",
        "16 bit",
        "16 bit grey",
        "1 bit",
        "tiny",
        "ribbon",
    ],
)
def test_any_kind_of_picture(make, colour):
    seen = load_picture(make(), 8)
    assert seen.shape == (8, 8, 3) and seen.dtype == np.uint8
    assert np.abs(seen[4, 4].astype(int) - colour).max() <= 2, seen[4, 4]


def test_pictures_turned_by_their_camera_are_upright(tmp_path):
    left_red = Image.new("RGB", (20, 20), (0, 0, 255))
    left_red.paste((255, 0, 0), (0, 0, 10, 20))
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    left_red.save(tmp_path / "turned.png", exif=exif)
    seen = load_picture(tmp_path / "turned.png", 20)
    assert seen[10, 15, 0] > 200 and seen[10, 5, 2] > 200


def test_the_centre_is_kept():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    assert (load_picture(wide, 10)[:, 2:8] > 200).all()


@pytest.mark.parametrize(
    "source, words",
    [
        (np.zeros((4, 4, 3)), ["float64", "uint8"]),
        (np.zeros((4, 4, 7), np.uint8), ["(4, 4, 7)"]),
        (Image.new("1", (20_000, 20_000)), ["20000 x 20000", "Make it smaller"]),
    ],
)
def test_impossible_pictures_are_named(source, words):
    with pytest.raises(ValueError) as error:
        load_picture(source, 8)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_broken_and_missing_pictures_are_named_and_left_out(folder):
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:50])
    (folder / "note.png").write_text("not a picture")
    for name in ("broken.png", "note.png", "gone.png"):
        add_line(folder, json.dumps({"file_name": name, "text": "a thing"}))
    with pytest.warns(UserWarning) as caught:
        rows = read_folder(folder, 16)
    message = str(caught[0].message)
    assert "3 of 7" in message and all(
        name in message for name in ("broken.png", "note.png: not a picture", "gone.png")
    )
    assert list(rows.texts) == CAPTIONS
    with pytest.raises(ValueError, match="broken.png"):
        read_folder(folder, 16, strict=True)


def test_good_folders_do_not_warn(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_folder(folder, 16)


@pytest.mark.parametrize(
    "spoil, error, words",
    [
        (lambda f: add_line(f, "{oops"), ValueError, ["line 5", "not JSON", "oops"]),
        (
            lambda f: add_line(f, '{"file": "0.png"}'),
            ValueError,
            ["entry 5", "found file", "file_name and text"],
        ),
        (
            lambda f: add_line(f, '{"file_name": "0.png", "text": " "}'),
            ValueError,
            ["entry 5", "0.png", "caption is empty"],
        ),
        (lambda f: add_line(f, "[1]"), ValueError, ["entry 5", "list"]),
        (
            lambda f: (f / "metadata.jsonl").unlink(),
            FileNotFoundError,
            ["no metadata.jsonl or metadata.csv", "0.png"],
        ),
        (lambda f: (f / "metadata.jsonl").write_text(""), ValueError, ["no lines"]),
        (lambda f: [p.unlink() for p in f.iterdir()], FileNotFoundError, ["it is empty"]),
        (lambda f: [p.unlink() for p in f.glob("*.png")], ValueError, ["none of the 4 pictures"]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*left out")
def test_a_spoilt_folder_gets_one_clear_message(folder, spoil, error, words):
    spoil(folder)
    with pytest.raises(error) as caught:
        read_folder(folder, 16)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_folder(tmp_path / "nowhere")


def test_splits_do_not_move_when_pictures_are_added(tmp_path):
    def make(count):
        (tmp_path / "metadata.csv").write_text(
            "file_name,text\n" + "".join(f"{i}.png,number {i}\n" for i in range(count))
        )
        for i in range(count):
            Image.new("RGB", (4, 4), (i, i, i)).save(tmp_path / f"{i}.png")
        train, held_out = read_folder(tmp_path, 4).split(0.2)
        assert sorted((*train.names, *held_out.names)) == sorted(f"{i}.png" for i in range(count))
        assert held_out.images([0])[0, 0, 0, 0] == int(
            held_out.names[0][:-4]
        )  # the picture goes with its name
        return set(held_out.names)

    assert make(60) < make(120)


def test_distinct_captions_only(folder):
    add_line(folder, json.dumps({"file_name": "1.png", "text": CAPTIONS[0]}))
    assert read_folder(folder, 16).distinct(10) == [0, 1, 2, 3]


@pytest.fixture
def saved(tmp_path):
    from datasets import Dataset

    data = Dataset.from_dict(
        {
            "image": [Image.new("RGB", (9, 9), (i, 0, 0)) for i in range(10)],
            "text": [f"number {i}" for i in range(10)],
        }
    )
    data.save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_hugging_face_dataset_on_disk(saved):
    rows = read_dataset(str(saved), size=8)
    batch = rows.batch([7, 2])
    assert batch["text"] == ["number 7", "number 2"]
    assert ((batch["pixel_values"][:, 0, 4, 4] + 1) * 127.5).round().tolist() == [7, 2]
    with pytest.raises(ValueError, match="no column caption in the dataset; it has image, text"):
        read_dataset(str(saved), text="caption")


def test_a_dataset_that_is_nowhere(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="no dataset 'nobody/nothing'"):
        read_dataset("nobody/nothing")


def test_streams_resume_and_share(saved):
    from datasets import load_from_disk

    def numbers(texts):
        return torch.tensor([[int(text.split()[1])] for text in texts])

    stream = PictureStream(
        load_from_disk(str(saved)).to_iterable_dataset(), 4, numbers, pixel_values=8
    )
    seen = [batch["ids"].flatten().tolist() for _, batch in zip(range(4), stream.from_step(0))]
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1], [2, 3, 4, 5]]
    assert next(stream.from_step(2))["ids"].flatten().tolist() == [8, 9, 0, 1]
    halves = [next(stream.from_step(1, (rank, 2)))["ids"].flatten().tolist() for rank in (0, 1)]
    assert halves == [[4, 6], [5, 7]]
