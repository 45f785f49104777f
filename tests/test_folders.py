"""Your own pictures: every kind is read, every mistake is named, nothing good is lost."""

import contextlib
import io
import json
import os
import struct
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from vlmcourse.data import folders
from vlmcourse.data.folders import read_dataset, read_folder
from vlmcourse.data.images import load_picture
from vlmcourse.data.streams import PictureStream
from vlmcourse.evaluation import relevance, retrieval_recall
from vlmcourse.world import tokenizer

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
        (np.full((4, 4, 3), np.nan), ["float64", "finite"]),
        (None, ["no picture (null)"]),
        (["a", "b"], ["shape (2,)"]),
        (7, ["7 (int), not a picture"]),
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
            ["metadata.jsonl, line 5", "found file", "file_name and text", "--image-column"],
        ),
        (
            lambda f: add_line(f, '{"file_name": "0.png", "text": 7}'),
            ValueError,
            ["line 5 (0.png)", "text has 7", "a text or a list of texts"],
        ),
        (lambda f: add_line(f, '{"file_name": null, "text": "a"}'), ValueError, ["line 5", "None"]),
        (lambda f: add_line(f, "[1]"), ValueError, ["line 5", "list"]),
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


def grey_folder(folder, count, name="{}"):
    folder.mkdir(exist_ok=True)
    lines = [f"{name.format(i)}.png,number {i}" for i in range(count)]
    (folder / "metadata.csv").write_text("\n".join(["file_name,text", *lines]))
    for i in range(count):
        Image.new("RGB", (4, 4), (i, i, i)).save(folder / f"{name.format(i)}.png")
    return folder


def shades(data):
    return set(data.pictures[:, 0, 0, 0].tolist())


def test_the_split_follows_the_pictures_not_their_names_rows_or_number(tmp_path):
    train, held_out = read_folder(grey_folder(tmp_path / "a", 60), 4).split(0.2)
    assert sorted(shades(train) | shades(held_out)) == list(range(60))
    assert held_out.texts[0] == f"number {held_out.pictures[0, 0, 0, 0]}"
    renamed = read_folder(grey_folder(tmp_path / "b", 60, "other {}"), 4).split(0.2)[1]
    more = read_folder(grey_folder(tmp_path / "c", 120), 4).split(0.2)[1]
    assert shades(renamed) == shades(held_out) < shades(more)


@pytest.mark.parametrize("count", range(2, 12))
def test_a_small_folder_always_has_a_picture_on_either_side(tmp_path, count):
    train, held_out = read_folder(grey_folder(tmp_path / "small", count), 4).split()
    assert len(train.hashes) >= 1 and len(held_out.hashes) >= 1


def test_captions_of_one_picture_belong_together_and_it_is_decoded_once(folder, monkeypatch):
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    add_line(folder, json.dumps({"file_name": "0.png", "text": ["one more", "and another"]}))
    add_line(folder, json.dumps({"file_name": "copy.png", "text": "the same field"}))
    decoded = []
    monkeypatch.setattr(
        folders, "load_picture", lambda path, size: decoded.append(path) or load_picture(path, size)
    )
    rows = read_folder(folder, 16)
    assert len(decoded) == 5 and len(rows) == 7 and len(rows.hashes) == 4
    assert rows.batch(range(7))["positive_groups"].tolist() == [0, 1, 2, 3, 0, 0, 1]
    assert rows.distinct(2) == [0, 4, 5, 1, 6]
    part = rows.select([1, 0])
    assert part.texts == (
        "a green field",
        "the same field",
        "a red square",
        "one more",
        "and another",
    )
    assert part.batch(range(5))["positive_groups"].tolist() == [0, 0, 1, 1, 1]
    assert part.batch([2])["pixel_values"][0, 0, 8, 8] == 1


