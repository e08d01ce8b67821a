# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Writes the READMEs' tables from the recorded results, so that no number is written by hand.

    python results/tables.py            writes three pages: README.md (the gallery),
                                        papers/README.md (the syllabus), results/README.md (all of it)
    python results/tables.py --check    changes nothing; says what is out of date, exit status 1

Which scripts there are stands in TOPICS and SYLLABUS below. A new script is listed there.
"""

import argparse
import ast
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- written by results/tables.py -->\n", "<!-- end -->"
TOPICS = {
    "lin_reg": "Linear regression",
    "convolution_edge": "Convolution and edges",
    "mnist_dnn": "A deep network",
    "conv_net": "Convolutional networks",
    "rl_net": "Reinforcement learning",
    "lm_shakespeare": "Language models",
}
SYLLABUS = {
    "Foundations & training fundamentals": {
        "backprop": ("Backpropagation", "Rumelhart, Hinton & Williams 1986", "Learning Representations by Back-propagating Errors"),
        "relu": ("Rectified linear units", "Glorot, Bordes & Bengio 2011", "Deep Sparse Rectifier Neural Networks"),
        "adam": ("Adaptive step sizes", "Kingma & Ba 2015", "Adam: A Method for Stochastic Optimization"),
        "dropout": ("Dropout", "Srivastava et al. 2014", "Dropout: A Simple Way to Prevent Neural Networks from Overfitting"),
        "batch_norm": ("Batch normalization", "Ioffe & Szegedy 2015", "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift"),
        "perceptron": ("The perceptron", "Rosenblatt 1958", "The Perceptron: A Probabilistic Model for Information Storage and Organization in the Brain"),
        "weight_decay": ("Weight decay", "Krogh & Hertz 1992", "A Simple Weight Decay Can Improve Generalization"),
    },
    "Convolutional networks for vision": {
        "lenet": ("LeNet-5", "LeCun, Bottou, Bengio & Haffner 1998", "Gradient-Based Learning Applied to Document Recognition"),
        "alexnet": ("AlexNet", "Krizhevsky, Sutskever & Hinton 2012", "ImageNet Classification with Deep Convolutional Neural Networks"),
        "resnet": ("Residual learning", "He, Zhang, Ren & Sun 2016", "Deep Residual Learning for Image Recognition"),
        "vgg": ("Depth from small kernels", "Simonyan & Zisserman 2015", "Very Deep Convolutional Networks for Large-Scale Image Recognition"),
        "unet": ("Segmentation", "Ronneberger, Fischer & Brox 2015", "U-Net: Convolutional Networks for Biomedical Image Segmentation"),
    },
    "Sequence models to transformers": {
        "lstm": ("Long short-term memory", "Hochreiter & Schmidhuber 1997", "Long Short-Term Memory"),
        "seq2seq": ("Sequence to sequence", "Sutskever, Vinyals & Le 2014", "Sequence to Sequence Learning with Neural Networks"),
        "bahdanau_attention": ("Attention", "Bahdanau, Cho & Bengio 2015", "Neural Machine Translation by Jointly Learning to Align and Translate"),
        "transformer": ("The transformer", "Vaswani et al. 2017", "Attention Is All You Need"),
        "bert": ("Masked pre-training", "Devlin, Chang, Lee & Toutanova 2019", "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"),
        "rnn": ("Recurrent networks", "Williams & Zipser 1989", "A Learning Algorithm for Continually Running Fully Recurrent Neural Networks"),
        "word2vec": ("Word vectors", "Mikolov et al. 2013", "Distributed Representations of Words and Phrases and their Compositionality"),
        "vit": ("Vision transformer", "Dosovitskiy et al. 2021", "An Image Is Worth 16x16 Words: Transformers for Image Recognition at Scale"),
        "moe": ("Mixture of experts", "Shazeer et al. 2017", "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer"),
        "mamba": ("Selective state spaces", "Gu & Dao 2023", "Mamba: Linear-Time Sequence Modeling with Selective State Spaces"),
    },
    "Generative models": {
        "vae": ("Variational autoencoder", "Kingma & Welling 2014", "Auto-Encoding Variational Bayes"),
        "gan": ("Adversarial networks", "Goodfellow et al. 2014", "Generative Adversarial Nets"),
        "ddpm": ("Diffusion", "Ho, Jain & Abbeel 2020", "Denoising Diffusion Probabilistic Models"),
        "biggan": ("Large-scale adversarial networks", "Brock, Donahue & Simonyan 2019", "Large Scale GAN Training for High Fidelity Natural Image Synthesis"),
        "wavenet": ("Raw audio", "van den Oord et al. 2016", "WaveNet: A Generative Model for Raw Audio"),
    },
    "Deep reinforcement learning": {
        "dqn": ("Deep Q-networks", "Mnih et al. 2015", "Human-level Control through Deep Reinforcement Learning"),
        "ddpg": ("Deterministic policy gradients", "Lillicrap et al. 2016", "Continuous Control with Deep Reinforcement Learning"),
        "sac": ("Soft actor-critic", "Haarnoja et al. 2018", "Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement Learning with a Stochastic Actor"),
        "a3c": ("Asynchronous actor-critic", "Mnih et al. 2016", "Asynchronous Methods for Deep Reinforcement Learning"),
        "alphago": ("Search with networks", "Silver et al. 2016", "Mastering the Game of Go with Deep Neural Networks and Tree Search"),
        "alphafold": ("Protein structure", "Jumper et al. 2021", "Highly Accurate Protein Structure Prediction with AlphaFold"),
    },
    "Robotics applications & scaling tricks": {
        "grasping": ("Learning to grasp", "Levine et al. 2016", "Learning Hand-Eye Coordination for Robotic Grasping with Deep Learning and Large-Scale Data Collection"),
        "lora": ("Low-rank adaptation", "Hu et al. 2022", "LoRA: Low-Rank Adaptation of Large Language Models"),
        "domain_randomization": ("Domain randomization", "Tobin et al. 2017", "Domain Randomization for Transferring Deep Neural Networks from Simulation to the Real World"),
        "flash_attention": ("Attention in fast memory", "Dao et al. 2022", "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness"),
    },
}  # fmt: skip


def record(name: str) -> dict | None:
    """What is recorded of a script's runs, None if it is nothing."""
    path = ROOT / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def script_of(name: str) -> Path:
    return ROOT / f"{name}.py" if name in TOPICS else ROOT / "papers" / f"{name}.py"


