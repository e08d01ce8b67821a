"""results/record.py and results/tables.py, on a script of a few lines."""

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

More about it."""
import argparse
from pathlib import Path

def parse_args(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fail-from", type=int, default=99)
    parser.add_argument("--rename-from", type=int, default=99)
    return parser.parse_args(argv)

def main(argv=None):
    args = parse_args(argv)
    args.out.mkdir()
    (args.out / "toy.png").write_text(f"picture {args.seed}")
    (args.out / "toy.txt").write_text("no picture")
    if args.seed >= args.fail_from:
        raise ValueError("what went wrong")
    here, second = str(args.seed), "renamed" if args.seed >= args.rename_from else "second"
    claims = [
        {"claim": "first", "paper": "1", "here": here, "holds": True},
        {"claim": second, "paper": "1", "here": here, "holds": args.seed < 6},
    ]
    return {"data": "none", "headline": f"headline {args.seed}", "claims": claims}
'''


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "toy.py").write_text(SCRIPT)
    (tmp_path / "results" / "toy.json").write_text("the old record")
    for module in (record, tables):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def test_a_run_a_seed_and_the_first_seeds_picture(root):
    record.main([str(root / "papers" / "toy.py"), "--seeds", "5", "7"])
    written = json.loads((root / "results" / "toy.json").read_text())
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
    assert {path.name for path in (root / "results").iterdir()} == {"toy.json", "toy.png"}
    assert (root / "results" / "toy.png").read_text() == "picture 5"


@pytest.mark.parametrize(
    "options, said",
    [
        (["--fail-from", "1"], "what went wrong"),
        (["--rename-from", "1"], "differs in claims"),
        (["--no-such-flag"], "unrecognized"),
        (["--smoke"], "smoke"),
    ],
)
def test_what_goes_wrong_leaves_the_old_record(root, options, said, capfd):
    with pytest.raises(SystemExit) as stopped:
        record.main([str(root / "papers" / "toy.py"), "--", *options])
    assert stopped.value.code and said in capfd.readouterr().err + str(stopped.value)
    assert (root / "results" / "toy.json").read_text() == "the old record"
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
    assert "⏳ In Progress | headline 5 | 1 of 2 claims, 1 of 2 seeds" in tables.syllabus()
    assert "| first | 1 | 5 | 6 | 2 of 2 |" in tables.whole_record()
    assert "| second | 1 | 5 | 6 | 1 of 2 |" in tables.whole_record()
    record.main([str(root / "papers" / "toy.py"), "--seeds", "6", "7"])
    assert "| second | 1 | 6 | 7 | **FAILS** |" in tables.whole_record()
