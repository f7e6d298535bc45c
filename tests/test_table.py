from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_her2.colours import SCORE_COLOURS, core_colour
from napari_her2.cores import Core, CoreGrid, CoreState
from napari_her2.errors import CoresError
from napari_her2.membrane.measurement import Measurement
from napari_her2.scores import SCORES, CoreScore
from napari_her2.table import COLUMNS, TEXT_COLUMNS, cores_table, grid_of_table, opinions_differ

A1 = Core("A-1", 0, 0, y=200.5, x=100.25, diameter=80.0, patient_id="007")
A2 = Core("A-2", 0, 1, y=200.0, x=300.0, diameter=80.0, state=CoreState.MISSING)
GRID = CoreGrid((A1, A2))
MEASURED = Measurement(
    "3+",
    "3+: 64 % of 1,240 cells have complete intense membranes.",
    (10.0, 12.0, 14.0, 64.0),
    h_score=232.0,
    completeness=0.8,
    flags=("Fold: 2 % of the tissue is double or thick.",),
)
SCORE = CoreScore(A1, "2+", (0.05, 0.15, 0.7, 0.1), 1.8, indeterminate=True, reason="Little tumour.")

text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12).map(str.strip)
numbers = st.floats(-1e7, 1e7, allow_nan=False)


@st.composite
def grids(draw: st.DrawFn) -> CoreGrid:
    names = draw(st.lists(text.filter(bool), min_size=1, max_size=6, unique=True))
    return CoreGrid(
        tuple(
            Core(
                name,
                draw(st.integers(-1, 40)),
                draw(st.integers(-1, 40)),
                y=draw(numbers),
                x=draw(numbers),
                diameter=draw(st.floats(0.5, 1e6)),
                state=draw(st.sampled_from(CoreState)),
                block=draw(text),
                patient_id=draw(text),
                reader_score=draw(st.sampled_from(["", *SCORES])),
                note=draw(text),
            )
            for name in names
        )
    )


def test_columns_are_the_contract_in_its_order() -> None:
    assert ",".join(COLUMNS) == (
        "image,core,block,row,column,state,x,y,diameter,x_um,y_um,diameter_um,patient_id,her2_score,indeterminate,"
        "confidence,p_0,p_1,p_2,p_3,h_score,percent_0,percent_1,percent_2,percent_3,membrane_completeness,"
        "measured_score,reader_score,note,"
        "found_confidence,doubt,tissue_fraction,flags,batch,measured_reason,opinions_differ,normalised"
    )


def test_one_row_per_core_with_places_in_pixels_and_micrometres() -> None:
    table = cores_table("slide", GRID, {"A-1": SCORE}, 0.5)
    assert list(table.columns) == list(COLUMNS)
    first, second = table.to_dict("records")
    assert (first["x"], first["y"], first["x_um"], first["y_um"], first["diameter_um"]) == (
        100.25,
        200.5,
        50.125,
        100.25,
        40.0,
    )
    assert (first["her2_score"], first["indeterminate"], first["confidence"], first["p_1"]) == ("2+", "yes", 0.7, 0.15)
    assert first["note"] == "[automatic: Little tumour.]"
    assert (second["state"], second["her2_score"], second["indeterminate"]) == ("missing", "", "")
    assert math.isnan(second["confidence"])


def test_measured_staining_stands_beside_the_score_and_says_how_far_they_differ() -> None:
    measured = {"A-1": MEASURED, "A-2": MEASURED}
    first, second = cores_table("slide", GRID, {"A-1": SCORE}, 0.5, measured).to_dict("records")
    assert (first["her2_score"], first["measured_score"], first["opinions_differ"]) == ("2+", "3+", 1)
    assert first["measured_reason"] == MEASURED.sentence
    assert (first["h_score"], first["percent_3"], first["membrane_completeness"]) == (232, 64, 0.8)
    assert first["flags"] == MEASURED.flags[0]
    # a core without tissue shows neither opinion
    assert (second["measured_score"], second["measured_reason"], second["flags"]) == ("", "", "")
    (alone, _) = cores_table("slide", GRID, {}, 0.5, measured).to_dict("records")
    assert (alone["her2_score"], alone["measured_score"]) == ("", "3+")
    assert math.isnan(alone["opinions_differ"])


@pytest.mark.parametrize(("a", "b", "steps"), [("0", "3+", 3), ("2+", "1+", 1), ("1+", "1+", 0)])
def test_opinions_differ_by_steps_either_way(a: str, b: str, steps: int) -> None:
    assert opinions_differ(a, b) == opinions_differ(b, a) == steps


