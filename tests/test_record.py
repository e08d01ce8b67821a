"""results/record.py and results/tables.py, on a script of a few lines, of the new and old form."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "results"))
import record  # noqa: E402
import tables  # noqa: E402

SCRIPT = '''# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy"]
# ///
"""A toy

The idea
    1. This is no claim.

Claims
    1. The first claim goes on
       for two lines (Fig. 1).
    2. The SECOND claim.

Departures
    2. Nor is this.
"""
import argparse
from pathlib import Path

def parse_args(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fail-from", type=int, default=99)
    parser.add_argument("--drop-from", type=int, default=99)
    return parser.parse_args(argv)

def draw():
    """A line goes up. Another
    goes down.

    It has no parameters.
    """

def main(argv=None):
    args = parse_args(argv)
    args.out.mkdir()
    (args.out / "toy.png").write_text(f"picture {args.seed}")
    (args.out / "toy.txt").write_text("no picture")
    if args.seed >= args.fail_from:
        raise ValueError("what went wrong")
    claims = CLAIMS
    if args.seed >= args.drop_from:
        claims = claims[:1]
    return {"data": "none", "headline": f"headline {args.seed}", "claims": claims}
'''
PAIRS = '[(f"first {args.seed}", True), (f"second {args.seed}", args.seed < 6)]'
DICTIONARIES = """[
        {"claim": "one", "paper": "1%", "here": f"first {args.seed}", "holds": True},
        {"claim": "two", "paper": "2%", "here": f"second {args.seed}", "holds": args.seed < 6},
    ]"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "toy.py").write_text(SCRIPT.replace("CLAIMS", PAIRS), encoding="utf-8")
    (tmp_path / "results" / "toy.json").write_text("the old record", encoding="utf-8")
    for module in (record, tables):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def test_a_run_a_seed_and_the_first_seeds_picture(root):
    record.main([str(root / "papers" / "toy.py"), "--seeds", "5", "7"])
    written = json.loads((root / "results" / "toy.json").read_text(encoding="utf-8"))
    assert list(written) == ["script", "title", "data", "device", "threads", "versions", "runs"]
    assert (written["script"], written["title"], written["device"]) == (
        "papers/toy.py",
        "A toy",
        "cpu",
    )
    assert list(written["versions"]) == ["python", "numpy"]
    assert [(run["seed"], run["headline"]) for run in written["runs"]] == [
        (5, "headline 5"),
        (7, "headline 7"),
    ]
    assert all(run["seconds"] >= 0 and run["peak_mb"] > 5 for run in written["runs"])
    assert written["runs"][1]["claims"] == [
        {
            "claim": "The first claim goes on for two lines (Fig. 1).",
            "here": "first 7",
            "holds": True,
        },
        {"claim": "The SECOND claim.", "here": "second 7", "holds": False},
    ]
    assert {path.name for path in (root / "results").iterdir()} == {"toy.json", "toy.png"}
    assert (root / "results" / "toy.png").read_text(encoding="utf-8") == "picture 5"


def test_scripts_of_the_old_form_are_recorded_as_before(root):
    script = root / "papers" / "toy.py"
    script.write_text(SCRIPT.replace("CLAIMS", DICTIONARIES), encoding="utf-8")
    record.main([str(script), "--seeds", "5"])
    written = json.loads((root / "results" / "toy.json").read_text(encoding="utf-8"))
    assert written["runs"][0]["claims"] == [
        {"claim": "one", "paper": "1%", "here": "first 5", "holds": True},
        {"claim": "two", "paper": "2%", "here": "second 5", "holds": True},
    ]


def test_a_system_that_does_not_tell_the_peak_of_memory(root, monkeypatch):
    monkeypatch.setattr(record, "resource", None)
    record.main([str(root / "papers" / "toy.py"), "--seeds", "5"])
    written = json.loads((root / "results" / "toy.json").read_text(encoding="utf-8"))
    assert written["runs"][0]["peak_mb"] is None
    assert "GB" not in tables.machine(written)


@pytest.mark.parametrize(
    "options, said",
    [
        (["--fail-from", "1"], "what went wrong"),
        (["--drop-from", "1"], "2 claims in the docstring, 1 returned"),
        (["--no-such-flag"], "unrecognized"),
        (["--smoke"], "smoke"),
    ],
)
def test_what_goes_wrong_leaves_the_old_record(root, options, said, capfd):
    with pytest.raises(SystemExit) as stopped:
        record.main([str(root / "papers" / "toy.py"), "--", *options])
    assert stopped.value.code and said in capfd.readouterr().err + str(stopped.value)
    assert (root / "results" / "toy.json").read_text(encoding="utf-8") == "the old record"
    assert not (root / "results" / "toy.png").exists()


