"""Every script is imported and smoke-run: without a network, with no data, in an empty folder."""

import ast
import importlib.util
import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import jupytext
import matplotlib.font_manager
import pytest
import torch
from nbconvert.preprocessors import ExecutePreprocessor
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(ROOT.glob("*.py")) + sorted((ROOT / "papers").glob("*.py"))
IDS = [path.stem for path in SCRIPTS]
sys.path.insert(0, str(ROOT / "results"))
import record  # noqa: E402

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

watching = None  # while a script runs: (folders it may write to, what it did elsewhere)


def watch(event: str, args: tuple) -> None:
    """An audit hook, called before a file is opened, made, moved or removed, or a socket used."""
    if watching is None:
        return
    allowed, offences = watching
    if event == "socket.connect" and isinstance(args[1], (str, bytes)):
        return  # a file name, by which processes of one machine find each other
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
                elsewhere = not any(path.is_relative_to(folder) for folder in allowed)
                no_disk = path == Path(os.devnull) or path.is_relative_to("/dev/shm")
                if elsewhere and not no_disk:
                    offences.append(f"{event} {path}")


sys.addaudithook(watch)


def imports(path: Path) -> set[str]:
    """The top-level packages that a script imports."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def load(path: Path):
    """A script as a module of its own, whatever its folder.

    One that starts processes keeps its name, by which they import it.
    """
    name = f"smoke_{path.stem}"
    if "torch.multiprocessing" in path.read_text(encoding="utf-8"):
        name = path.stem
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and pickle look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def confined(tmp_path, monkeypatch):
    """An empty folder to work in. Writing outside out/ and data/ is noted, the network refuses."""
    global watching
    # Matplotlib's cache of fonts is its own affair, not the script's.
    matplotlib.font_manager.fontManager.findfont("DejaVu Sans")
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
    assert {path.suffix for path in out.iterdir()} <= {".png", ".gif", ".wav"}, (
        "a script writes pictures only"
    )
    words = [results["headline"], *(outcome for outcome, _ in outcomes(results))]
    assert all(isinstance(text, str) and text for text in words)
    assert all(isinstance(holds, bool) for _, holds in outcomes(results))
    assert not re.search(r"\b(nan|inf)\b", " ".join(words)), "a number isn't finite"
    assert not re.search(r"[.!?] ", results["headline"]), "a headline is one sentence"


def outcomes(results: dict) -> list[tuple[str, bool]]:
    """Pairs (outcome, holds), also of the scripts of an older form."""
    claims = results["claims"]
    if claims and isinstance(claims[0], dict):
        assert all(list(claim) == ["claim", "paper", "here", "holds"] for claim in claims)
        return [(claim["here"], claim["holds"]) for claim in claims]
    return claims


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_smoke(path, device, tmp_path, confined, capsys):
    global watching
    if device == "cuda" and not imports(path) & {"torch"}:
        pytest.skip("NumPy only")
    offences = confined()
    script = load(path)
    assert offences == [] and not list(tmp_path.glob("out")), "importing it did something"
    results = script.main(smoke_options(path, tmp_path) + ["--device", device])
    watching = None
    printed = capsys.readouterr().out

    assert offences == [] and not list(Path.cwd().iterdir()), "it wrote outside --out and --data"
    check_results(results, tmp_path / "out")
    assert len(results["claims"]) == len(record.claims_of(script.__doc__))
    assert all(outcome in printed for outcome, _ in outcomes(results))
    assert printed.count("not judged") == len(results["claims"])
    if "stand-in" in results["data"]:
        assert "instead" in printed or "can't be had" in printed, "a stand-in was used in silence"
    picture = tmp_path / "out" / f"{path.stem}.png"
    assert f"figure: {picture}" in printed
    with Image.open(picture) as image:
        assert image.width >= 600 and len(image.convert("L").getcolors()) > 10


def smoke_options(path: Path, folder: Path) -> list[str]:
    """--smoke, --out, and --data for scripts that read any."""
    options = ["--smoke", "--out", str(folder / "out")]
    if '"--data"' in path.read_text(encoding="utf-8"):
        options += ["--data", str(folder / "data")]
    return options


def refused(script, argv: list[str], capsys) -> str:
    """What the script says when it declines these arguments: one sentence, no traceback."""
    with pytest.raises(SystemExit) as stopped:
        script.main(argv)
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "error:" in said and "Traceback" not in said
    return said


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_a_users_mistake_gets_a_sentence(path, tmp_path, capsys):
    script = load(path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    for wrong in (
        ["--device", "abacus"],
        ["--out", str(tmp_path / "file")],
        ["--seed", "x"],
        ["--seed", "-1"],
        ["--seed", str(2**64)],
        ["--no-such-flag"],
    ):
        assert wrong[0] in refused(script, smoke_options(path, tmp_path) + wrong, capsys)
    with pytest.raises(SystemExit) as stopped:
        script.main(["--help"])
    assert stopped.value.code == 0 and script.__doc__.splitlines()[0] in capsys.readouterr().out


def sizes(path: Path) -> dict[str, int]:
    """Options that take whole numbers, but for the seed and those with choices -> how many each."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "parser.add_argument":
            settings = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            name = node.args[0].value
            if settings.get("type") in ("int", "positive") and "choices" not in settings:
                found[name] = int(settings.get("nargs", 1))
    del found["--seed"]
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_sizes_below_one_get_a_sentence(path, tmp_path, capsys):
    script = load(path)
    for option, count in sizes(path).items():
        for wrong in ("0", "-1", "1.5", "many"):
            argv = smoke_options(path, tmp_path) + [option] + [wrong] * count
            assert option in refused(script, argv, capsys)


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_the_smallest_sizes_run_or_get_a_sentence(path, tmp_path, capsys):
    script = load(path)
    for option, count in sizes(path).items():
        try:
            script.parse_args(smoke_options(path, tmp_path) + [option] + ["1"] * count)
        except SystemExit as stopped:
            assert stopped.code == 2 and option in capsys.readouterr().err
    script.main(smoke_options(path, tmp_path) + smallest(script, path, tmp_path))


