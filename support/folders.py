"""Folders of images: which files there are, and the part and class of each."""

import collections
import contextlib
import glob
import os
import pathlib

from PIL import Image

from support.errors import UserError, note
from support.parts import find_part, used_parts

LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}  # and hidden files
HEIC = (".heic", ".heif", ".hif")  # which Pillow reads with pillow-heif only
Path = tuple[str, ...]  # of a file, within a folder: its folders and its name
Labels = dict[Path, str | None]  # the class of each file of a part


def register_heic() -> None:
    """Let Pillow read HEIC if pillow-heif is installed."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def is_picture(path: str) -> bool:
    """Return whether the ending of a file is that of a picture."""
    ending = os.path.splitext(path)[1].lower()
    return ending in HEIC or Image.registered_extensions().get(ending) in Image.OPEN


def list_files(folder: str) -> list[Path]:
    """Return the files in a folder and below it, sorted, without hidden ones or LITTER.

    Links to folders are followed.
    """
    names = glob.glob("**", root_dir=folder, recursive=True)
    paths = [pathlib.PurePath(name).parts for name in names]
    clean = [path for path in paths if not LITTER & {name.lower() for name in path}]
    return sorted(path for path in clean if is_file(os.path.join(folder, *path)))


def is_file(path: str) -> bool:
    """Return whether a path is a file or unreadable, but not a folder or a pipe."""
    return os.path.isfile(path) or not os.access(path, os.R_OK)


def lay_out(folder: str, files: list[Path]) -> dict[str, Labels]:
    """Return the files of "train" and, if there are parts, of "test" or else "val".

    files: the images in the folder. Its subfolders are classes, or parts with classes.
    Say on stderr which ones were opened, taken for parts, or left out.
    Raises UserError if there are images beside a subfolder with images.
    """
    opened, paths = open_single(files)
    if opened:
        note(f"reading {'/'.join(opened)}, the only folder with images in {folder}")
    level = find_level(paths)
    part_of = name_parts({path[level] for path in paths}) if level is not None else {}
    groups = collections.defaultdict(dict)  # by part: file → path without the part
    for file, path in zip(files, paths, strict=True):
        part = "train"
        if level is not None:
            part = part_of.get(path[level]) if len(path) > level + 1 else None
            path = path[:level] + path[level + 1 :]
        groups[part][file] = path
    used = used_parts(groups)
    if level is not None:
        counts = {p: f"{p or 'others'} ({len(groups[p]):,})" for p in groups}
        rest = [counts[part] for part in counts if part not in used]
        left_out = f"; left out: {', '.join(rest)}" if rest else ""
        found = ", ".join(counts[part] for part in used)
        note(f"treated folders as parts, not classes: {found}{left_out}")
    return label_parts({part: groups[part] for part in used}, folder)


def open_single(files: list[Path]) -> tuple[list[str], list[Path]]:
    """Return the folders that hold all files, and the paths of the files below them."""
    opened = os.path.commonprefix([file[:-1] for file in files])
    return list(opened), [file[len(opened) :] for file in files]


def find_level(paths: list[Path]) -> int | None:
    """Return where in the paths the parts are: train/CLASS/… or CLASS/train/…"""
    for level in 0, 1:
        parts = [find_part(p[level]) if len(p) > level + 1 else None for p in paths]
        # Beside train and test there may be other folders, but not within a class.
        if len(set(parts) - {None}) > 1 and (level == 0 or None not in parts):
            return level
    return None


def name_parts(names: set[str]) -> dict[str, str | None]:
    """Return the part that each folder is: test-more is none if there is test, too."""
    parts = {name: find_part(name) for name in names}
    exact = {parts[name] for name in names if name.isalpha()}
    return {n: p if n.isalpha() or p not in exact else None for n, p in parts.items()}


def label_parts(groups: dict[str, dict[Path, Path]], folder: str) -> dict[str, Labels]:
    """Return the class of each file: the name of the first folder below its part.

    groups: by part, the path of each file below it. A single class is none.
    """
    parts, classes = {}, set()
    for part, group in groups.items():
        opened, paths = open_single(list(group.values()))
        beside = sum(len(path) == 1 for path in paths)
        if 0 < beside < len(paths):
            depth = len(next(iter(group))) - len(paths[0])  # of the folder
            where = os.path.join(folder, *next(iter(group))[:depth])
            names = sorted({path[0] for path in paths if len(path) > 1})
            loose = next(path[0] for path in paths if len(path) == 1)
            problem = f"{where} has {beside:,} images, such as {loose}, beside"
            if len(names) == 1:
                inner = os.path.join(where, names[0])
                problem += f" the folder {names[0]}: to use that, give --data {inner}"
            else:
                problem += f" folders, such as {names[0]}: to use those, move {loose}"
                problem += " away" if beside == 1 else " and the like away"
            raise UserError(f"{problem}; to use the images, move the rest away")
        if not beside:
            classes |= {path[0] for path in paths}
        # train/good/1.png belongs to the class "good" if test/ has it beside others.
        name = opened[-1] if opened else None
        labels = [path[0] if len(path) > 1 else name for path in paths]
        parts[part] = dict(zip(group, labels, strict=True))
    for labels in parts.values():
        for file, label in labels.items():
            if label not in classes:
                labels[file] = None
    return parts
