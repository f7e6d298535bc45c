"""``python -m napari_her2`` is ``napari-her2``."""

from napari_her2.cli import main

if __name__ == "__main__":
    main()