def smallest(script, path: Path, folder: Path) -> list[str]:
    """Every size that may be 1 set to it."""
    options = []
    for option, count in sizes(path).items():
        attempt = options + [option] + ["1"] * count
        try:
            script.parse_args(smoke_options(path, folder) + attempt)
        except SystemExit:
            continue
        options = attempt
    return options


# Sizes that don't go together: the script says what goes with what before it reads any data.
UNFIT = {
    "a3c": ["--frames 5"],
    "alexnet": ["--width 3"],
    "alphago": ["--size 2", "--size 20", "--komi 26", "--komi nan", "--save go.pt", "--load go.pt"],
    "bert": ["--sizes 48 96 2 5", "--sizes 10 96 2 4"],
    "ddpm": ["--width 12"],
    "flash_attention": ["--length 255", "--length 131073"],
    "lm_shakespeare": ["--width 130", "--window 100000"],
    "lora": ["--width 33", "--play the-mousetrap", "--save lora.pt", "--load lora.pt"],
    "mamba": ["--width 33"],
    "resnet": ["--stride 50", "--depth 9"],
    "transformer": ["--heads 3", "--width 33"],
    "unet": ["--poolings 5"],
    "vit": ["--width 8", "--width 70"],
}


@pytest.mark.parametrize(
    "name, wrong", [(name, wrong) for name, wrongs in UNFIT.items() for wrong in wrongs]
)
def test_sizes_that_do_not_go_together_get_a_sentence(name, wrong, tmp_path, capsys):
    script = load(path_of(name))
    with pytest.raises(SystemExit) as stopped:
        script.parse_args(["--out", str(tmp_path / "out"), *wrong.split()])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and wrong.split()[0] in said


def path_of(name: str) -> Path:
    return next(path for path in SCRIPTS if path.stem == name)


# Files of a reader's own that can't be used.
OWN_FILES = {
    "bahdanau_attention": "--pairs",
    "convolution_edge": "--image",
    "seq2seq": "--pairs",
    "word2vec": "--text",
}
CONTENTS = {
    "empty": b"",
    "one line": b"one line\n",
    "no tab": b"a line without its translation\n" * 100,
    "Latin-1": "deux caf\xe9s\ttwo coffees\n".encode("latin-1") * 100,
    "UTF-16": "un\tone\ndeux\ttwo\n".encode("utf-16") * 100,
    "binary": bytes(range(256)) * 40,
}


@pytest.mark.parametrize("content", ["missing", "a folder", *CONTENTS])
@pytest.mark.parametrize("name", OWN_FILES)
def test_a_file_that_cannot_be_used_gets_a_sentence(name, content, tmp_path, capsys):
    if name == "word2vec" and content == "no tab":
        pytest.skip("a text needs no tabs")
    file = tmp_path / "own.file"
    if content in CONTENTS:
        file.write_bytes(CONTENTS[content])
    if content == "a folder":
        file.mkdir()
    path = path_of(name)
    argv = smoke_options(path, tmp_path) + [OWN_FILES[name], str(file)]
    said = refused(load(path), argv, capsys)
    assert OWN_FILES[name] in said and "own.file" in said


# What a reader may ask a trained model: the script trains it, answers, and judges nothing.
ASKED = {
    "alphago": ["--play"],
    "bahdanau_attention": ["--translate", "two hundred and one , three"],
    "bert": ["--fill", "to be or not to __"],
    "lm_shakespeare": ["--prompt", "To be"],
    "lora": ["--prompt", "MACBETH:"],
    "seq2seq": ["--translate", "two hundred"],
    "transformer": ["--translate", "two dogs run"],
    "wavenet": ["--speaker", "high"],
    "word2vec": ["--near", "king"],
}