def test_an_oracle_scores_one_on_pictures_with_five_captions():
    """60 pictures, five captions each: R@k over distinct pictures, any of a picture's captions is right."""
    picture_of = torch.arange(60).repeat_interleave(5)
    ids = torch.arange(300)[:, None]
    ids[7] = ids[3]  # two pictures with the same words
    first, relevant = relevance({"ids": ids, "positive_groups": picture_of})
    assert first.tolist() == list(range(0, 300, 5)) and relevant.sum() == 302
    report = retrieval_recall(torch.eye(60), torch.eye(60)[picture_of], relevant=relevant)
    assert set(report.values()) == {1.0}
    assert relevant[0, 7] and relevant[1, 3] and not relevant[0, 5]
    # strangers' captions are wrong: a shift by one picture scores nothing
    assert (
        retrieval_recall(torch.eye(60), torch.eye(60)[picture_of].roll(5, 0), relevant=relevant)[
            "image to text R@1"
        ]
        == 0
    )
    with pytest.raises(ValueError, match="relevant is"):
        retrieval_recall(torch.eye(60), torch.eye(60)[picture_of])


CAPTIONS_IN_ANY_SCRIPT = [
    "<PERSON> waves at <unk>",
    "a [MASK] on <image> <pad>",
    "नमस्ते दुनिया",
    "H₂O, ½ and e\u0301",
    "猫が座っている",
    "👩‍👩‍👧 at the sea",
    "ﷺ İstanbul ß",
]


@pytest.mark.parametrize("text", CAPTIONS_IN_ANY_SCRIPT)
def test_every_caption_can_be_read_with_its_own_words(folder, text):
    add_line(folder, json.dumps({"file_name": "0.png", "text": text}))
    rows = read_folder(folder, 16)
    ids = rows.encode([text])
    assert (ids[:, 1:-1] >= len(tokenizer.SPECIAL)).all()  # no special token, nothing unknown


def test_captions_are_checked_before_training_begins(folder):
    def encode(texts):
        raise ValueError("too long")

    with pytest.raises(ValueError, match="too long"):
        read_folder(folder, 16, encode=encode)


EXAMPLES = int(
    os.environ.get("VLMCOURSE_FUZZ", 300)
)  # 1,700 for the fuzz test of 5,100 inputs in all
HEADER = "file_name,text\n"


@pytest.mark.parametrize(
    "content, words",
    [
        (HEADER + "0.png,a man, a dog\n", ["metadata.csv, line 2: 3 fields", 'Put " around']),
        (HEADER + '0.png,"a man\n1.png,a dog\n', ["line 2", "on one line"]),
        (HEADER + '0.png,"a" man\n', ["line 2"]),
        (HEADER + "0.png\n", ["line 2: 1 fields"]),
        ("name,caption\n0.png,a\n", ["line 1", "found name, caption", "--text-column"]),
        ("file_name|text\n0.png|a\n", ["line 1", "found file_name|text"]),
        ((HEADER + "0.png,caf\u00e9\n").encode("cp1252"), ["line 2", "0xe9", "UTF-8"]),
        (HEADER, ["no lines"]),
    ],
)
def test_csv_is_read_strictly(folder, content, words):
    (folder / "metadata.jsonl").unlink()
    (folder / "metadata.csv").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    with pytest.raises(ValueError) as caught:
        read_folder(folder, 16)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_encodings_are_recognised(folder, separator, encoding):
    (folder / "metadata.jsonl").unlink()
    rows = [["text", "file_name"], ['"a \u00e9t\u00e9, warm; and ""dry"""', "0.png"]]
    content = "\r\n".join(separator.join(row) for row in rows)
    (folder / "metadata.csv").write_bytes(content.encode(encoding))
    assert read_folder(folder, 16).texts == ('a \u00e9t\u00e9, warm; and "dry"',)


def test_columns_can_be_named(folder):
    (folder / "metadata.jsonl").write_text('{"path": "0.png", "caption": "a square"}')
    assert read_folder(folder, 16, image_column="path", text_column="caption").texts == (
        "a square",
    )


