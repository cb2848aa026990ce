"""The site builds without a warning and without a network, and fetches nothing when it is read."""

import re
import subprocess
import sys

import pytest
from console import ROOT

pytest.importorskip("mkdocs", reason="needs mkdocs-material: pip install mkdocs-material")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_builds_strictly_with_every_page(site):
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")} - {"404.html"}
    written = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages == {*written, "index.html", "changelog.html"}
    assert not list(site.rglob("*.py"))


def test_a_page_fetches_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|img|iframe)[^>]*\ssrc="([^"]+)"|<link[^>]*\srel="stylesheet"[^>]*\shref="([^"]+)"', page.read_text()
        )
        assert not [url for pair in fetched for url in pair if re.match(r"(https?:)?//", url)], page.name


def test_the_readme_and_the_change_log_are_pages(site):
    index = (site / "index.html").read_text()
    assert "Decides <strong>which loss trains a network best</strong>" in index
    assert 'href="docs/' not in index
    assert 'href="tutorial.html' in index
    assert "Keep a Changelog" in (site / "changelog.html").read_text()


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_between_files_works_on_a_code_host_too(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
        assert (page.parent / target).exists(), target