@pytest.mark.parametrize("name", ASKED)
def test_own_input_is_answered_and_nothing_judged(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("c3\n"))  # a move, for the one that plays
    path = path_of(name)
    results = load(path).main(smoke_options(path, tmp_path) + ASKED[name])
    printed = capsys.readouterr().out
    assert results["claims"] == [] and "judged" not in printed and printed.strip()
    assert not (tmp_path / "out" / f"{name}.png").exists()


# Input that can't be answered: nothing in it, or words that the model has never seen.
UNANSWERABLE = {
    "bahdanau_attention": ["--translate", "--translate ", "--translate zebra"],
    "bert": ["--fill"],
    "lm_shakespeare": ["--prompt"],
    "lora": ["--prompt", "--prompt  "],
    "seq2seq": ["--translate", "--translate  ", "--translate zebra"],
    "transformer": ["--translate", "--translate  "],
    "word2vec": ["--near", "--near xyzzyx"],
}


@pytest.mark.parametrize(
    "name, asked", [(name, asked) for name, many in UNANSWERABLE.items() for asked in many]
)
def test_input_without_an_answer_gets_a_sentence(name, asked, tmp_path, capsys):
    option, _, text = asked.partition(" ")
    path = path_of(name)
    assert option in refused(load(path), smoke_options(path, tmp_path) + [option, text], capsys)


# Another environment than the script's own: it trains one agent there, and judges nothing.
OTHER_ENVIRONMENTS = {
    "a3c": "Acrobot-v1",
    "ddpg": "InvertedPendulum-v5",
    "dqn": "ALE/Pong-v5",
    "sac": "InvertedPendulum-v5",
}
# No such environment, one that makes no sense for the method, and no environment's name at all.
UNFIT_ENVIRONMENTS = {
    "a3c": ["NoSuchGame-v0", "Pendulum-v1", "FrozenLake-v1", ""],
    "ddpg": ["NoSuchGame-v0", "CartPole-v1", ""],
    "dqn": ["ALE/NoSuchGame-v5", "CartPole-v1", ""],
    "sac": ["NoSuchGame-v0", "CartPole-v1", ""],
}


@pytest.mark.parametrize("name", OTHER_ENVIRONMENTS)
def test_another_environment_is_learned_and_nothing_judged(name, tmp_path, capsys, monkeypatch):
    path = path_of(name)
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a log there if there is no OpenGL
    argv = smoke_options(path, tmp_path) + ["--env", OTHER_ENVIRONMENTS[name]]
    results = load(path).main(argv)
    printed = capsys.readouterr().out
    assert results["claims"] == [] and "judged" not in printed and printed.strip()
    assert results["data"] == OTHER_ENVIRONMENTS[name]
    assert not re.search(r"\b(nan|inf)\b", printed)


@pytest.mark.parametrize(
    "name, wrong", [(name, wrong) for name, many in UNFIT_ENVIRONMENTS.items() for wrong in many]
)
def test_an_environment_that_cannot_be_used_gets_a_sentence(name, wrong, tmp_path, capsys):
    path = path_of(name)
    assert "--env" in refused(load(path), smoke_options(path, tmp_path) + ["--env", wrong], capsys)


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_help_is_printed_where_the_encoding_is_ascii(path, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(path), run_name="__main__")
    terminal.flush()
    assert stopped.value.code == 0 and b"Claims" in terminal.buffer.getvalue()


def test_a_run_is_not_lost_where_the_encoding_is_ascii(tmp_path):
    path = path_of("rnn")
    answer = subprocess.run(
        [sys.executable, str(path), *smoke_options(path, tmp_path)],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"},
        capture_output=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr.decode("ascii", "replace")
    assert b"figure: " in answer.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=IDS)
def test_it_opens_as_a_notebook(path):
    cells = jupytext.read(path, fmt="py:percent").cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert len(code) >= 5 and all(ast.parse(source) for source in code)
    assert cells[-1].cell_type == "markdown" and cells[-1].source.startswith("## Notes")
    assert not re.search(r"matplotlib\.use\(|plt\.close\(", "".join(code)), (
        "the figure wouldn't show in a notebook"
    )


def test_run_all_in_a_notebook(tmp_path):
    notebook = jupytext.read(path_of("weight_decay"), fmt="py:percent")
    guard = next(cell for cell in notebook.cells if "__main__" in cell.source)
    smoke = (
        "whole = main\n"
        "def main(argv):\n"
        "    assert argv == [], 'a notebook has no command line'\n"
        "    return whole(['--smoke'])\n"
    )
    guard.source = guard.source.replace("if __name__ ==", smoke + "if __name__ ==")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["kernelspec"] = kernel
    runner = ExecutePreprocessor(timeout=120)
    runner.preprocess(notebook, {"metadata": {"path": str(tmp_path)}})
    printed = "".join(output.get("text", "") for output in guard.outputs)
    assert "figure: " in printed and (tmp_path / "runs" / "weight_decay.png").exists()
