"""The figures of the reference table as a chart, drawn with the extra `bench`."""

from collections.abc import Mapping, Sequence
from typing import Any

from reference_cases import CLAIMS, claimed

SHAPES = {"PostgreSQL": ("o", "#1f6fb4"), "SQLite": ("D", "#d9730d")}
CLAIM = "#c9ced6"
INK = "#24292f"
PAPER = "#fbfbfa"
ROW = 0.24  # inches
FLOOR, CEILING = 0.4, 40_000


def draw(title: str, results: Mapping[str, Sequence[Any]], path: str) -> None:
    """Draw the ratios of each engine beside the claims, into an SVG or PNG file.

    Args:
        title: What has been compared.
        results: By engine; each with its `case` and its `ratio`.
        path: The file.
    """
    # Needs an optional extra.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    ratios = {
        engine: {result.case.text: result.ratio for result in found}
        for engine, found in results.items()
    }
    claims = {r.case.text: r.case.claim for found in results.values() for r in found}
    places = _places(claims)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cmcore"}):
        figure = Figure(figsize=(9.5, 1.4 + ROW * (max(places.values()) + 1)))
        figure.set_facecolor(PAPER)
        axes: Any = figure.add_subplot(facecolor=PAPER)
        for claim, (least, most) in CLAIMS.items():
            rows = [places[text] for text in claims if claims[text] == claim]
            if rows:
                _draw_claim(axes, claim, (least, most), rows)
        for engine, found in ratios.items():
            marker, colour = SHAPES[engine]
            axes.scatter(
                [min(max(r, FLOOR), CEILING) for r in found.values()],
                [places[text] for text in found],
                marker=marker,
                s=34,
                color=colour,
                label=engine,
                zorder=3,
            )
        _dress(axes, title, places)
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")


def _places(claims: Mapping[str, str]) -> dict[str, float]:
    """Return the row of each question, with a gap before each group for its heading."""
    places: dict[str, float] = {}
    row = 0.0
    before = None
    for text, claim in claims.items():
        row += 1 if claim == before else 2.4
        places[text] = row
        before = claim
    return places


def _draw_claim(
    axes: Any, claim: str, ratios: tuple[int, int], rows: Sequence[float]
) -> None:
    """Draw what is claimed for a group of rows: a bar, however narrow."""
    least, most = ratios
    top, bottom = min(rows) - 0.5, max(rows) + 0.5
    left, right = least / 1.04, most * 1.04
    axes.fill_betweenx([top, bottom], left, right, color=CLAIM, zorder=1, linewidth=0)
    heading = f"{claim}: claimed {claimed(claim)} times"
    axes.text(FLOOR, top - 0.25, heading, color=INK, weight="bold", fontsize=9)


def _dress(axes: Any, title: str, places: Mapping[str, float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(FLOOR, CEILING)
    axes.set_ylim(max(places.values()) + 1, 0.4)
    axes.set_xticks([1, 10, 100, 1000, 10_000], ["1", "10", "100", "1,000", "10,000"])
    axes.axvline(1, color=INK, linewidth=1, zorder=2)
    axes.grid(axis="x", color=CLAIM, linewidth=0.6, zorder=0)
    axes.set_yticks(list(places.values()), list(places), fontsize=8.5)
    axes.set_xlabel("times faster than without indexes (logarithmic)", color=INK)
    axes.set_title(title, color=INK, weight="bold", fontsize=11, loc="left", pad=22)
    axes.tick_params(colors=INK, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.fill_between([], [], color=CLAIM, label="claimed")
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=3,
        frameon=False,
        labelcolor=INK,
        fontsize=9,
    )
