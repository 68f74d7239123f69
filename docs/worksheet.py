"""Write docs/worksheet.md: the exercises of docs/lesson.md without their answers."""

import pathlib
import re

DOCS = pathlib.Path(__file__).parent
POINTER = "[worksheet.md](worksheet.md) has the exercises without their answers. "


def exercises() -> str:
    lesson = (DOCS / "lesson.md").read_text(encoding="utf-8")
    start = lesson.index("## With the page only")
    sheet = lesson[start:].replace(POINTER, "")
    return re.sub(r"^<details>.*?^</details>\n", "", sheet, flags=re.M | re.S)


if __name__ == "__main__":
    (DOCS / "worksheet.md").write_text(
        "# Exercises\n\n" + exercises(), encoding="utf-8"
    )