def verdicts(result: dict) -> list[list[bool]]:
    """A row a claim, and in it an entry a seed."""
    return [
        list(row)
        for row in zip(*([claim["holds"] for claim in run["claims"]] for run in result["runs"]))
    ]


def held(result: dict) -> str:
    """'4 of 4 claims, 3 of 3 seeds': claims that hold on every seed, and seeds on which every claim holds."""
    by_claim = verdicts(result)
    by_seed = list(zip(*by_claim))
    claims, seeds = (sum(map(all, rows)) for rows in (by_claim, by_seed))
    return f"{claims} of {len(by_claim)} claims, {seeds} of {len(by_seed)} seeds"


def seconds(result: dict) -> str:
    """Of the slowest run."""
    return f"{max(run['seconds'] for run in result['runs']):.0f} s"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def gallery() -> str:
    rows = [
        "| | script | what came out | claims that hold | time |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, concept in TOPICS.items():
        result = record(name)
        title = f"**{concept}**<br>[`{name}.py`]({name}.py)"
        if result is None:
            rows.append(f"| | {title} | | | |")
            continue
        thumbnail = (
            f'<a href="{name}.py"><img src="results/{name}.png" width="200" alt="{concept}"></a>'
        )
        headline = cell(result["runs"][0]["headline"])
        rows.append(f"| {thumbnail} | {title} | {headline} | {held(result)} | {seconds(result)} |")
    return "\n".join(rows)


def status(name: str) -> str:
    if not script_of(name).exists():
        return ""
    result = record(name)
    if result is None:
        return "⏳ In Progress"
    return "✅ Done" if all(map(all, verdicts(result))) else "✅ Done, a claim fails"


def syllabus() -> str:
    phases = []
    for number, (phase, scripts) in enumerate(SYLLABUS.items(), 1):
        rows = [
            f"## {number} · {phase}\n",
            "| concept | paper | script | status | headline | claims held | time |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for name, (concept, authors, title) in scripts.items():
            file = f"[`{name}.py`]({name}.py)" if script_of(name).exists() else f"`{name}.py`"
            row = [concept, f"{authors}, *{title}*", file, status(name)]
            result = record(name)
            row += (
                [cell(result["runs"][0]["headline"]), held(result), seconds(result)]
                if result
                else ["", "", ""]
            )
            rows.append("| " + " | ".join(row) + " |")
        phases.append("\n".join(rows))
    return "\n\n".join(phases)


def caption(name: str) -> str:
    """Under a picture: the first paragraph of the docstring of the script's draw, on one line."""
    source = script_of(name).read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == "draw":
            paragraph = (ast.get_docstring(node) or "").split("\n\n")[0]
            return " ".join(paragraph.split())
    return ""


def claims_table(runs: list[dict], holding: list[list[bool]]) -> list[str]:
    """A row a claim: its words, what each seed measured, on how many seeds it holds.

    Scripts of an older form keep the paper's figure in a column of its own; in the others it stands
    in the claim.
    """
    columns = ["claim", "the paper's figure"] if "paper" in runs[0]["claims"][0] else ["claim"]
    columns += [f"seed {run['seed']}" for run in runs] + ["holds"]
    rows = ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
    for number, row in enumerate(holding):
        claim = runs[0]["claims"][number]
        cells = [claim[key] for key in ("claim", "paper") if key in claim]
        cells += [run["claims"][number]["here"] for run in runs]
        cells.append(f"{sum(row)} of {len(row)}" if any(row) else "**FAILS**")
        rows.append("| " + " | ".join(map(cell, cells)) + " |")
    return rows


def machine(result: dict) -> str:
    """How long the runs took, on what."""
    runs = result["runs"]
    times = ", ".join(f"{run['seconds']:.0f}" for run in runs)
    threads = f"{result['threads']} thread" + "s" * (result["threads"] > 1)
    peaks = [run["peak_mb"] for run in runs]
    memory = f"; {max(peaks) / 1000:.1f} GB at most" if None not in peaks else ""
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    return f"{times} s on {result['device']}, {threads}{memory}; {versions}."


def pictures(name: str, result: dict) -> list[str]:
    """The figure, and below it what moves or can be listened to."""
    seed = result["runs"][0]["seed"]
    lines = [f"![What {result['script']} draws with seed {seed}]({name}.png)\n"]
    if (ROOT / "results" / f"{name}.gif").exists():
        lines.append(f"![As a film]({name}.gif)\n")
    sounds = sorted((ROOT / "results").glob(f"{name}*.wav"))
    if sounds:
        links = ", ".join(f"[{sound.name}]({sound.name})" for sound in sounds)
        lines.append(f"To listen to: {links}\n")
    return lines


def whole_record() -> str:
    """Every script's picture with its caption, and its claims with what each seed measured."""
    parts = []
    for name in [*TOPICS, *(name for phase in SYLLABUS.values() for name in phase)]:
        result = record(name)
        if result is None:
            continue
        runs = result["runs"]
        parts.append(
            "\n".join([
                f"## {result['title']}\n",
                f"[`{result['script']}`](../{result['script']}) on {result['data']}\n",
                *pictures(name, result),
                f"{caption(name)}\n",
                *claims_table(runs, verdicts(result)),
                f"\n{machine(result)}",
            ])
        )  # fmt: skip
    return "\n\n".join(parts)


def unlisted() -> list[str]:
    """Scripts that stand but are in neither list above, so that no table shows them."""
    listed = {*TOPICS, *(name for phase in SYLLABUS.values() for name in phase)}
    scripts = [*ROOT.glob("*.py"), *(ROOT / "papers").glob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in scripts if path.stem not in listed)


def rewritten(text: str, table: str) -> str:
    """text, with the table in place of what stands between the two marks."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + table + "\n" + END + rest.split(END)[1]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing, only say what is out of date"
    )
    check = parser.parse_args(argv).check
    stale = 0
    for script in unlisted():
        print(f"{script} is in no table: list it in TOPICS or SYLLABUS in results/tables.py")
    for page, table in {
        "README.md": gallery(),
        "papers/README.md": syllabus(),
        "results/README.md": whole_record(),
    }.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        if (new := rewritten(text, table)) != text:
            stale += 1
            print(f"{page}: {'out of date' if check else 'rewritten'}")
            if not check:
                (ROOT / page).write_text(new, encoding="utf-8")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
