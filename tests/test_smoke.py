"""Every script is imported and smoke-run: without a network, with no data, in an empty folder."""

import ast
import importlib.util
import os
import re
import sys
from pathlib import Path

import jupytext
import matplotlib.font_manager
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(ROOT.glob("*.py")) + sorted((ROOT / "papers").glob("*.py"))
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

watching = None  # while a script runs: (folders it may write to, what it did elsewhere)


def watch(event: str, args: tuple) -> None:
    """An audit hook, which Python calls before it opens, makes, moves or removes a file, or connects a socket."""
    if watching is None:
        return
    allowed, offences = watching
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise ConnectionRefusedError("the tests have no network")
    if event == "open" and not (isinstance(args[2], int) and args[2] & WRITES):
        return
    if event in (
        "open",
        "os.mkdir",
        "os.remove",
        "os.rmdir",
        "os.rename",
        "os.symlink",
        "os.truncate",
    ):
        paths = args[:2] if event == "os.rename" else args[:1]
        for path in paths:
            if isinstance(path, (str, bytes, os.PathLike)):
                path = Path(os.path.abspath(os.fsdecode(path)))
                if not any(path.is_relative_to(folder) for folder in allowed) and path != Path(
                    os.devnull
                ):
                    offences.append(f"{event} {path}")


sys.addaudithook(watch)


def imports(path: Path) -> set[str]:
    """The top-level packages that a script imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def load(path: Path):
    """A script as a module of its own, whatever its folder."""
    spec = importlib.util.spec_from_file_location(f"smoke_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and pickle look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def confined(tmp_path, monkeypatch):
    """An empty folder to work in; writing anywhere but below out/ and data/ is noted, the network refuses."""
    global watching
    matplotlib.font_manager.fontManager.findfont(
        "DejaVu Sans"
    )  # its cache is matplotlib's affair, not the script's
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    offences = []

    def start() -> list[str]:
        global watching
        watching = [tmp_path / "out", tmp_path / "data", tmp_path / "temporary"], offences
        return offences

    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield start
    watching = None


def check_results(results: dict, out: Path) -> None:
    assert list(results) == ["data", "headline", "claims"]
    assert 2 <= len(results["claims"]) <= 4
    assert {path.suffix for path in out.iterdir()} <= {".png", ".gif", ".wav"}, (
        "a script writes pictures only"
    )
    words = [results["headline"], *(claim["here"] for claim in results["claims"])]
    assert all(isinstance(text, str) and text for text in words)
    assert not re.search(r"\b(nan|inf)\b", " ".join(words)), "a number isn't finite"
    assert not re.search(r"[.!?] ", results["headline"]), "a headline is one sentence"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_smoke(path, device, tmp_path, confined, capsys):
    global watching
    if device == "cuda" and not imports(path) & {"torch"}:
        pytest.skip("NumPy only")
    offences = confined()
    script = load(path)
    assert offences == [] and not list(tmp_path.glob("out")), "importing it did something"
    results = script.main(
        [
            "--smoke",
            "--out",
            str(tmp_path / "out"),
            "--device",
            device,
            *data_option(path, tmp_path),
        ]
    )
    watching = None
    printed = capsys.readouterr().out

    assert offences == [] and not list(Path.cwd().iterdir()), "it wrote outside --out and --data"
    check_results(results, tmp_path / "out")
    for claim in results["claims"]:
        assert list(claim) == ["claim", "paper", "here", "holds"]
        assert isinstance(claim["holds"], bool) and claim["claim"] in printed
    assert printed.count("not judged") == len(results["claims"])
    if "stand-in" in results["data"]:
        assert "can't be had" in printed, "a stand-in was used in silence"
    with Image.open(tmp_path / "out" / f"{path.stem}.png") as picture:
        assert picture.width >= 600 and len(picture.convert("L").getcolors()) > 10


def data_option(path: Path, folder: Path) -> list[str]:
    """--data, for scripts that read any."""
    return (
        ["--data", str(folder / "data")] if '"--data"' in path.read_text(encoding="utf-8") else []
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_a_users_mistake_gets_a_sentence(path, tmp_path, capsys):
    script = load(path)
    (tmp_path / "file").write_text("")
    for wrong in (
        ["--device", "abacus"],
        ["--out", str(tmp_path / "file")],
        ["--seed", "x"],
        ["--no-such-flag"],
    ):
        with pytest.raises(SystemExit) as stopped:
            script.main(["--smoke", *data_option(path, tmp_path), *wrong])
        said = capsys.readouterr().err
        assert (
            stopped.value.code == 2
            and "error:" in said
            and wrong[0] in said
            and "Traceback" not in said
        )
    with pytest.raises(SystemExit) as stopped:
        script.main(["--help"])
    assert stopped.value.code == 0 and script.__doc__.splitlines()[0] in capsys.readouterr().out


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_it_opens_as_a_notebook(path):
    cells = jupytext.read(path, fmt="py:percent").cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert len(code) >= 5 and all(ast.parse(source) for source in code)
    assert cells[-1].cell_type == "markdown" and cells[-1].source.startswith("## Notes")
    assert not re.search(r"matplotlib\.use\(|plt\.close\(", "".join(code)), (
        "the figure wouldn't show in a notebook"
    )
