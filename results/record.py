# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Records a script: runs it once a seed, and keeps what it said and the first seed's pictures in results/.

    python results/record.py papers/adam.py                          seeds 0, 1, 2, one after the other
    python results/record.py rl_net.py --seeds 0 1 2 3 4 -- --data ../somewhere
                                                                     what follows -- goes to the script

Each seed has a fresh process, so that time, peak memory and threads are its own. Nothing is written before the last
seed is through: a run that fails, Ctrl-C, or claims that differ from seed to seed leave the old record as it was.
"""

import argparse
import importlib.util
import json
import multiprocessing
import re
import resource
import shutil
import sys
import tempfile
import time
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = (".png", ".gif", ".wav")


def run(path: Path, argv: list[str], answer: Connection) -> None:
    """In a process of its own: the script's main, and what the machine had to do with it."""
    started = time.perf_counter()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    result = script.main(argv)
    seconds = round(time.perf_counter() - started, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    torch = sys.modules.get("torch")
    device = script.parse_args(argv).device
    packages = re.search(r"^# dependencies = \[(.*)\]", path.read_text(encoding="utf-8"), re.MULTILINE)[1]
    about = {
        "title": script.__doc__.splitlines()[0],
        "data": result["data"],
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else device,
        "threads": torch.get_num_threads() if torch else multiprocessing.cpu_count(),
        "versions": {"python": sys.version.split()[0]} | {p: version(p) for p in re.findall(r'"([\w-]+)', packages)},
    }
    outcome = {"headline": result["headline"], "seconds": seconds, "peak_mb": round(peak), "claims": result["claims"]}
    answer.send((about, outcome))


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    ours, options = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args(ours)
    path = args.script.resolve()
    if not path.is_file() or ROOT not in path.parents:
        parser.error(f"{args.script}: there is no such script here")
    if "--smoke" in options:
        parser.error("a smoke run judges nothing, and isn't recorded")

    # A forked process knows what was done to this one before it started (say, by a wrapper around the data sets).
    processes = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    first, runs = None, []
    with tempfile.TemporaryDirectory() as folder:
        for seed in args.seeds:
            print(f"{path.relative_to(ROOT)}, seed {seed}", flush=True)
            receive, send = processes.Pipe(duplex=False)
            out = Path(folder) / str(seed)
            process = processes.Process(target=run, args=(path, [f"--seed={seed}", f"--out={out}", *options], send))
            process.start()
            send.close()  # so that only the script holds it, and its end is noticed here
            try:
                about, outcome = receive.recv()
            except EOFError:
                raise SystemExit(f"seed {seed} failed, nothing is recorded") from None
            process.join()
            first = first or about
            runs.append({"seed": seed, **outcome})
            names = [[claim["claim"] for claim in outcome["claims"]] for outcome in runs]
            if about != first or names[-1] != names[0]:
                raise SystemExit(f"seed {seed} differs in claims, data or device from the first: nothing is recorded")
        record = {"script": path.relative_to(ROOT).as_posix(), **first, "runs": runs}
        for picture in (Path(folder) / str(args.seeds[0])).iterdir():
            if picture.suffix in PICTURES:
                shutil.copy(picture, ROOT / "results" / picture.name)
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (ROOT / "results" / f"{path.stem}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