def test_an_empty_caption_is_left_out_not_the_whole_folder(folder):
    add_line(folder, json.dumps({"file_name": "0.png", "text": ["  ", "good"]}))
    add_line(folder, json.dumps({"file_name": "0.png", "text": ""}))
    with pytest.warns(UserWarning, match="0.png .metadata.jsonl, line 5.: the caption is empty"):
        assert read_folder(folder, 16).texts == (*CAPTIONS, "good")
    with pytest.raises(ValueError, match="line 5"):
        read_folder(folder, 16, strict=True)


def test_what_changes_the_data_changes_the_fingerprint(folder):
    before = read_folder(folder, 16).fingerprint()
    moved = folder.with_name("moved")
    folder.rename(moved)
    assert read_folder(moved, 16).fingerprint() == before
    lines = (moved / "metadata.jsonl").read_text()
    (moved / "metadata.jsonl").write_text(lines.replace("a blue sea", "a blue lake"))
    assert read_folder(moved, 16).fingerprint() != before
    (moved / "metadata.jsonl").write_text(lines)
    Image.new("RGB", (9, 9), (1, 2, 3)).save(moved / "0.png")
    assert read_folder(moved, 16).fingerprint() != before


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_alone_from_a_damaged_block(tmp_path, orientation):
    """A negative rational (an impossible XResolution) cannot be written again, which exif_transpose tries to do."""
    grid = np.zeros((40, 40, 3), np.uint8)
    grid[:20, :20], grid[:20, 20:], grid[20:, :20] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    tiff = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 2)
    tiff += struct.pack("<HHII", 0x0112, 3, 1, orientation) + struct.pack(
        "<HHII", 0x011A, 10, 1, 38
    )
    tiff += struct.pack("<I", 0) + struct.pack("<ii", -72, 1)
    Image.fromarray(grid).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + tiff, quality=95)
    good = Image.Exif()
    good[0x0112] = orientation
    Image.fromarray(grid).save(tmp_path / "b.jpg", exif=good, quality=95)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "b.jpg"))).astype(int)
    assert np.abs(load_picture(tmp_path / "a.jpg", 40).astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    "array, value",
    [
        (np.full((9, 9), 0.5, np.float32), 128),
        (np.full((9, 9, 3), 100.0, np.float32), 100),
        (np.full((9, 9), 128 * 257, np.uint16), 128),
        (np.full((9, 9), 200, np.uint16), 1),
        (np.full((9, 9), 200, np.int32), 200),
        (np.full((9, 9), 128 * 257, np.int32), 128),
        (np.tile(np.array([-5.0, 5.0, 0.0] * 3, np.float32), (9, 1))[:, 2:3].repeat(9, 1), 0),
        (np.ones((9, 9), bool), 255),
    ],
)
def test_every_depth_is_scaled_by_the_stated_rule(array, value):
    assert abs(int(load_picture(array, 8)[4, 4, 0]) - value) <= 1


def test_float_and_16_bit_files_are_not_black(tmp_path):
    Image.fromarray(np.full((9, 9), 0.5, np.float32)).save(tmp_path / "a.tiff")
    Image.fromarray(np.full((9, 9), 200, np.uint16)).save(tmp_path / "b.png")
    assert load_picture(tmp_path / "a.tiff", 8)[0, 0, 0] == 128
    assert load_picture(tmp_path / "b.png", 8)[0, 0, 0] == 1  # dark, as 16 bits say


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)), st.booleans())
def test_no_metadata_file_ends_in_a_traceback(folder, content, is_csv):
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / ("metadata.csv" if is_csv else "metadata.jsonl")
        path.write_bytes((HEADER.encode() if is_csv else b"") + content)
        with contextlib.suppress(ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read_folder(place, 8)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=64))
def test_no_exif_block_ends_in_a_traceback(block):
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + block)
    assert load_picture(buffer.getvalue(), 8).shape == (8, 8, 3)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=40).filter(str.strip), min_size=1, max_size=4))
