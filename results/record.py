# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Records a script: runs it once a seed, and keeps what it said and drew in results/.

    python results/record.py papers/adam.py                     seeds 0, 1, 2, one after the other
    python results/record.py rl_net.py --seeds 0 1 2 3 4 -- --data ../somewhere
                                                                what follows -- goes to the script

The claims are the numbered sentences under "Claims" in the script's docstring; its main returns a
pair (outcome, holds) for each, in order. Pictures are the first seed's.

Each seed has a fresh process, so that time, peak memory and threads are its own. Nothing is written
before the last seed is through: a run that fails, Ctrl-C, or claims that differ from seed to seed
leave the old record as it was.
"""

import argparse
import importlib.util
import json
import multiprocessing
import re
import shutil
import sys
import tempfile
import time
import tomllib
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

try:
    import resource
except ImportError:  # Windows has none: the peak of memory isn't recorded there
    resource = None

ROOT = Path(__file__).resolve().parent.parent
PICTURES = (".png", ".gif", ".wav")


def claims_of(docstring: str) -> list[str]:
    """The numbered sentences under the heading "Claims", each on one line, without its number."""
    section = re.search(r"^Claims\n(.*?)(?=^\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    if section is None:
        return []
    numbered = re.findall(r"^ +\d+\. (.*?)(?=^ +\d+\. |\Z)", section[1], re.MULTILINE | re.DOTALL)
    return [" ".join(claim.split()) for claim in numbered]


def judged(claims: list, docstring: str) -> list[dict]:
    """What is kept of the claims that a main returned.

    Pairs (outcome, holds) get their claim from the docstring. Scripts of an older form return
    dictionaries that have all of it, which are kept as they are.
    """
    if isinstance(claims[0], dict):
        return claims
    sentences = claims_of(docstring)
    if len(sentences) != len(claims):
        raise ValueError(f"{len(sentences)} claims in the docstring, {len(claims)} returned")
    return [
        {"claim": sentence, "here": outcome, "holds": holds}
        for sentence, (outcome, holds) in zip(sentences, claims)
    ]


def packages_of(source: str) -> list[str]:
    """What a script's own block (PEP 723) names, without extras and versions."""
    block = re.search(r"^# /// script\n(.*?)^# ///$", source, re.MULTILINE | re.DOTALL)[1]
    lines = [line.removeprefix("#").strip() for line in block.splitlines()]
    named = tomllib.loads("\n".join(lines))["dependencies"]
    return [re.match(r"[\w-]+", requirement)[0] for requirement in named]


def peak_mb() -> int | None:
    """The most memory that this process has had, where the system tells."""
    if resource is None:
        return None
    per_mb = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mb)


def run(path: Path, argv: list[str], answer: Connection) -> None:
    """In a process of its own: the script's main, and what the machine had to do with it."""
    started = time.perf_counter()
    sys.path.insert(0, str(path.parent))  # as Python does: processes that a script starts import it
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = script
    spec.loader.exec_module(script)
    result = script.main(argv)
    seconds = round(time.perf_counter() - started, 1)

    torch = sys.modules.get("torch")
    device = script.parse_args(argv).device
    source = path.read_text(encoding="utf-8")
    packages = packages_of(source)
    about = {
        "title": script.__doc__.splitlines()[0],
        "data": result["data"],
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else device,
        "threads": torch.get_num_threads() if torch else multiprocessing.cpu_count(),
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in packages},
    }
    outcome = {
        "headline": result["headline"],
        "seconds": seconds,
        "peak_mb": peak_mb(),
        "claims": judged(result["claims"], script.__doc__),
    }
    answer.send((about, outcome))


def main(argv: list[str] | None = None) -> None:
    sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    argv = sys.argv[1:] if argv is None else argv
    cut = argv.index("--") if "--" in argv else len(argv)
    options = argv[cut + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("script", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args(argv[:cut])
    path = args.script.resolve()
    if not path.is_file() or ROOT not in path.parents:
        parser.error(f"{args.script}: there is no such script here")
    if "--smoke" in options:
        parser.error("a smoke run judges nothing, and isn't recorded")

    # A forked process knows what was done to this one before it started (say, by a wrapper around
    # the data sets).
    processes = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    first = None
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in args.seeds:
            print(f"{path.relative_to(ROOT)}, seed {seed}", flush=True)
            receive, send = processes.Pipe(duplex=False)
            out = Path(folder) / str(seed)
            arguments = [f"--seed={seed}", f"--out={out}", *options]
            process = processes.Process(target=run, args=(path, arguments, send))
            process.start()
            send.close()  # so that only the script holds it, and its end is noticed here
            try:
                about, outcome = receive.recv()
            except EOFError:
                raise SystemExit(f"seed {seed} failed, nothing is recorded") from None
            process.join()
            first = first or about
            runs.append({"seed": seed, **outcome})
            claims = [claim["claim"] for claim in outcome["claims"]]
            if about != first or claims != [claim["claim"] for claim in runs[0]["claims"]]:
                raise SystemExit(
                    f"seed {seed} differs in claims, data or device from the first: "
                    "nothing is recorded"
                )
        record = {"script": path.relative_to(ROOT).as_posix(), **first, "runs": runs}
        for picture in (Path(folder) / str(args.seeds[0])).iterdir():
            if picture.suffix in PICTURES:
                shutil.copy(picture, ROOT / "results" / picture.name)
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (ROOT / "results" / f"{path.stem}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
