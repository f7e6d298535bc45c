"""Pictures of the viewer for the README, from the generated sample slide.

Run where there is a display, or with a virtual one:
``xvfb-run -a -s "-screen 0 1280x800x24" python docs/screenshots.py [SLIDE [FOLDER]]``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import napari
from napari.layers import Shapes
from qtpy.QtWidgets import QApplication

from napari_her2.sample import sample_slide
from napari_her2.tma_map import parse_map
from napari_her2.viewer.heatmap_layer import find_heatmap_layer
from napari_her2.viewer.reading import give_reading
from napari_her2.viewer.widgets.her2_widget import HER2Widget
from napari_her2.viewer.widgets.map_dialog import MapDialog

IMAGES = Path(__file__).parent / "images"


def wait(until: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end:
            raise TimeoutError("the viewer did not get there")
        QApplication.processEvents()
        time.sleep(0.01)


def settle(seconds: float = 1.0) -> None:
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def scene(viewer: napari.Viewer) -> object:
    """The part of the viewer that has the camera; napari 0.9 moved it."""
    return viewer.scene if hasattr(viewer, "scene") else viewer


def main(slide: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(show=False)
    viewer.window.resize(1280, 800)
    viewer.show()
    viewer.open(str(slide), plugin="napari-her2")
    widget: HER2Widget = viewer.window.add_plugin_dock_widget("napari-her2", "HER2 scoring")[1]
    session = widget.session

    def shoot(name: str, *, whole: bool = True) -> None:
        viewer.window.resize(1280, 800)
        settle()
        if whole:
            viewer.reset_view(margin=0.02)
            settle()
        viewer.window.screenshot(str(folder / name), canvas_only=False, flash=False)

    widget.cores_box.find.click()
    wait(lambda: not session.busy)
    layer = session.cores_layer
    layer.selected_data = {0, 1}
    widget.cores_box.buttons["Row"].click()
    settle()
    widget.score_box.selected.click()
    wait(lambda: session.run.done >= 2)
    shoot("viewer_scoring.png")
    wait(lambda: not session.working)
    widget.score_box.all.click()
    wait(lambda: not session.working)
    widget.cores_box.buttons["None"].click()
    shoot("viewer.png")
    middle = (len(session.scores()) - 1) / 2
    strong = [(abs(i - middle), s.core) for i, s in enumerate(session.scores().values()) if s.score == "3+"]
    core = min(strong, key=lambda pair: pair[0])[1]
    camera = scene(viewer).camera
    camera.center = tuple(session.image.data_to_world((core.y, core.x)))
    camera.zoom *= 3
    shoot("viewer_core.png", whole=False)
    second_opinion(widget, shoot, session.cores_layer)
    viewer.reset_view(margin=0.02)
    review_page(widget, shoot)
    grid_page(viewer, widget, shoot, folder)
    viewer.close()


def second_opinion(widget: HER2Widget, shoot: Callable[..., None], cores: Shapes) -> None:
    """The cells of a core by class, at the place where the camera is."""
    session, box = widget.session, widget.measure_box
    scored = [core.name for core in session.grid()]
    best = next(i for i, name in enumerate(scored) if name in session.scores() and session.scores()[name].score == "2+")
    cores.selected_data = {best}
    settle()
    box.selected.click()
    wait(lambda: not session.working)
    heatmap = find_heatmap_layer(widget.editor.session.viewer.layers, session.image)
    heatmap.visible = False
    core = session.grid()[scored[best]]
    camera = scene(session.viewer).camera
    places = session.scores()[core.name].places
    heaviest = places.weight.argmax()
    camera.center = tuple(session.image.data_to_world((places.y[heaviest], places.x[heaviest])))
    box.cells.click()
    wait(lambda: not session.working and widget.measuring.core_of_cells)
    shoot("cells.png", whole=False)
    box.cells.click()
    heatmap.visible = True


def review_page(widget: HER2Widget, shoot: Callable[..., None]) -> None:
    """Some cores read, and the page that goes from one to the next."""
    scores = widget.session.scores()
    given = [scores[core.name].score if core.name in scores else "" for core in widget.session.grid()]
    for index, score in enumerate(given):
        if score and index % 4 != 3:
            widget.session.cores_layer.selected_data = {index}
            give_reading(widget.editor, "2+" if index == 6 else score)
    widget.show_review(True)
    settle()
    widget.review_page.previous.click()
    settle()
    shoot("review.png", whole=False)
    widget.show_review(False)


def grid_page(viewer: napari.Viewer, widget: HER2Widget, shoot: Callable[..., None], folder: Path) -> None:
    """The grid: its cores with outlines, and a TMA map before it is applied."""
    session, page = widget.session, widget.grid_page
    widget.show_grid(True)
    page.check.outlines.setChecked(True)
    widget.editor.next_doubtful()
    shoot("grid.png")
    page.check.outlines.setChecked(False)
    names = [core.name for core in session.grid()]
    rows = [f"{name},P{i // 3 + 1},{'pos' if i % 4 else 'neg'}" for i, name in enumerate(names) if i % 9]
    dialog = MapDialog(widget.editor, widget)
    dialog.load(lambda: parse_map("\n".join(["core,patient,ER", *rows, "Z-9,P99,pos", f"{names[1]},P77,neg"])))
    dialog.show()
    settle()
    dialog.grab().save(str(folder / "grid_map.png"))
    dialog.reject()


if __name__ == "__main__":
    arguments = [Path(a) for a in sys.argv[1:3]]
    main(arguments[0] if arguments else sample_slide(), arguments[1] if len(arguments) > 1 else IMAGES)