def test_the_tables_count_claims_and_seeds(root, monkeypatch):
    monkeypatch.setattr(tables, "TOPICS", {})
    monkeypatch.setattr(
        tables, "SYLLABUS", {"A phase": {"toy": ("Toys", "Somebody 1999", "On | toys")}}
    )
    (root / "results" / "toy.json").unlink()
    assert "⏳ In Progress |  |  |  |" in tables.syllabus()
    record.main([str(root / "papers" / "toy.py"), "--seeds", "4", "5"])
    assert "✅ Done | headline 4 | 2 of 2 claims, 2 of 2 seeds" in tables.syllabus()
    record.main([str(root / "papers" / "toy.py"), "--seeds", "5", "6"])
    assert "✅ Done, a claim fails | headline 5 | 1 of 2 claims" in tables.syllabus()
    first = "The first claim goes on for two lines (Fig. 1)."
    pages = tables.whole_record()
    assert f"| {first} | first 5 | first 6 | 2 of 2 |" in pages
    assert "| The SECOND claim. | second 5 | second 6 | 1 of 2 |" in pages
    assert "(toy.png)\n\nA line goes up. Another goes down.\n\n| claim | seed 5 |" in pages
    record.main([str(root / "papers" / "toy.py"), "--seeds", "6", "7"])
    assert "| The SECOND claim. | second 6 | second 7 | **FAILS** |" in tables.whole_record()


def test_the_tables_keep_the_papers_figure_of_old_records(root, monkeypatch):
    monkeypatch.setattr(tables, "TOPICS", {})
    monkeypatch.setattr(tables, "SYLLABUS", {"A phase": {"toy": ("Toys", "1999", "On toys")}})
    script = root / "papers" / "toy.py"
    script.write_text(SCRIPT.replace("CLAIMS", DICTIONARIES), encoding="utf-8")
    record.main([str(script), "--seeds", "5", "6"])
    assert "| claim | the paper's figure | seed 5 | seed 6 | holds |" in tables.whole_record()
    assert "| two | 2% | second 5 | second 6 | 1 of 2 |" in tables.whole_record()


def test_a_script_that_no_table_lists_is_named(root, monkeypatch, capsys):
    monkeypatch.setattr(tables, "TOPICS", {})
    monkeypatch.setattr(tables, "SYLLABUS", {})
    for page in ("README.md", "papers/README.md", "results/README.md"):
        (root / page).write_text(tables.BEGIN + tables.END, encoding="utf-8")
    tables.main(["--check"])
    assert "papers/toy.py is in no table" in capsys.readouterr().out


def test_packages_are_those_of_the_scripts_own_block():
    on_several_lines = (
        "# /// script\n# dependencies = [\n"
        '#     "gymnasium[classic-control,mujoco]>=1", "scikit-learn",\n'
        '#     "torch",\n# ]\n# ///\n"""A docstring with "words" in quotes."""\n'
    )
    for source in (on_several_lines, on_several_lines.replace("\n#     ", " ")):
        assert record.packages_of(source) == ["gymnasium", "scikit-learn", "torch"]


def test_processes_that_a_script_starts_find_its_functions(root, monkeypatch):
    """A spawned process imports the script by its name, as papers/a3c.py's workers do."""
    monkeypatch.delitem(record.sys.modules, "toy", raising=False)
    spawning = """import multiprocessing

def work(queue, number):
    queue.put(2 * number)

def main(argv=None):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=work, args=(queue, 21))
    process.start()
    doubled = queue.get(timeout=30)
    process.join()
    args = parse_args(argv)
    args.out.mkdir()
    return {"data": "none", "headline": str(doubled), "claims": CLAIMS}
""".replace("CLAIMS", PAIRS)
    text = SCRIPT[: SCRIPT.index("def main")] + spawning
    (root / "papers" / "toy.py").write_text(text, encoding="utf-8")
    record.main([str(root / "papers" / "toy.py"), "--seeds", "5"])
    written = json.loads((root / "results" / "toy.json").read_text(encoding="utf-8"))
    assert written["runs"][0]["headline"] == "42"
