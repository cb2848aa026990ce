"""The wheel is whole: what is in the package's folder is in it, and it runs from an environment of its own."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from sweeper.tune.loggers import LOGGERS

ROOT = Path(__file__).parents[1]
GIT_FILES = ["git", "-C", str(ROOT), "ls-files", "-z", "*.py", "*.md", "*.toml", "*.yaml", "*.ipynb", ".ci"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that no build folder is left in the project."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "sweeper", source / "sweeper", ignore=shutil.ignore_patterns("__pycache__"))
    try:
        has_backend = int(metadata.version("setuptools").partition(".")[0]) >= 77
    except metadata.PackageNotFoundError:
        has_backend = False
    isolation = ["--no-build-isolation"] if has_backend else []  # else pip fetches the backend from the index
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *isolation, "--wheel-dir", str(source / "dist"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return next((source / "dist").glob("loss_sweeper-*.whl"))


def test_every_file_of_the_package_is_in_the_wheel_and_nothing_else(wheel):
    files = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "sweeper").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == files


def test_the_wheel_runs_from_an_environment_of_its_own(wheel, tmp_path):
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    site = next((environment / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        assert (
            "sweep = sweeper.cli:main"
            in archive.read(next(name for name in archive.namelist() if name.endswith("entry_points.txt"))).decode()
        )
    install = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, timeout=120)
    dependencies = site / "dependencies.pth"  # those of the environment that runs the tests, behind the wheel's own
    dependencies.write_text("\n".join(path for path in sys.path if path.endswith("site-packages")) + "\n")
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def output(*command):
        return subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=120, check=True).stdout

    python = str(environment / "bin" / "python")
    assert Path(output(python, "-c", "import sweeper; print(sweeper.__file__)").strip()).is_relative_to(site)
    assert output(str(environment / "bin" / "sweep"), "--version").startswith("sweep, version ")
    assert "Commands:\n  check " in output(str(environment / "bin" / "sweep"), "--help")
    (tmp_path / "mine.yaml").write_text("name: mine\ndataset: synthetic\n")
    done = subprocess.run(
        [str(environment / "bin" / "sweep"), "check", "mine.yaml"], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("mine.yaml: ")


OTHERS = "|".join(
    [
        r"(pip|uv|pipx)( \S+)* (install|index|show)( \S+)* ['\"]?sweeper(?=[\s'\"\[=<>~!]|$)",
        r'^name = "sweeper"',
        r"version\(['\"]sweeper['\"]\)",
    ]
)
"""Commands and declarations that mean the distribution called ``sweeper``, which on the package index is another project."""


@pytest.mark.parametrize(
    ("text", "means_it"),
    [
        ("pip install sweeper", True),
        ("pip install 'sweeper[dashboard]'", True),
        ("python -m pip install --quiet -U sweeper", True),
        ('uv pip install "sweeper>=1"', True),
        ('name = "sweeper"', True),
        ('importlib.metadata.version("sweeper")', True),
        ("pip install --editable .", False),
        ("uv pip install boto3 ~/sweeper", False),
        ("pip install loss-sweeper", False),
    ],
)
def test_a_command_that_means_the_other_project_is_recognised(text, means_it):
    assert bool(re.search(OTHERS, text, re.MULTILINE)) == means_it


def test_nothing_here_means_the_other_project_called_sweeper():
    listed = subprocess.run(GIT_FILES, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name and name != "tests/test_wheel.py"]
    assert len(files) > 100
    assert [str(path) for path in files if re.search(OTHERS, path.read_text(errors="replace"), re.MULTILINE)] == []


def test_every_hint_for_a_logger_installs_the_package_of_its_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name: [re.split("[<>=]", package)[0] for package in extras[name]] for name in LOGGERS} == {
        name: [package] for name, package in LOGGERS.items()
    }
