"""The page's files: small, and nothing in them loads or runs what others wrote."""

import json
import re
from pathlib import Path

STATIC = Path(__file__).parents[3] / "server/page/static"
SCRIPTS = sorted(STATIC.glob("*.js"))
MOST_SCRIPT = 50_000
UNSAFE = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|DOMParser|srcdoc|setHTML"


def test_the_script_is_small_and_needs_no_build():
    assert sum(path.stat().st_size for path in SCRIPTS) <= MOST_SCRIPT
    imported = {name for path in SCRIPTS for name in re.findall(r'from "\./(\S+)"', path.read_text())}
    assert imported | {"main.js", "start.js"} == {path.name for path in SCRIPTS}


def test_no_script_parses_markup():
    unsafe = [(path.name, found) for path in SCRIPTS for found in re.findall(UNSAFE, path.read_text())]
    assert unsafe == []


def test_nothing_comes_from_elsewhere_and_nothing_is_inline():
    index = (STATIC / "index.html").read_text()
    texts = {path.name: path.read_text() for path in STATIC.iterdir() if path.suffix != ".png"}
    foreign = {
        name: re.findall(r"https?://(?!www\.w3\.org/2000/svg)[^\s\"'`)/]+", text)
        for name, text in texts.items()
    }
    assert {name: found for name, found in foreign.items() if any("." in each for each in found)} == {}
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=)|javascript:", index) == []
    asked = re.findall(r'(?:src|href)="(app/static/[^"]+)"', index)
    assert [each for each in asked if not (STATIC / Path(each).name).is_file()] == []
    assert {Path(each).name for each in asked if each.endswith(".js")} == {path.name for path in SCRIPTS}


def test_every_part_that_a_script_takes_from_a_template_is_there():
    index = (STATIC / "index.html").read_text()
    templates = set(re.findall(r'<template id="t-(\w+)"', index))
    taken = {name for path in SCRIPTS for name in re.findall(r'(?:stamp|view)\("(\w+)"', path.read_text())}
    assert taken | {"user", "answer"} == templates
    icons = set(re.findall(r'href="#(i-\w+)"', index))
    assert icons <= set(re.findall(r'<symbol id="(i-\w+)"', index))


def test_every_sentence_that_a_script_says_is_in_the_page():
    (words,) = re.findall(
        r'<template id="words">(.*?)</template>', (STATIC / "index.html").read_text(), re.DOTALL
    )
    fills = {name: text.count("{}") for name, text in re.findall(r'<p id="([a-z-]+)">(.+)</p>', words)}
    scripts = "".join(path.read_text() for path in SCRIPTS)
    assert set(re.findall(r'sentence\("([a-z-]+)"', scripts)) == fills.keys()
    assert re.findall(r'["`][A-Z“][^"`;]* [^"`;]*[.?]["`]', scripts) == []


def test_it_can_be_installed_on_a_phone():
    manifest = json.loads((STATIC / "manifest.webmanifest").read_text())
    assert (manifest["display"], manifest["start_url"]) == ("standalone", "../../app")
    sizes = {icon["sizes"]: STATIC / icon["src"] for icon in manifest["icons"]}
    assert {"192x192", "512x512"} <= sizes.keys()
    for size in ("192x192", "512x512"):
        header = sizes[size].read_bytes()[:24]
        assert header.startswith(b"\x89PNG")
        assert f"{int.from_bytes(header[16:20])}x{int.from_bytes(header[20:24])}" == size
