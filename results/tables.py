# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Writes the tables of both READMEs from the recorded results, so that prose can't drift from what was measured.

python results/tables.py            rewrites what stands between the marks in README.md and papers/README.md
python results/tables.py --check    changes nothing; says what is out of date and exits with status 1
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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
        "weight_decay": ("Weight decay", "Krogh & Hertz 1991", "A Simple Weight Decay Can Improve Generalization"),
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
        "rnn": ("Recurrent networks", "Elman 1990", "Finding Structure in Time"),
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
    """The recorded full run of a script, None if there is none."""
    path = ROOT / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def measured(result: dict) -> str:
    """One line a claim, with what came out."""
    marks = {True: "✓", False: "**FAILS**"}
    lines = [f"{marks[claim['holds']]} {claim['claim']}: {claim['here']}" for claim in result["claims"]]
    return "<br>".join(line.replace("|", "\\|") for line in [*lines, f"*{result['data']}*"])


def status(result: dict | None) -> str:
    if result is None:
        return "to do"
    holding = sum(claim["holds"] for claim in result["claims"])
    return f"{holding} of {len(result['claims'])} claims hold"


def topics() -> str:
    rows = ["| script | what was measured | seconds |", "| --- | --- | --- |"]
    for name, concept in TOPICS.items():
        result = record(name)
        cells = (measured(result), f"{result['seconds']:.0f}") if result else ("to do", "")
        rows.append(f"| {concept}<br>[`{name}.py`]({name}.py) | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def papers() -> str:
    phases = []
    for number, (phase, scripts) in enumerate(SYLLABUS.items(), 1):
        rows = [
            f"## {number} · {phase}\n",
            "| concept | paper | file | status | what was measured | seconds |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name, (concept, authors, title) in scripts.items():
            result = record(name)
            file = f"[`{name}.py`]({name}.py)" if (ROOT / "papers" / f"{name}.py").exists() else f"`{name}.py`"
            cells = (measured(result), f"{result['seconds']:.0f}") if result else ("", "")
            rows.append(f"| {concept} | {authors}, *{title}* | {file} | {status(result)} | " + " | ".join(cells) + " |")
        phases.append("\n".join(rows))
    return "\n\n".join(phases)


def rewritten(text: str, table: str) -> str:
    """text, with the table in place of what stands between the two marks."""
    begin, end = "<!-- table: written by results/tables.py -->\n", "<!-- end of table -->"
    head, rest = text.split(begin)
    return head + begin + table + "\n" + end + rest.split(end)[1]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, only say what is out of date")
    check = parser.parse_args(argv).check
    stale = 0
    for path, table in {ROOT / "README.md": topics(), ROOT / "papers" / "README.md": papers()}.items():
        text = path.read_text()
        if (new := rewritten(text, table)) != text:
            stale += 1
            print(f"{path.relative_to(ROOT)}: {'out of date' if check else 'rewritten'}")
            if not check:
                path.write_text(new)
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
