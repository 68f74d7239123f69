"""Print the means over seeds, and the worst, of the reports in docs/reports."""

import collections
import json
import pathlib
import statistics

FOLDER = pathlib.Path(__file__).parent / "reports"
COLUMNS = {  # what a report has: what the table calls it
    "negative_bound": "−ELBO",
    "importance_weighted": "−log p(x) or p(x|y), sampled",
    "quadrature": "the same, exact",
    "marginal_importance_weighted": "−log p(x) from all labels, sampled",
    "marginal_quadrature": "that, exact",
}


def main() -> None:
    groups, areas = collections.defaultdict(list), collections.defaultdict(list)
    for path in sorted(FOLDER.glob("*.json")):
        name, _ = path.stem.rsplit("-", 1)
        report = json.loads(path.read_text(encoding="utf-8"))
        groups[name].append(report)
        if report.get("roc"):
            rows = {row["class"]: row for row in report["roc"]}
            areas[name].append(rows["all of these"])
    print(
        "| report | seeds |",
        *(f"{column} |" for column in [*COLUMNS.values(), "labels"]),
    )
    print("|---" * (len(COLUMNS) + 3) + "|")
    for name, reports in groups.items():
        cells = [name, str(len(reports))]
        for key in COLUMNS:
            values = [report[key][0] for report in reports if report.get(key)]
            mean = statistics.mean(values) if values else None
            cells.append(f"{mean:.2f} ({max(values):.2f})" if values else "")
        shares = [r["recognized"] for r in reports if r.get("recognized")]
        mean = statistics.mean(shares) if shares else None
        cells.append(f"{mean:.1%} ({min(shares):.1%})" if shares else "")
        print("| " + " | ".join(cells) + " |")
    for name, rows in areas.items():
        values = [row["area"] for row in rows]
        print(f"{name}: area {statistics.mean(values):.3f}, worst {min(values):.3f}")


if __name__ == "__main__":
    main()