def test_every_caption_is_encoded_with_a_tokenizer_of_its_words(texts):
    ids = tokenizer.encode(texts, using=tokenizer.build_caption_tokenizer(texts))
    assert not (ids == tokenizer.UNKNOWN).any()


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
        read_dataset(str(saved), text_column="caption")


def test_a_dataset_that_is_nowhere(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FileNotFoundError, match="no dataset 'nobody/nothing'"):
        read_dataset("nobody/nothing")


def broken_dataset(place):
    """Ten rows: a cut picture, a null, an empty and a missing caption among them."""
    from datasets import Dataset, Features, Value
    from datasets import Image as Pictures

    def png(i):
        buffer = io.BytesIO()
        Image.new("RGB", (9, 9), (i, 0, 0)).save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    pictures = [png(i) for i in range(10)]
    pictures[2] = {"bytes": pictures[2]["bytes"][:40], "path": None}
    pictures[3] = None
    texts = [f"number {i}" for i in range(10)]
    texts[4], texts[5] = " ", None
    features = Features({"image": Pictures(), "text": Value("string")})
    Dataset.from_dict({"image": pictures, "text": texts}, features).save_to_disk(place)
    return place


def test_broken_rows_of_a_dataset_are_named_and_passed_over(tmp_path):
    with pytest.warns(UserWarning, match="4 of 10 .*row 2: .*row 3: there is no picture .null"):
        rows = read_dataset(str(broken_dataset(tmp_path / "saved")), size=8)
    assert rows.texts == tuple(f"number {i}" for i in (0, 1, 6, 7, 8, 9))
    assert rows.batch([2])["pixel_values"].shape == (1, 3, 8, 8)


def test_a_datasets_split_does_not_depend_on_its_place(saved, monkeypatch, tmp_path):
    absolute = read_dataset(str(saved), size=8).split(0.3)
    monkeypatch.chdir(saved.parent)
    relative = read_dataset("saved", size=8).split(0.3)
    assert [part.texts for part in absolute] == [part.texts for part in relative]


@pytest.mark.parametrize(
    "column, words",
    [
        ([[1, 2], [3]], "not a picture|shape"),
        ([7, 8], "7 .int., not a picture"),
        ([b"xx", b"yy"], "not a picture"),
        ([None, None], "no picture .null."),
    ],
)
def test_columns_that_hold_no_pictures_are_named(tmp_path, column, words):
    from datasets import Dataset

    Dataset.from_dict({"image": column, "text": ["a", "b"]}).save_to_disk(tmp_path / "saved")
    with pytest.warns(UserWarning, match=words), pytest.raises(ValueError, match="none of the 2"):
        read_dataset(str(tmp_path / "saved"), size=8)


def number_ids(texts):
    return torch.tensor([[int(text.split()[1])] for text in texts])


def test_streams_pass_over_broken_rows(tmp_path):
    from datasets import load_from_disk

    data = load_from_disk(str(broken_dataset(tmp_path / "saved"))).to_iterable_dataset()
    stream = PictureStream(data, 3, number_ids, size=8)
    seen = [batch["ids"].flatten().tolist() for _, batch in zip(range(3), stream.from_step(0))]
    assert seen == [[0, 1, 6], [7, 8, 9], [0, 1, 6]]


def test_streams_resume_and_share(saved):
    from datasets import load_from_disk

    stream = PictureStream(load_from_disk(str(saved)).to_iterable_dataset(), 4, number_ids, size=8)
    seen = [batch["ids"].flatten().tolist() for _, batch in zip(range(4), stream.from_step(0))]
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1], [2, 3, 4, 5]]
    assert next(stream.from_step(2))["ids"].flatten().tolist() == [8, 9, 0, 1]
    halves = [next(stream.from_step(1, (rank, 2)))["ids"].flatten().tolist() for rank in (0, 1)]
    assert halves == [[4, 6], [5, 7]]