def test_unknown_pixel_size_leaves_the_micrometres_empty() -> None:
    table = cores_table("slide", GRID, {}, None)
    assert table[["x_um", "y_um", "diameter_um"]].isna().all().all()
    assert table[["x", "y", "diameter"]].notna().all().all()


def test_types_do_not_depend_on_what_is_filled_in() -> None:
    for grid in (GRID, CoreGrid(())):
        table = cores_table("slide", grid, {}, None)
        assert table["row"].dtype == table["column"].dtype == np.int64
        for column in set(COLUMNS) - TEXT_COLUMNS - {"row", "column"}:
            assert table[column].dtype == np.float64, column
        assert all(isinstance(v, str) for c in TEXT_COLUMNS for v in table[c])


def test_a_core_that_failed_has_a_reason_and_no_score() -> None:
    failed = CoreScore(A1, reason="The file is damaged there.")
    row = cores_table("slide", GRID, {"A-1": failed}, 0.5).iloc[0]
    assert (row["her2_score"], row["indeterminate"], row["note"]) == ("", "", "[automatic: The file is damaged there.]")


def test_the_note_of_the_user_survives_ours_and_an_excluded_core_shows_no_score() -> None:
    noted = CoreGrid((replace(A1, note="mine"),))
    table = cores_table("s", noted, {"A-1": SCORE}, 1.0)
    assert table.iloc[0]["note"] == "mine [automatic: Little tumour.]"
    assert grid_of_table(table) == noted
    excluded = GRID.with_state(["A-1"], CoreState.EXCLUDED)
    assert cores_table("s", excluded, {"A-1": SCORE}, 1.0).iloc[0]["her2_score"] == ""


@given(grids())
def test_the_table_gives_the_same_grid_back(grid: CoreGrid) -> None:
    assert grid_of_table(cores_table("slide", grid, {}, 0.25)) == grid


def test_four_columns_are_enough() -> None:
    (core,) = grid_of_table(pd.DataFrame({"core": ["A-1"], "x": [1.0], "y": [2.0], "diameter": [3.0]}))
    assert (core.x, core.y, core.row, core.state) == (1.0, 2.0, -1, CoreState.TISSUE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": None}, "no column x"),
        ({"x": ["left"]}, 'The x of core A-1 is "left"'),
        ({"y": [math.inf]}, "The y of core A-1"),
        ({"diameter": [0.0]}, "diameter of core A-1 is 0"),
        ({"state": ["gone"]}, "can be tissue, missing, excluded"),
        ({"reader_score": ["4+"]}, "can be 0, 1[+], 2[+], 3[+]"),
        ({"core": [""]}, "Line 2 .* no core name"),
    ],
)
def test_a_foreign_table_is_refused_in_one_sentence(change: dict[str, list[object] | None], says: str) -> None:
    columns = {"core": ["A-1"], "x": [1.0], "y": [2.0], "diameter": [3.0]} | change
    with pytest.raises(CoresError, match=says):
        grid_of_table(pd.DataFrame({k: v for k, v in columns.items() if v is not None}))


def test_an_empty_table_and_a_double_name_are_refused() -> None:
    with pytest.raises(CoresError, match="holds no core"):
        grid_of_table(pd.DataFrame(columns=["core", "x", "y", "diameter"]))
    twice = pd.DataFrame({"core": ["A-1"] * 2, "x": [1.0, 2.0], "y": [2.0, 2.0], "diameter": [3.0, 3.0]})
    with pytest.raises(CoresError, match="Two cores are called A-1"):
        grid_of_table(twice)


def test_every_score_and_state_has_a_colour_and_scores_differ_for_every_eye() -> None:
    from skimage.color import deltaE_ciede2000, rgb2lab

    # Machado et al. 2009, severity 1, on linear RGB
    sights = {
        "normal": np.eye(3),
        "protanope": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.052]],
        "deuteranope": [[0.3673, 0.8606, -0.228], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    }
    for sight, matrix in sights.items():
        lab = {}
        for score in (*SCORES, ""):
            rgb = np.array([int(SCORE_COLOURS[score][i : i + 2], 16) for i in (1, 3, 5)]) / 255
            seen = np.clip(np.asarray(matrix) @ (rgb**2.2), 0, 1) ** (1 / 2.2)
            lab[score] = rgb2lab(seen[None, None])[0, 0]
        for a in lab:
            for b in lab:
                assert a == b or deltaE_ciede2000(lab[a], lab[b]) > 14, (sight, a, b)
    assert {core_colour(s, "") for s in CoreState} <= set(SCORE_COLOURS.values())
    assert core_colour(CoreState.MISSING, "3+") == SCORE_COLOURS["missing"]
