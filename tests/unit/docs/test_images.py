"""The pictures of the documentation are those that their script draws, and well-formed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

IMAGES = Path(__file__).resolve().parents[3] / "docs" / "images"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_images", IMAGES / "make_images.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pictures_are_up_to_date() -> None:
    for name, draw in script().PICTURES.items():
        assert (IMAGES / name).read_text(encoding="utf-8") == draw()


def test_pictures_are_well_formed_and_have_a_title() -> None:
    for path in IMAGES.glob("*.svg"):
        root = ElementTree.parse(path).getroot()
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None and title.text
