"""support/readers.py, tables.py, parts.py: files of arrays, and hostile ones."""

import csv
import gzip
import pathlib
import re
import struct
import zipfile

import numpy as np
import pytest
from conftest import bars, idx, save_images

from support import data, parts, readers, tables
from support.errors import UserError

IMAGES, LABELS = bars(25, 0)
LABELS = LABELS.astype("uint8")


# .npz files


def npy(shape, content):
    """Return an .npy file of bytes whose header promises a shape."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + content


def npz_file(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x_train.npy", content)


class Pickled:
    """Fails the test that unpickles it."""

    def __reduce__(self):
        return pytest.fail, ("a data file was executed",)


HOSTILE_NPZ = {
    "text": lambda path: path.write_text("not a zip file"),
    "empty": lambda path: path.touch(),
    "npy": lambda path: path.write_bytes(npy((1,), b"1")),
    "more than there is": lambda path: npz_file(path, npy((9, 9, 9), b"1")),
    "exabytes": lambda path: npz_file(path, npy((2**20,) * 3, b"1")),
    "negative": lambda path: npz_file(path, npy((-5, 2, 2), b"1")),
    "header of 1 MB": lambda path: npz_file(path, npy((1,) * 20000, b"1")),
    "pickle": lambda path: np.savez(path, x_train=np.array([Pickled()], object)),
    "no array": lambda path: npz_file(path, b"hello"),
    "objects": lambda path: np.savez(path, x_train=np.array([{}, IMAGES], object)),
    "two of them": lambda path: np.savez(path, a=IMAGES, b=IMAGES),
    "wrong CRC": lambda path: path.write_bytes(damaged(path)),
    "cut": lambda path: path.write_bytes(damaged(path)[:-60]),
}


def damaged(path):
    np.savez(path, x_train=IMAGES)
    content = bytearray(path.read_bytes())
    content[1000] ^= 255
    return content


@pytest.mark.parametrize("kind", HOSTILE_NPZ)
def test_hostile_npz_files_are_told_in_a_line(tmp_path, kind):
    path = tmp_path / "a.npz"
    HOSTILE_NPZ[kind](path)
    with pytest.raises(UserError, match=re.escape(str(path))) as failure:
        data.load(str(path))
    assert str(failure.value).count("\n") == 0
    assert "unsafe" not in str(failure.value)  # NumPy's advice about pickles


# IDX files


def idx_file(folder, name, content, zipped):
    path = folder / (name + ".gz" * zipped)
    path.write_bytes(gzip.compress(content) if zipped else content)
    return path


WHOLE = idx(IMAGES[:2, :3, :2])
HOSTILE_IDX = [
    *(WHOLE[:size] for size in range(len(WHOLE))),
    WHOLE + b"more",
    b"\x89PNG\r\n",
    struct.pack(">HBBIII", 0, 8, 3, *[2**32 - 1] * 3),
    struct.pack(">HBBIII", 0, 8, 3, 2**31, 2**31, 4),  # 2**64 wraps around to 0
    struct.pack(">HBBIII", 0, 13, 3, 1, 1, 1) + bytes(4),  # a float
    struct.pack(">HBB", 0, 8, 200) + b"\0\0\0\1" * 200 + b"1",
]


@pytest.mark.parametrize("zipped", [False, True])
def test_hostile_idx_files(tmp_path, zipped):
    for content in HOSTILE_IDX:
        path = idx_file(tmp_path, "train-images-idx3-ubyte", content, zipped)
        says = f"cannot read {path}: .*; download it again"
        with pytest.raises(UserError, match=says) as failure:
            data.load(str(tmp_path))
        assert "\n" not in str(failure.value)


def test_truncated_gzip_files(tmp_path):
    path = idx_file(tmp_path, "a", WHOLE, zipped=True)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(UserError, match="cannot read .*; download it again"):
            readers.read_idx_file(str(path))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("parts", [4, 2, 1])
def test_folders_of_idx_files(tmp_path, zipped, parts):
    files = [
        ("train-images-idx3-ubyte", "x_train", IMAGES),
        ("train-labels-idx1-ubyte", "y_train", LABELS),
        ("t10k-images.idx3-ubyte", "x_test", IMAGES[:5]),  # a period, as some have it
        ("t10k-labels.idx1-ubyte", "y_test", LABELS[:5]),
    ]
    for file, _, array in files[:parts]:
        idx_file(tmp_path, file, idx(array), zipped)
    (tmp_path / "train-images-idx3-ubyte-folder").mkdir()
    dataset = data.load(str(tmp_path))
    assert (dataset.class_names is None) == (parts == 1)
    if parts == 4:
        np.testing.assert_array_equal(dataset.train.images, IMAGES)
        np.testing.assert_array_equal(dataset.test.images, IMAGES[:5])
        np.testing.assert_array_equal(dataset.train.labels, LABELS)
        np.testing.assert_array_equal(dataset.test.labels, LABELS[:5])
    else:
        assert (len(dataset.train.images), len(dataset.test.images)) == (20, 5)


def test_emnist_is_turned_upright_and_its_first_set_is_read(tmp_path):
    for part, images in ("train", IMAGES), ("test", IMAGES[:5]):
        for split, stored in ("digits", images), ("mnist", images[:2]):
            name = f"emnist-{split}-{part}"
            turned = stored.swapaxes(1, 2)
            idx_file(tmp_path, f"{name}-images-idx3-ubyte", idx(turned), True)
            idx_file(tmp_path, f"{name}-labels-idx1-ubyte", idx(LABELS), True)
    read = readers.read_idx(readers.find_files(str(tmp_path)))
    np.testing.assert_array_equal(read["x_train"], IMAGES)
    np.testing.assert_array_equal(read["x_test"], IMAGES[:5])
    np.testing.assert_array_equal(read["y_test"], LABELS)


# Arrays as other people save them


COLORS = np.stack([IMAGES] * 3, axis=-1)
PARTS = {"train": slice(0, 15), "val": slice(15, 20), "test": slice(20, 25)}


@pytest.mark.parametrize("images", [IMAGES, COLORS])
def test_medmnist(tmp_path, capsys, images):
    arrays = {f"{part}_images": images[at] for part, at in PARTS.items()}
    arrays |= {f"{part}_labels": LABELS[at, None] for part, at in PARTS.items()}
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = data.load(str(tmp_path / "a.npz"))
    np.testing.assert_array_equal(dataset.train.images, images[:15])
    np.testing.assert_array_equal(dataset.test.images, images[20:])
    np.testing.assert_array_equal(dataset.test.labels, LABELS[20:])
    shape = (5, *images.shape[1:])
    note = f"note: left out val_images {shape}, val_labels (5, 1) in {tmp_path}/a.npz\n"
    assert capsys.readouterr().err == note
    del arrays["test_images"], arrays["test_labels"]
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = data.load(str(tmp_path / "a.npz"))
    np.testing.assert_array_equal(dataset.test.images, images[15:20])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("save", [np.savez, np.save])
def test_a_file_per_array_as_of_kmnist(tmp_path, save):
    ending = {np.savez: "npz", np.save: "npy"}[save]
    for part, at in ("train", slice(0, 20)), ("test", slice(20, 25)):
        save(tmp_path / f"kmnist-{part}-imgs.{ending}", IMAGES[at])
        save(tmp_path / f"kmnist-{part}-labels.{ending}", LABELS[at])
    dataset = data.load(str(tmp_path))
    np.testing.assert_array_equal(dataset.train.images, IMAGES[:20])
    np.testing.assert_array_equal(dataset.test.images, IMAGES[20:])
    np.testing.assert_array_equal(dataset.test.labels, LABELS[20:])
    dataset = data.load(str(tmp_path / f"kmnist-test-imgs.{ending}"))
    assert len(dataset.train.images) == 4  # by itself, all there is


def test_files_with_the_same_arrays(tmp_path):
    def save(file, **arrays):
        np.savez(tmp_path / file, **arrays)

    save("train.npz", x=IMAGES[:20], y=LABELS[:20])
    save("test.npz", x=IMAGES[20:], y=LABELS[20:])
    dataset = data.load(str(tmp_path))
    np.testing.assert_array_equal(dataset.train.images, IMAGES[:20])
    np.testing.assert_array_equal(dataset.test.labels, LABELS[20:])
    (tmp_path / "days").mkdir()
    for day in 1, 2:
        save(f"days/{day}.npz", images=IMAGES, labels=LABELS)
    with pytest.raises(
        UserError, match=r"cannot find the images .* holds 1.npz images"
    ):
        data.load(str(tmp_path / "days"))


def test_dsprites_has_metadata_that_nobody_unpickles(tmp_path):
    sprites = np.uint8(IMAGES > 0)
    metadata = np.array(Pickled(), object)
    factors = {"latents_values": np.ones((25, 6)), "latents_classes": np.ones((25, 6))}
    np.savez(tmp_path / "a.npz", metadata=metadata, imgs=sprites, **factors)
    dataset = data.load(str(tmp_path / "a.npz"))
    images = np.concatenate([dataset.train.images, dataset.test.images])
    assert len(images) == 25 and set(np.unique(images)) == {0, 255}
    assert dataset.train.names[0].startswith("imgs[")
    assert dataset.class_names is None


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        ("X_train y_train X_test y_test", "X_train y_train X_test y_test"),
        ("trainX trainY testX testY", "trainX trainY testX testY"),
        ("trainImages trainLabels", "trainImages trainLabels"),
        ("xtrain ytrain xval yval", "xtrain ytrain xval yval"),
        ("training_images training_targets", "training_images training_targets"),
        ("arr_0 arr_1", "arr_0 arr_1"),
        ("data target", "data target"),
        ("image label mask", "image label"),
        ("faces", "faces"),
        ("test_images test_labels", "test_images test_labels"),
    ],
)
def test_arrays_are_found_by_their_names(tmp_path, names, roles):
    is_label = re.compile("y|label|target|arr_1", re.IGNORECASE)
    arrays = {n: LABELS if is_label.search(n) else IMAGES for n in names.split()}
    np.savez(tmp_path / "a.npz", ids=np.arange(25), scale=np.array(255), **arrays)
    stored = readers.find_arrays(str(tmp_path / "a.npz"))
    found = parts.find_roles({name: array.shape for name, array in stored.items()})
    assert " ".join(name for both in found.values() for name in both if name) == roles
    assert len(data.load(str(tmp_path / "a.npz")).train.images) >= 20


def test_left_out_arrays_are_mentioned(tmp_path, capsys):
    names = np.array(LABELS.tolist(), object)
    np.savez(tmp_path / "a.npz", x_train=IMAGES, y_train=names, fine_labels=LABELS)
    data.load(str(tmp_path / "a.npz"))
    note = f"note: left out y_train (25,) in {tmp_path}/a.npz\n"
    assert capsys.readouterr().err == note


@pytest.mark.parametrize("name", ["X.NPZ", "ubyte.npz", "labels.csv", "Y.CSV"])
def test_names_of_files_mean_nothing_else(tmp_path, name):
    path = tmp_path / name
    if name.lower().endswith("npz"):
        with open(path, "wb") as file:
            np.savez(file, x_train=IMAGES)
    else:
        write_table(path, ["label", *PIXELS], LABELS, ROWS)
    assert data.load(str(path)).train.images.shape == (20, 12, 12)
    assert data.load(str(tmp_path)).train.images.shape == (20, 12, 12)


def test_a_single_idx_file(tmp_path):
    path = idx_file(tmp_path, "train-images-idx3-ubyte", idx(IMAGES), zipped=True)
    assert data.load(str(path)).train.images.shape == (20, 12, 12)


def test_an_error_lists_what_the_file_holds(tmp_path):
    np.savez(tmp_path / "a.npz", a=IMAGES, b=COLORS, ids=LABELS)
    says = "holds a (25, 12, 12) uint8, b (25, 12, 12, 3) uint8, ids (25,) uint8; write"
    with pytest.raises(UserError, match=re.escape(says)):
        data.load(str(tmp_path / "a.npz"))
    ragged = np.empty(2, object)
    ragged[:] = [IMAGES[0], IMAGES[0, 1:]]
    np.savez(tmp_path / "a.npz", x_train=ragged)
    with pytest.raises(UserError, match=r"holds x_train \(2,\) object; objects, such"):
        data.load(str(tmp_path / "a.npz"))


@pytest.mark.parametrize("flat", [False, True])
def test_npy_files(tmp_path, flat):
    path = tmp_path / "a.npy"
    np.save(path, IMAGES.reshape(25, 144) if flat else IMAGES)
    dataset = data.load(str(path))
    places = [int(name[6:-1]) for name in dataset.train.names]
    np.testing.assert_array_equal(dataset.train.images, IMAGES[places])
    content = path.read_bytes()
    np.save(path, np.array([Pickled()], object))
    for hostile in path.read_bytes(), b"", b"text", content[:-1], content[:80]:
        path.write_bytes(hostile)
        with pytest.raises(UserError, match=re.escape(str(path))) as failure:
            data.load(str(path))
        assert "\n" not in str(failure.value)


# Tables


ROWS = IMAGES.reshape(25, 144)
PIXELS = [f"pixel{i}" for i in range(144)]
WORDS = np.array(["ant", 'b "c", d', "eel"])[LABELS]


def write_table(path, header, *columns, separator=","):
    open_file = gzip.open if path.suffix == ".gz" else open
    with open_file(path, "wt", newline="", encoding="utf-8-sig") as file:
        table = csv.writer(file, delimiter=separator)
        table.writerows([header] * bool(header))
        table.writerows(np.concatenate([np.c_[c].astype(object) for c in columns], 1))
        file.write("\r\n")  # an empty line, as many have
    return str(path)


@pytest.mark.parametrize(
    ("header", "columns", "classes"),
    [
        (["label", *PIXELS], (LABELS, ROWS), "012"),  # Kaggle's digits
        ([*PIXELS, "Label"], (ROWS, LABELS + 9), ["9", "10", "11"]),
        (["", *PIXELS, "class"], (range(25), ROWS, WORDS), sorted(set(WORDS))),
        (["id", *PIXELS], (range(25), ROWS), None),
        (PIXELS, (ROWS,), None),
        (None, (ROWS,), None),
        (None, (LABELS, ROWS), "012"),  # mnist_train.csv
        (None, (ROWS, WORDS), sorted(set(WORDS))),  # UCI, OpenML
        (None, (ROWS, LABELS), "012"),
        (None, (range(25), ROWS), None),
        (list(range(144)), (ROWS,), None),  # DataFrame(x).to_csv(index=False)
        (["", *range(144)], (range(25), ROWS), None),
        (["0", *(f"0.{i}" for i in range(1, 145))], (LABELS, ROWS), "012"),
        (["ImageId", *PIXELS, "label"], (range(25), ROWS, LABELS + 0.0), "012"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_tables(tmp_path, monkeypatch, header, columns, classes, name):
    monkeypatch.setattr(tables, "LINES", 10)  # at once
    path = write_table(tmp_path / name, header, *columns)
    dataset = data.load(path)
    places = [int(re.search(r"\[(\d+)\]", name)[1]) for name in dataset.test.names]
    np.testing.assert_array_equal(dataset.test.images, IMAGES[places])
    if classes is None:
        assert dataset.class_names is None
    else:
        assert dataset.class_names == list(classes)
        np.testing.assert_array_equal(dataset.test.labels, LABELS[places])


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("white", [1, 255, 4095])
def test_tables_of_other_numbers(tmp_path, separator, white):
    values = ROWS / 255 if white == 1 else ROWS * int(white // 255)
    path = write_table(tmp_path / "a.csv", PIXELS, values, separator=separator)
    assert data.load(path).train.images.max() > 200


def test_tables_that_hold_no_images(tmp_path):
    good = write_table(tmp_path / "good.csv", PIXELS, ROWS)
    text = write_table(tmp_path / "a.csv", ["name", "age"], WORDS, LABELS)
    cut = tmp_path / "cut.csv"
    cut.write_text(pathlib.Path(good).read_text("utf-8-sig")[:-30])
    (tmp_path / "empty.csv").touch()
    (tmp_path / "head.csv").write_text("a,b\n")
    (tmp_path / "zip.csv.gz").write_bytes(b"no gzip")
    names = text, cut, *(tmp_path / n for n in ("empty.csv", "head.csv", "zip.csv.gz"))
    for path in names:
        with pytest.raises(UserError, match="cannot read .*row per image") as failure:
            data.load(str(path))
        assert "\n" not in str(failure.value)
    few = write_table(tmp_path / "few.csv", ["a1", "a2"], LABELS, LABELS)
    with pytest.raises(UserError, match="a table or a time series is not images"):
        data.load(few)
    with pytest.raises(UserError, match=r"holds a.csv, .*: give one of these files"):
        data.load(str(tmp_path))


def test_tables_with_names_of_parts(tmp_path):
    write_table(tmp_path / "fashion_train.csv", ["label", *PIXELS], LABELS, ROWS)
    write_table(tmp_path / "fashion_test.csv", PIXELS, ROWS[:5] * 16.0)  # 12 bits
    dataset = data.load(str(tmp_path))
    np.testing.assert_array_equal(dataset.train.labels, LABELS)
    assert (len(dataset.train.images), len(dataset.test.images)) == (25, 5)
    assert (dataset.test.labels, dataset.bits) == (None, 12)


def test_columns_that_are_left_out_are_mentioned(tmp_path, capsys):
    path = write_table(tmp_path / "a.csv", ["emotion", *PIXELS], LABELS, ROWS)
    assert data.load(path).class_names is None
    note = f"note: left out the columns emotion of {path}\n"
    assert capsys.readouterr().err.startswith(note)


def test_a_table_beside_pictures_is_about_them(tmp_path):
    save_images(tmp_path, [f"{i}.png" for i in range(10)])
    write_table(tmp_path / "labels.csv", ["file", "label"], WORDS, LABELS)
    assert data.load(str(tmp_path)).train.images.shape == (8, 28, 28)


# Each of these layouts trains


def save_medmnist(folder):
    arrays = {f"{part}_images": COLORS[at] for part, at in PARTS.items()}
    labels = {f"{part}_labels": LABELS[at, None] for part, at in PARTS.items()}
    np.savez(folder / "a.npz", **arrays, **labels)
    return folder / "a.npz"


def save_kmnist(folder):
    for part in "train", "test":
        np.savez(folder / f"kmnist-{part}-imgs.npz", IMAGES)
        np.savez(folder / f"kmnist-{part}-labels.npz", LABELS)
    return folder


def save_kaggle(folder):
    return write_table(folder / "train.csv", ["label", *PIXELS], LABELS, ROWS)


def save_dsprites(folder):
    more = {"latents_classes": np.ones((25, 6)), "metadata": np.array({}, object)}
    np.savez(folder / "a.npz", imgs=np.uint8(IMAGES > 0), **more)
    return folder / "a.npz"


def save_cifar(folder):
    arrays = {"x_train": COLORS, "y_train": LABELS[:, None]}
    arrays |= {"x_test": COLORS[:5], "y_test": LABELS[:5, None]}
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


@pytest.mark.usefixtures("eager", "here")
@pytest.mark.parametrize(
    ("save", "counts"),
    [
        (save_medmnist, "15 images, 5 held out"),
        (save_kmnist, "25 images, 25 held out"),
        (save_kaggle, "20 images, 5 held out"),
        (save_dsprites, "20 images, 5 held out"),
        (save_cifar, "25 images, 5 held out"),
    ],
)
def test_layouts_of_other_people_train(run_here, tmp_path, save, counts):
    folder = tmp_path / "data"
    folder.mkdir()
    options = ["--data", save(folder), "--hidden", 4, "--epochs", 1]
    result = run_here("vae_mnist.py", *options)
    assert (result.status, f"training on {counts}" in result.stdout) == (0, True)
    losses = re.search(r"held-out loss ([\d.]+) nats", result.stdout)
    assert 5 < float(losses[1]) < 500
    result = run_here("plot_latent.py")
    assert (result.status, "error" in result.stderr) == (0, False)
