"""Write docs/worksheet.md: the exercises of docs/lesson.md without their answers."""

import pathlib
import re

DOCS = pathlib.Path(__file__).parent
START = """# Exercises

Answers are in [lesson.md](lesson.md#exercises-predict-then-run).

"""


def exercises() -> str:
    lesson = (DOCS / "lesson.md").read_text(encoding="utf-8")
    start = lesson.index("## With the page only")
    return re.sub(r"^<details>.*?^</details>\n", "", lesson[start:], flags=re.M | re.S)


if __name__ == "__main__":
    (DOCS / "worksheet.md").write_text(START + exercises(), encoding="utf-8")
