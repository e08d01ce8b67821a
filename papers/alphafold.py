# /// script
# requires-python = ">=3.11"
# dependencies = ["matplotlib", "pillow", "torch", "tqdm"]
# ///
"""Highly Accurate Protein Structure Prediction with AlphaFold
Jumper et al., 2021 (Nature 596, 583-589)

    python papers/alphafold.py              the experiment, under five minutes on two cores
    python papers/alphafold.py --smoke      a few steps, to see that it runs

The idea
    A protein is a chain of amino acids that folds into one shape, its structure. Relatives of a
    protein have other letters and the same shape. If two residues touch, then a change of one is
    often answered by a change of the other. So an alignment, the sequences of the relatives written
    below each other, tells by its covariation which residues are near each other.

    The network keeps two tables: m with a vector for each residue of each sequence, and z with one
    for each pair of residues. Its blocks, the Evoformer, let them inform each other:

        m → z    z_ij += Linear( mean_s  a_si ⊗ b_sj )            outer product mean (Alg. 10)
        z → z    z_ij += g_ij ⊙ Linear( Σ_k  a_ik ⊙ b_jk )        triangle update (Alg. 11)
        z → m    attention from i to j with a bias from z_ij      row attention (Alg. 7)

    A small example of the first. Let a and b be the charge of a letter, and let the column i of
    four sequences read + − + −. If column j reads − + − +, the mean of the product is −1: a contact
    is likely. If it reads + + − −, the mean is 0. Each column alone is the same in both cases.
    The second makes distances agree: i near k, and j near k, means that i is near j.

    The structure module then places a frame T_i, a rotation and a position, for every residue. Its
    attention (Alg. 22) compares points that each residue names in its own frame, so that nothing
    depends on where the protein lies. The loss (FAPE, Alg. 28) compares how each residue sees all
    others from its frame, and so it tells a structure from its mirror image. A point at (1, 2, 3)
    seen by a residue lies at (1, 2, −3) in the mirror: an error of 6 Å, while all distances agree.

Symbols
    B, S, N       families in a batch, sequences in an alignment, residues in a chain (32)
    m             (B, S, N, C_M)    MSA representation (multiple sequence alignment)
    z             (B, N, N, C_Z)    pair representation
    s             (B, N, C_S)       single representation: a vector per residue of the target
    T = (R, t)    (B, N, 3, 3), (B, N, 3)    a frame for each residue
    lDDT, pLDDT   share of distances that are right, 0 to 1, and the network's own guess of it

Built from scratch
    Algorithms 2 to 4, 6 to 15, 20 to 23 and 28 to 32 of the supplement, with its line numbers, the
    measure lDDT, and the proteins. The tests hold each algorithm against loops over its box and the
    geometry against SciPy.

Claims
    1. On families whose fold is not among the training families, the structures have an lDDT at
       least 0.10 above that of a mean predictor, and at least 0.03 above that of the training
       family nearest in sequence (Fig. 1a: a median error of 0.96 Å at CASP14, the next best
       method 2.8 Å). Ours are far less accurate: the outcome gives their median RMSD, and that of
       their mirror images, which is hardly larger. The distances of the distogram are better than
       the structures.
    2. The alignment helps. From the target alone to 32 sequences, the lDDT of the structures grows
       by at least 0.06, and the precision of contacts by at least 10 percentage points (Fig. 5a:
       accuracy falls below about 30 sequences). The target alone says much here, since all
       families have the same couplings.
    3. Of the 16 pairs with the highest probability, the part that is in contact is at least 25
       percentage points larger than by mutual information with APC, at its best depth and with
       pseudocounts chosen for it. (The paper has no such comparison; it names such methods in its
       introduction.)

Departures
    Generated families instead of the Protein Data Bank; chains of one length; backbones only (no
    side chains, no violation loss). No templates, extra MSA stack, dropout, ensembling, crops or
    clusters of sequences. Two blocks with 16 channels for pairs (paper: 48 with 128), 4 iterations
    of the structure module (paper: 8), 2 cycles with the same alignment (paper: 4, each with new
    samples). The structure module is also shown the distogram and the places of the residues. Its
    first iteration makes a chain of the residues, instead of moving each by itself, and between
    iterations no gradient passes through the frames (paper: none through the rotations). Training
    has three stages: the Evoformer alone, then the structure module alone with a fixed Evoformer,
    and for the last twentieth of the steps all together (paper: all together from the start). The
    distogram's loss weighs ten times as much as in the paper, that of masked letters a twentieth,
    and FAPE is unclamped in half of the examples (paper: in a tenth of the batches).
"""

import argparse
import math
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.patches import Patch
from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.distributions import Categorical
from tqdm import tqdm

SAME_FOLD = 0.5  # overlap of contact maps from which two families have one fold
CANDIDATES = 3  # generated families per unseen one, since many have a known fold

# %% [markdown]
# ## Model
# Two tables are refined together. The MSA representation m has a vector for every residue of every
# sequence, and the pair representation z has one for every pair of residues. All layers below read
# m or z, and return what is to be *added* to it.
#
# Attention appears four times with different neighbours. What is common to the four is written
# once: queries, keys and values, a bias on the logits, and a gate on the result.

# %%
LENGTH = 32  # N, residues in every chain
C_M, C_Z, C_S = 32, 16, 48  # channels of m, z and s (paper: 256, 128, 384)
HEADS, PAIR_HEADS, C_HEAD = 4, 2, 8  # heads on m and s, heads on z, channels of a head
C_OUTER = 8  # channels of each factor in the outer product mean (paper: 32)
WIDENING = 2  # hidden units per channel in a transition (paper: 4)
BLOCKS = 2  # Evoformer blocks (paper: 48)


def final_linear(c_in: int, c_out: int) -> nn.Linear:
    """The last layer of a branch: zero at first, so that the branch changes nothing."""
    linear = nn.Linear(c_in, c_out)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def gate_linear(c_in: int, c_out: int) -> nn.Linear:
    """The layer before a gate's sigmoid: 1 at first, so that the gate is open."""
    linear = nn.Linear(c_in, c_out)
    nn.init.zeros_(linear.weight)
    nn.init.ones_(linear.bias)
    return linear


class GatedAttention(nn.Module):
    """The common lines of Algorithms 7, 8, 13 and 14 (their line numbers differ slightly)."""

    def __init__(self, c_in: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(c_in, heads * C_HEAD, bias=False)
        self.to_k = nn.Linear(c_in, heads * C_HEAD, bias=False)
        self.to_v = nn.Linear(c_in, heads * C_HEAD, bias=False)
        self.to_gate = gate_linear(c_in, heads * C_HEAD)
        self.to_out = final_linear(heads * C_HEAD, c_in)

    def split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, C_HEAD)).transpose(-2, -3)  # (..., heads, L, c)

    def forward(self, x: Tensor, bias: Tensor | float = 0.0) -> Tensor:
        """x (..., L, c_in) attends along L. bias (..., heads, L, L) is added to the logits."""
        q = self.split_heads(self.to_q(x))
        k = self.split_heads(self.to_k(x))
        v = self.split_heads(self.to_v(x))
        gate = torch.sigmoid(self.to_gate(x))  # (..., L, heads * c)

        logits = q @ k.transpose(-1, -2) / math.sqrt(C_HEAD) + bias  # (..., heads, L, L)
        attention = logits.softmax(dim=-1)
        heads = attention @ v  # (..., heads, L, c)
        joined = heads.transpose(-2, -3).flatten(-2)  # (..., L, heads * c)
        return self.to_out(gate * joined)  # (..., L, c_in)


# %% [markdown]
# ### The alignment
# Along a row, a residue looks at the other residues of the same sequence. The pair representation
# adds a bias: if z_ij says that i and j are near, i listens to j, in all sequences alike. Along a
# column, the sequences of the alignment look at each other, at one residue.


# %%
class MSARowAttention(nn.Module):
    """Algorithm 7, with pair bias."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(C_M)
        self.norm_z = nn.LayerNorm(C_Z)
        self.to_bias = nn.Linear(C_Z, HEADS, bias=False)
        self.attention = GatedAttention(C_M, HEADS)

    def forward(self, m: Tensor, z: Tensor) -> Tensor:
        m = self.norm(m)  # line 1
        bias = self.to_bias(self.norm_z(z))  # line 3, b_ij: (B, N, N, heads)
        bias = bias.permute(0, 3, 1, 2)  # (B, heads, N, N)
        return self.attention(m, bias[:, None])  # lines 2 and 4 to 7: (B, S, N, C_M)


class MSAColumnAttention(nn.Module):
    """Algorithm 8."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(C_M)
        self.attention = GatedAttention(C_M, HEADS)

    def forward(self, m: Tensor) -> Tensor:
        columns = self.norm(m).transpose(1, 2)  # (B, N, S, C_M)
        return self.attention(columns).transpose(1, 2)  # (B, S, N, C_M)


class Transition(nn.Module):
    """Algorithms 9 (on m) and 15 (on z): a small network, the same at every place."""

    def __init__(self, c: int):
        super().__init__()
        self.norm = nn.LayerNorm(c)
        self.widen = nn.Linear(c, WIDENING * c)
        self.to_out = final_linear(WIDENING * c, c)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.widen(self.norm(x))
        return self.to_out(F.relu(hidden))


# %% [markdown]
# ### From the alignment to the pairs
# This is where covariation enters: the mean over the sequences of a *product* of something at
# residue i and something at residue j, as in the example of the docstring.


# %%
class OuterProductMean(nn.Module):
    """Algorithm 10."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(C_M)
        self.to_a = nn.Linear(C_M, C_OUTER)
        self.to_b = nn.Linear(C_M, C_OUTER)
        self.to_out = final_linear(C_OUTER**2, C_Z)

    def forward(self, m: Tensor) -> Tensor:
        m = self.norm(m)  # line 1
        a = self.to_a(m)  # line 2: (B, S, N, C_OUTER)
        b = self.to_b(m)
        sequences = m.shape[1]
        mean = torch.einsum("bsic,bsjd->bijcd", a, b) / sequences  # line 3
        return self.to_out(mean.flatten(start_dim=3))  # line 4: (B, N, N, C_Z)


# %% [markdown]
# ### The pairs
# Distances must fit together: if i is near k and j is near k, then i is near j. So the edge ij is
# updated from the two other edges of every triangle ijk. The edges have a direction, and there are
# two ways to choose them: both leave i and j towards k ("outgoing"), or both come from k.


# %%
class TriangleUpdate(nn.Module):
    """Algorithms 11 ("outgoing": edges ik and jk) and 12 ("incoming": edges ki and kj)."""

    def __init__(self, direction: str):
        super().__init__()
        self.direction = direction
        self.norm = nn.LayerNorm(C_Z)
        self.to_a = nn.Linear(C_Z, C_Z)
        self.to_b = nn.Linear(C_Z, C_Z)
        self.gate_a = gate_linear(C_Z, C_Z)
        self.gate_b = gate_linear(C_Z, C_Z)
        self.gate_out = gate_linear(C_Z, C_Z)
        self.norm_out = nn.LayerNorm(C_Z)
        self.to_out = final_linear(C_Z, C_Z)

    def forward(self, z: Tensor) -> Tensor:
        z = self.norm(z)  # line 1
        a = torch.sigmoid(self.gate_a(z)) * self.to_a(z)  # line 2: (B, N, N, C_Z)
        b = torch.sigmoid(self.gate_b(z)) * self.to_b(z)
        gate = torch.sigmoid(self.gate_out(z))  # line 3
        if self.direction == "outgoing":
            triangles = torch.einsum("bikc,bjkc->bijc", a, b)  # line 4, sum over k
        else:
            triangles = torch.einsum("bkic,bkjc->bijc", a, b)
        return gate * self.to_out(self.norm_out(triangles))


# %% [markdown]
# The second way to use triangles is attention. The edge ij attends to all edges ik with the same
# starting node i, and the third edge jk decides with a bias how much ik matters. Reversing all
# edges turns starting nodes into ending nodes: then ij attends to the edges kj, and the bias comes
# from ki.


# %%
class TriangleAttention(nn.Module):
    """Algorithms 13 (around the starting node) and 14 (around the ending node)."""

    def __init__(self, node: str):
        super().__init__()
        self.node = node
        self.norm = nn.LayerNorm(C_Z)
        self.to_bias = nn.Linear(C_Z, PAIR_HEADS, bias=False)
        self.attention = GatedAttention(C_Z, PAIR_HEADS)

    def forward(self, z: Tensor) -> Tensor:
        if self.node == "ending":
            z = z.transpose(1, 2)  # reverse all edges
        z = self.norm(z)  # line 1
        bias = self.to_bias(z).permute(0, 3, 1, 2)  # line 3, b_jk: (B, heads, N, N)
        update = self.attention(z, bias[:, None])  # (B, N, N, C_Z), along the last N, k
        if self.node == "ending":
            update = update.transpose(1, 2)
        return update


class EvoformerBlock(nn.Module):
    """Algorithm 6, one block."""

    def __init__(self):
        super().__init__()
        self.row_attention = MSARowAttention()
        self.column_attention = MSAColumnAttention()
        self.msa_transition = Transition(C_M)
        self.outer_product_mean = OuterProductMean()
        self.triangle_outgoing = TriangleUpdate("outgoing")
        self.triangle_incoming = TriangleUpdate("incoming")
        self.triangle_starting = TriangleAttention("starting")
        self.triangle_ending = TriangleAttention("ending")
        self.pair_transition = Transition(C_Z)

    def forward(self, m: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        m = m + self.row_attention(m, z)
        m = m + self.column_attention(m)
        m = m + self.msa_transition(m)

        z = z + self.outer_product_mean(m)

        z = z + self.triangle_outgoing(z)
        z = z + self.triangle_incoming(z)
        z = z + self.triangle_starting(z)
        z = z + self.triangle_ending(z)
        z = z + self.pair_transition(z)
        return m, z


# %% [markdown]
# ### The structure
# A residue is a rigid body: its Cα is at t, and its rotation R says where N and C lie. The frame
# T = (R, t) takes a point from the residue's own coordinates to global ones, T ∘ x = R x + t. Its
# inverse says where the residue sees a global point, T⁻¹ ∘ x = Rᵀ (x − t).


# %%
class Frames(NamedTuple):
    """Frames of many residues."""

    R: Tensor  # (..., 3, 3)
    t: Tensor  # (..., 3)

    def to_global(self, x: Tensor) -> Tensor:
        """T ∘ x, for several points x (..., P, 3) of every residue."""
        return x @ self.R.transpose(-1, -2) + self.t[..., None, :]

    def to_local(self, x: Tensor) -> Tensor:
        """T⁻¹ ∘ x, for several points x (..., P, 3) for every residue."""
        return (x - self.t[..., None, :]) @ self.R

    def compose(self, step: "Frames") -> "Frames":
        """T ∘ step: a step that is given in the residue's own coordinates."""
        t = (self.R @ step.t[..., None])[..., 0] + self.t
        return Frames(self.R @ step.R, t)


# %% [markdown]
# Invariant point attention asks: which residues j shall residue i listen to? Three answers are
# added. Their features are alike (q·k), the pair representation says so (b_ij), and they are near
# in space. For the third, every residue names points in its own frame, and both sets of points are
# brought to global coordinates, where their distance can be measured. If the whole protein is
# moved, all points move with it, and no distance changes. What comes back from j, a set of points
# again, is expressed in i's own frame: so this does not change either.

# %%
POINT_HEADS = 4  # paper: 12
POINTS = 8  # query points and value points of a head (paper: 4 and 8)
EPSILON = 1e-4  # under square roots, whose slope is infinite at 0
ITERATIONS = 4  # of the structure module (paper: 8)
NANOMETRE = 10  # Å; the structure module counts in nanometres, so that its numbers are near 1


class InvariantPointAttention(nn.Module):
    """Algorithm 22."""

    def __init__(self):
        super().__init__()
        self.to_q = nn.Linear(C_S, POINT_HEADS * C_HEAD, bias=False)
        self.to_k = nn.Linear(C_S, POINT_HEADS * C_HEAD, bias=False)
        self.to_v = nn.Linear(C_S, POINT_HEADS * C_HEAD, bias=False)
        self.to_q_points = nn.Linear(C_S, POINT_HEADS * POINTS * 3, bias=False)
        self.to_k_points = nn.Linear(C_S, POINT_HEADS * POINTS * 3, bias=False)
        self.to_v_points = nn.Linear(C_S, POINT_HEADS * POINTS * 3, bias=False)
        self.to_bias = nn.Linear(C_Z, POINT_HEADS, bias=False)
        self.gamma = nn.Parameter(torch.full((POINT_HEADS,), 0.541))  # softplus(0.541) = 1
        self.to_out = final_linear(POINT_HEADS * (C_Z + C_HEAD + 4 * POINTS), C_S)

    def forward(self, s: Tensor, z: Tensor, T: Frames) -> Tensor:
        """s (B, N, C_S), z (B, N, N, C_Z), and the frames T of the N residues."""
        q = self.to_q(s).unflatten(-1, (POINT_HEADS, C_HEAD))  # line 1: (B, N, heads, c)
        k = self.to_k(s).unflatten(-1, (POINT_HEADS, C_HEAD))
        v = self.to_v(s).unflatten(-1, (POINT_HEADS, C_HEAD))
        q_points = self.to_q_points(s).unflatten(-1, (POINT_HEADS * POINTS, 3))  # line 2, local
        k_points = self.to_k_points(s).unflatten(-1, (POINT_HEADS * POINTS, 3))
        v_points = self.to_v_points(s).unflatten(-1, (POINT_HEADS * POINTS, 3))  # line 3, local
        bias = self.to_bias(z)  # line 4: (B, N, N, heads)

        by_head = (POINT_HEADS, POINTS, 3)
        q_points = T.to_global(q_points).flatten(-2).unflatten(-1, by_head)  # (B, N, heads, P, 3)
        k_points = T.to_global(k_points).flatten(-2).unflatten(-1, by_head)
        v_points = T.to_global(v_points).flatten(-2).unflatten(-1, by_head)
        # The sum of |q − k|² over the points of a head is that of |q|² + |k|² − 2 q·k.
        q_points, k_points = q_points.flatten(-2), k_points.flatten(-2)  # (B, N, heads, P * 3)
        product = torch.einsum("bihx,bjhx->bijh", q_points, k_points)
        q_squared = (q_points**2).sum(dim=-1)[:, :, None]  # (B, N, 1, heads)
        k_squared = (k_points**2).sum(dim=-1)[:, None]  # (B, 1, N, heads)
        squared_distance = q_squared + k_squared - 2 * product  # (B, N, N, heads)

        w_C = math.sqrt(2 / (9 * POINTS))  # line 5: then the third term varies as the first does
        w_L = math.sqrt(1 / 3)  # line 6: there are three terms
        likeness = torch.einsum("bihc,bjhc->bijh", q, k) / math.sqrt(C_HEAD)
        nearness = -F.softplus(self.gamma) * w_C / 2 * squared_distance
        attention = (w_L * (likeness + bias + nearness)).softmax(dim=2)  # line 7, over j

        from_z = torch.einsum("bijh,bijc->bihc", attention, z)  # line 8
        from_v = torch.einsum("bijh,bjhc->bihc", attention, v)  # line 9
        points = torch.einsum("bijh,bjhpx->bihpx", attention, v_points)  # line 10, global
        points = T.to_local(points.flatten(2, 3))  # in the frame of i: (B, N, heads * P, 3)
        lengths = torch.sqrt((points**2).sum(dim=-1) + EPSILON)  # (B, N, heads * P)
        results = [from_z.flatten(2), from_v.flatten(2), points.flatten(2), lengths]
        return self.to_out(torch.cat(results, dim=-1))  # line 11: (B, N, C_S)


# %% [markdown]
# A residue moves by a small step in its own frame. The rotation is a quaternion 1 + b i + c j + d k
# that is brought to length 1. At b = c = d = 0 nothing turns.


# %%
def rotation_matrix(quaternion: Tensor) -> Tensor:
    """Quaternions a + b i + c j + d k (..., 4) of any length to rotation matrices (..., 3, 3)."""
    a, b, c, d = F.normalize(quaternion, dim=-1).unbind(dim=-1)
    entries = [
        a**2 + b**2 - c**2 - d**2, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c,
        2 * b * c + 2 * a * d, a**2 - b**2 + c**2 - d**2, 2 * c * d - 2 * a * b,
        2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a**2 - b**2 - c**2 + d**2,
    ]  # fmt: skip
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def quaternion_to_rotation(bcd: Tensor) -> Tensor:
    """Algorithm 23, lines 2 and 3: (..., 3) to rotation matrices (..., 3, 3)."""
    return rotation_matrix(F.pad(bcd, (1, 0), value=1.0))


class BackboneUpdate(nn.Module):
    """Algorithm 23."""

    def __init__(self):
        super().__init__()
        self.to_six = final_linear(C_S, 6)

    def forward(self, s: Tensor) -> Frames:
        six = self.to_six(s)  # line 1: (B, N, 6)
        return Frames(quaternion_to_rotation(six[..., :3]), six[..., 3:])


# %% [markdown]
# In the paper all residues start at the origin, and leave it by such steps. Our network is trained
# for minutes, and learned this too slowly. So the first iteration makes a chain instead. Each
# residue says where it is in the frame of the residue before: that is nearly the same for all
# residues in helices, and for all in strands, and so it is learned soon. The frames of the chain
# are the products of these steps, T_i = step_1 ∘ step_2 ∘ ... ∘ step_i. The iterations after it
# are the paper's, and move each residue by itself.

# %%
# The step before anything is learned: a quaternion, and a position in nanometres, which is the mean
# over all pairs of neighbours in the data. Together they make a wide spiral.
FIRST_STEP = [0.3, 0.5, 0.5, 0.5, 0.357, 0.028, 0.0]


class ChainStart(nn.Module):
    """Not in the paper: the first frames, each given in the frame of the residue before."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(C_S, C_S)
        self.to_seven = nn.Linear(C_S, 7)  # a quaternion and a position
        with torch.no_grad():
            self.to_seven.weight *= 0.3
            self.to_seven.bias.copy_(torch.tensor(FIRST_STEP))

    def forward(self, s: Tensor) -> Frames:
        seven = self.to_seven(F.relu(self.hidden(s)))  # (B, N, 7)
        steps = Frames(rotation_matrix(seven[..., :4]), seven[..., 4:])
        T = [Frames(steps.R[:, 0], steps.t[:, 0])]
        for i in range(1, s.shape[1]):
            T.append(T[-1].compose(Frames(steps.R[:, i], steps.t[:, i])))
        t = torch.stack([frame.t for frame in T], dim=1)  # (B, N, 3)
        R = torch.stack([frame.R for frame in T], dim=1)  # (B, N, 3, 3)
        return Frames(R, t - t.mean(dim=1, keepdim=True))


class StructureModule(nn.Module):
    """Algorithm 20, for the backbone. The same weights are used in every iteration."""

    def __init__(self):
        super().__init__()
        self.norm_s = nn.LayerNorm(C_S)
        self.norm_z = nn.LayerNorm(C_Z)
        self.to_s = nn.Linear(C_S, C_S)
        self.attention = InvariantPointAttention()
        self.norm_attention = nn.LayerNorm(C_S)
        self.transition = nn.Sequential(
            nn.Linear(C_S, C_S), nn.ReLU(),
            nn.Linear(C_S, C_S), nn.ReLU(),
            final_linear(C_S, C_S),
        )  # fmt: skip
        self.norm_transition = nn.LayerNorm(C_S)
        self.start = ChainStart()
        self.update = BackboneUpdate()

    def forward(self, s: Tensor, z: Tensor) -> tuple[Tensor, list[Frames]]:
        """Returns the last s (B, N, C_S), and the frames after each iteration, in Å."""
        s = self.to_s(self.norm_s(s))
        z = self.norm_z(z)
        R = torch.eye(3, dtype=s.dtype, device=s.device).expand(*s.shape[:2], 3, 3)
        T = Frames(R, torch.zeros_like(s[..., :3]))  # all residues at the origin
        trajectory = []
        for iteration in range(ITERATIONS):
            s = self.norm_attention(s + self.attention(s, z, T))
            s = self.norm_transition(s + self.transition(s))
            T = self.start(s) if iteration == 0 else T.compose(self.update(s))  # line 10
            trajectory.append(Frames(T.R, NANOMETRE * T.t))
            T = Frames(T.R.detach(), T.t.detach())  # line 20, there only for R
        return s, trajectory


# %% [markdown]
# ### The whole network
# The first row of the alignment is the target, the sequence whose structure is wanted. The pair
# (i, j) starts from the two letters of the target and from the separation i − j.
#
# Recycling: the network is run several times, and each time it is shown what it found before, its
# own m, z and Cα positions. Only the last cycle has a gradient, so recycling costs no memory. In
# training the number of cycles is drawn at random, and so the network gives a structure after any
# number of them.
#
# In one more place we depart from the paper, where the structure module receives the first row of m
# and z, each through one linear layer or none. Here it is also shown the distogram, which is the
# predicted probabilities of all distances, and once more the places of the residues in the chain.
# A network of this size would learn to read them from z, but it takes too many steps.

# %%
LETTERS = 20  # amino acids; in the alignment, letter 20 stands for a masked one
RECYCLED_EDGES = torch.arange(14) * 1.25 + 3.375  # Å, bins of recycled distances
DISTOGRAM_EDGES = torch.arange(3.0, 23.0)  # Å, bins of predicted distances
LDDT_BINS = 20  # of predicted lDDT, from 0 to 1 (paper: 50)


class Embedder(nn.Module):
    """Algorithms 3 (letters) and 4 (relative positions)."""

    def __init__(self):
        super().__init__()
        self.msa = nn.Linear(LETTERS + 1, C_M)
        self.target = nn.Linear(LETTERS, C_M)
        self.left = nn.Linear(LETTERS, C_Z)
        self.right = nn.Linear(LETTERS, C_Z)
        self.separation = nn.Embedding(2 * LENGTH - 1, C_Z)

    def forward(self, target: Tensor, msa: Tensor) -> tuple[Tensor, Tensor]:
        dtype = self.target.weight.dtype
        target = F.one_hot(target, LETTERS).to(dtype)  # (B, N, 20)
        msa = F.one_hot(msa, LETTERS + 1).to(dtype)  # (B, S, N, 21)
        m = self.msa(msa) + self.target(target)[:, None]  # (B, S, N, C_M)

        place = torch.arange(LENGTH, device=target.device)
        separation = place[:, None] - place[None, :] + LENGTH - 1  # (N, N), from 0
        z = self.left(target)[:, :, None] + self.right(target)[:, None]  # (B, N, N, C_Z)
        return m, z + self.separation(separation)


class Recycler(nn.Module):
    """Algorithm 32: what the last cycle found is added to the input of the next one."""

    def __init__(self):
        super().__init__()
        self.norm_m = nn.LayerNorm(C_M)
        self.norm_z = nn.LayerNorm(C_Z)
        self.distance = final_linear(len(RECYCLED_EDGES) + 1, C_Z)

    def forward(self, first_row: Tensor, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """first_row (B, N, C_M) of m, z (B, N, N, C_Z), and Cα positions x (B, N, 3) in Å."""
        bins = torch.bucketize(torch.cdist(x, x), RECYCLED_EDGES.to(x))  # (B, N, N)
        one_hot = F.one_hot(bins, len(RECYCLED_EDGES) + 1).to(x.dtype)
        return self.norm_m(first_row), self.norm_z(z) + self.distance(one_hot)


class StructureInput(nn.Module):
    """What the structure module is told. In the paper it is Linear(m_1) and z alone."""

    def __init__(self):
        super().__init__()
        self.first_row = nn.Linear(C_M, C_S)
        self.place = nn.Embedding(LENGTH, C_S)
        self.pairs = final_linear(C_Z, C_Z)
        self.distance = nn.Linear(len(DISTOGRAM_EDGES) + 1, C_Z)
        self.separation = nn.Embedding(2 * LENGTH - 1, C_Z)

    def forward(self, first_row: Tensor, z: Tensor, distogram: Tensor) -> tuple[Tensor, Tensor]:
        """s (B, N, C_S) and pairs (B, N, N, C_Z) from first_row (B, N, C_M), z and logits."""
        s = self.first_row(first_row) + self.place.weight
        place = torch.arange(LENGTH, device=z.device)
        separation = self.separation(place[:, None] - place[None, :] + LENGTH - 1)
        return s, self.pairs(z) + self.distance(distogram.softmax(dim=-1)) + separation


class AlphaFold(nn.Module):
    """Algorithm 2."""

    def __init__(self):
        super().__init__()
        self.embedder = Embedder()
        self.recycler = Recycler()
        self.evoformer = nn.ModuleList([EvoformerBlock() for _ in range(BLOCKS)])
        self.structure = StructureModule()
        self.to_letters = final_linear(C_M, LETTERS)
        self.to_distogram = final_linear(C_Z, len(DISTOGRAM_EDGES) + 1)
        self.to_structure = StructureInput()
        self.to_lddt = nn.Sequential(
            nn.LayerNorm(C_S),
            nn.Linear(C_S, C_S), nn.ReLU(),
            nn.Linear(C_S, C_S), nn.ReLU(),
            final_linear(C_S, LDDT_BINS),
        )  # fmt: skip

    def forward(self, target: Tensor, msa: Tensor, cycles: int, build: bool = True) -> dict:
        """Algorithms 30 and 31. target (B, N) and msa (B, S, N) are letters, as numbers.

        Without build, there is no structure module: only the Evoformer and what is read from it.
        """
        B, N = target.shape
        zeros = partial(torch.zeros, dtype=self.to_letters.weight.dtype, device=target.device)
        recycled = (zeros(B, N, C_M), zeros(B, N, N, C_Z), zeros(B, N, 3))
        for _ in range(cycles - 1):
            with torch.no_grad():
                prediction = self.run_once(target, msa, recycled, build)
            recycled = prediction["recycled"]
        return self.run_once(target, msa, recycled, build)

    def run_once(self, target: Tensor, msa: Tensor, recycled: tuple, build: bool = True) -> dict:
        """One cycle. Everything that is predicted, by name."""
        m, z = self.embedder(target, msa)
        first_row, pairs = self.recycler(*recycled)
        m = torch.cat([m[:, :1] + first_row[:, None], m[:, 1:]], dim=1)
        z = z + pairs
        for block in self.evoformer:
            m, z = block(m, z)
        distogram = self.to_distogram(z + z.transpose(1, 2))
        prediction = {
            "letters": self.to_letters(m),  # logits of the masked letters: (B, S, N, 20)
            "distogram": distogram,  # logits: (B, N, N, 21)
            "recycled": (m[:, 0], z, recycled[2]),
        }
        if build:
            prediction |= self.build_structure(m[:, 0], z, distogram)
            prediction["recycled"] = (m[:, 0], z, prediction["frames"][-1].t)
        return prediction

    def build_structure(self, first_row: Tensor, z: Tensor, distogram: Tensor) -> dict:
        single, pairs = self.to_structure(first_row, z, distogram)
        s, frames = self.structure(single, pairs)
        return {
            "frames": frames,  # after each iteration of the structure module
            "lddt": self.to_lddt(s),  # Algorithm 29, logits: (B, N, 20)
        }


# %% [markdown]
# ## Data
# There is no protein data bank in this script, so it makes its proteins. A chain is built atom by
# atom, N, Cα, C, N, Cα, C and so on, with the bond lengths and angles of real proteins. The torsion
# angles φ and ψ of each residue then fix the fold. They take one of five usual pairs of values,
# with a little noise. Helices are right-handed, as in nature.

# %%
HELIX, STRAND, EXTENDED, RIGHT_TURN, LEFT_TURN = range(5)  # the last three make loops
TORSIONS = torch.tensor(  # φ and ψ in degrees
    [[-62.0, -42.0], [-120.0, 135.0], [-75.0, 145.0], [-75.0, -20.0], [57.0, 40.0]]
)
TORSION_NOISE = 5.0  # degrees
# A residue as its own frame sees it (Å): N, Cα at the origin, C on the x axis.
RESIDUE = torch.tensor([[-0.525, 1.363, 0.0], [0.0, 0.0, 0.0], [1.526, 0.0, 0.0]])
CONTACT = 8.0  # Å between two Cα
FAR = 6  # residues apart along the chain; nearer ones don't count as contacts
COPIES = 64  # of each chain while it grows


def draw_elements(families: int) -> Tensor:
    """Helices and strands in random order, with loops between them: (families, N).

    A loop is marked as EXTENDED everywhere.
    """
    chains = []
    for _ in range(families):
        chain = [EXTENDED] * int(torch.randint(1, 3, ()))
        while len(chain) < LENGTH:
            if torch.rand(()) < 0.5:
                chain += [HELIX] * int(torch.randint(8, 12, ()))
            else:
                chain += [STRAND] * int(torch.randint(4, 7, ()))
            chain += [EXTENDED] * int(torch.randint(2, 5, ()))
        chains.append(chain[:LENGTH])
    return torch.tensor(chains)


def draw_torsions(states: Tensor) -> tuple[Tensor, Tensor]:
    """φ and ψ in degrees for residues of any shape."""
    mean = TORSIONS[states]
    torsions = mean + TORSION_NOISE * torch.randn(mean.shape)
    return torsions[..., 0], torsions[..., 1]


def place_atom(chain: list[Tensor], length: float, angle: float, torsion: Tensor) -> Tensor:
    """The next atom (..., 3) after the last three of a chain: a, b and c.

    length of the new bond in Å, its angle with the bond bc, and the torsion about bc in degrees.
    """
    a, b, c = chain[-3:]
    angle = math.radians(angle)
    torsion = torch.deg2rad(torsion)[..., None]
    forward = F.normalize(c - b, dim=-1)
    normal = F.normalize(torch.linalg.cross(b - a, forward), dim=-1)
    inward = torch.linalg.cross(normal, forward)
    across = torsion.cos() * inward + torsion.sin() * normal
    return c + length * (math.sin(angle) * across - math.cos(angle) * forward)


# %% [markdown]
# Chains drawn at random are hardly ever compact (0.15% of them in a first trial). So each family
# grows as 64 copies, with different loops. After every third residue the copies are drawn anew, in
# proportion to exp(score). The score counts close residues, and punishes clashes and residues far
# from the centre. Bad copies die, and good ones are continued several times.


# %%
def grow_chains(elements: Tensor) -> tuple[Tensor, Tensor]:
    """Compact chains. Returns their atoms N, Cα, C (families, N, 3, 3) and states (families, N)."""
    families = len(elements)
    states = elements[:, None].repeat(1, COPIES, 1)  # (families, copies, N)
    in_loops = torch.randint(EXTENDED, LEFT_TURN + 1, states.shape)
    states = torch.where(states == EXTENDED, in_loops, states)
    chains = RESIDUE.repeat(families, COPIES, 1, 1, 1)  # (families, copies, 1 residue, 3 atoms, 3)
    _, psi = draw_torsions(states[:, :, 0])
    score = torch.zeros(families, COPIES)
    for place in range(1, LENGTH):
        phi, next_psi = draw_torsions(states[:, :, place])
        atoms = list(chains[:, :, -1].unbind(dim=2))  # N, Cα, C of the last residue
        atoms.append(place_atom(atoms, 1.329, 116.6, psi))  # N
        atoms.append(place_atom(atoms, 1.458, 121.7, torch.full_like(psi, 180.0)))  # Cα
        atoms.append(place_atom(atoms, 1.525, 111.0, phi))  # C
        residue = torch.stack(atoms[3:], dim=2)
        chains = torch.cat([chains, residue[:, :, None]], dim=2)
        psi = next_psi

        x = chains[:, :, :, 1]  # Cα: (families, copies, residues, 3)
        distance = (x - x[:, :, -1:]).norm(dim=-1)  # from the new one
        clashes = (distance[..., : max(0, place - 2)] < 4).sum(dim=-1)
        close = torch.sigmoid(9 - distance[..., : max(0, place - FAR + 1)]).sum(dim=-1)
        off_centre = (x[:, :, -1] - x.mean(dim=2)).norm(dim=-1)
        score = score + 0.6 * close - 50 * clashes - 0.1 * off_centre
        if place % 3 == 0 or place == LENGTH - 1:
            drawn = torch.multinomial(score.softmax(dim=1), COPIES, replacement=True)
            family = torch.arange(families)[:, None]
            chains = chains[family, drawn]
            states = states[family, drawn]
            psi = psi[family, drawn]
            score = torch.zeros_like(score)
    return chains[:, 0], states[:, 0]


def contact_map(x: Tensor) -> Tensor:
    """Which Cα x (..., N, 3) are in contact, and far apart along the chain: (..., N, N)."""
    place = torch.arange(x.shape[-2], device=x.device)
    far = (place[:, None] - place).abs() >= FAR
    return (torch.cdist(x, x) < CONTACT) & far


def is_compact(atoms: Tensor) -> Tensor:
    """No clash under 4 Å, and 14 contacts or more: (families,)."""
    x = atoms[:, :, 1]
    place = torch.arange(LENGTH)
    clash = (torch.cdist(x, x) < 4) & ((place[:, None] - place).abs() >= 3)
    contacts = contact_map(x).sum(dim=(1, 2)) // 2
    return ~clash.any(dim=(1, 2)) & (contacts >= 14)


# %% [markdown]
# A sequence fits its fold. Its probability is that of a Potts model:
#
#     p(a_1 ... a_N) ∝ exp( Σ_i h(a_i | state of i) + Σ_contacts J(a_i, a_j) )
#
# The fields h are twice the logarithms of propensities. For helices, strands and turns these are
# Chou and Fasman's (1978); in the three kinds of turn some letters are made more likely, such as
# glycine where a chain turns left. The coupling J is the same in all families: two residues in
# contact should be alike in hydrophobicity, opposite in charge, and one large if the other is
# small. One pair of letters says little about a contact. Many sequences that agree say much.
#
# An alignment evolves along a tree. The root is drawn from the fields, and then every residue six
# times from its distribution given the others (Gibbs sampling). Each branch copies its sequence
# twice, and half of the residues are drawn again in the same way. After five doublings there are 32
# sequences. Two of them have about a third of their letters in common.

# %%
AMINO_ACIDS = "ARNDCQEGHILKMFPSTWYV"
DEPTH = 32  # sequences in a whole alignment
COUPLING_STRENGTH = 0.7
FIELD_STRENGTH = 2.0
MUTATED = 0.5  # the part of the residues that is drawn again along a branch
HYDROPHOBICITY = [  # Kyte and Doolittle, 1982
    1.8, -4.5, -3.5, -3.5, 2.5, -3.5, -3.5, -0.4, -3.2, 4.5,
    3.8, -3.9, 1.9, 2.8, -1.6, -0.8, -0.7, -0.9, -1.3, 4.2,
]  # fmt: skip
VOLUME = [  # Å³
    88.6, 173.4, 114.1, 111.1, 108.5, 143.8, 138.4, 60.1, 153.2, 166.7,
    166.7, 168.6, 162.9, 189.9, 112.7, 89.0, 116.1, 227.8, 193.6, 140.0,
]  # fmt: skip
CHARGE = [0, 1, 0, -1, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
CHOU_FASMAN = torch.tensor([
    [1.42, 0.98, 0.67, 1.01, 0.70, 1.11, 1.51, 0.57, 1.00, 1.08,
     1.21, 1.16, 1.45, 1.13, 0.57, 0.77, 0.83, 1.08, 0.69, 1.06],  # helix
    [0.83, 0.93, 0.89, 0.54, 1.19, 1.10, 0.37, 0.75, 0.87, 1.60,
     1.30, 0.74, 1.05, 1.38, 0.55, 0.75, 1.19, 1.37, 1.47, 1.70],  # strand
    [0.66, 0.95, 1.56, 1.46, 1.19, 0.98, 0.74, 1.56, 0.95, 0.47,
     0.59, 1.01, 0.60, 0.60, 1.52, 1.43, 0.96, 0.96, 1.14, 0.50],  # turn
])  # fmt: skip
LIKED = {  # letters that are more or less likely than in an average turn, by how much
    EXTENDED: {"P": 3.0, "T": 2.0, "S": 1.5, "V": 1.5, "G": 0.5, "N": 0.5},
    RIGHT_TURN: {"D": 3.0, "S": 2.0, "K": 2.0, "E": 2.0, "G": 0.5, "N": 0.7, "P": 0.7},
    LEFT_TURN: {"G": 5.0, "N": 3.0, "P": 0.1},
}


def propensities() -> Tensor:
    """How much each of five states likes each of 20 letters: (5, 20)."""
    table = CHOU_FASMAN[[0, 1, 2, 2, 2]].clone()
    for state, letters in LIKED.items():
        for letter, factor in letters.items():
            table[state, AMINO_ACIDS.index(letter)] *= factor
    return table


def amino_acid_properties() -> Tensor:
    """Hydrophobicity, charge and volume of the 20 letters, with mean 0 and variance 1: (20, 3)."""
    table = torch.tensor([HYDROPHOBICITY, CHARGE, VOLUME]).T
    return (table - table.mean(dim=0)) / table.std(dim=0, correction=0)


PROPERTIES = amino_acid_properties()
# Alike, opposite, opposite: J(a, b) is the sum of three products.
SIGNS = torch.tensor([1.0, -1.0, -1.0])


def gibbs_sweep(sequences: Tensor, fields: Tensor, contacts: Tensor, fraction: float) -> Tensor:
    """Draws a fraction of all residues anew, each from its distribution given the others.

    sequences (families, S, N), fields (families, N, 20), contacts (families, N, N), 0 or 1.
    """
    sequences = sequences.clone()
    for place in torch.randperm(LENGTH).tolist():
        properties = PROPERTIES[sequences]  # (families, S, N, 3)
        in_contact = torch.einsum("fn,fsnp->fsp", contacts[:, place], properties)
        coupling = COUPLING_STRENGTH * (in_contact * SIGNS) @ PROPERTIES.T  # Σ_contacts J
        logits = fields[:, None, place] + coupling  # (families, S, 20)
        drawn = Categorical(logits=logits).sample()  # (families, S)
        mutates = torch.rand(drawn.shape) < fraction
        sequences[:, :, place] = torch.where(mutates, drawn, sequences[:, :, place])
    return sequences


def evolve(states: Tensor, contacts: Tensor) -> Tensor:
    """An alignment for every family: (families, DEPTH, N). Its rows are in random order."""
    fields = FIELD_STRENGTH * propensities().log()[states]  # (families, N, 20)
    sequences = Categorical(logits=fields).sample()[:, None]  # (families, 1, N)
    for _ in range(6):
        sequences = gibbs_sweep(sequences, fields, contacts, 1.0)
    while sequences.shape[1] < DEPTH:
        sequences = sequences.repeat_interleave(2, dim=1)
        sequences = gibbs_sweep(sequences, fields, contacts, MUTATED)
    order = torch.rand(sequences.shape[:2]).argsort(dim=1)
    return sequences.gather(1, order[..., None].expand_as(sequences))


def make_families(families: int) -> dict[str, Tensor]:
    """Generated families: "atoms" (families, N, 3, 3) and "msa" (families, DEPTH, N)."""
    atoms, alignments = [], []
    made = 0
    progress = tqdm(total=families, desc="families", leave=False, disable=None)
    while made < families:
        chains, states = grow_chains(draw_elements(100))
        kept = is_compact(chains)
        contacts = contact_map(chains[kept][:, :, 1]).float()
        atoms.append(chains[kept])
        alignments.append(evolve(states[kept], contacts))
        made += int(kept.sum())
        progress.update(int(kept.sum()))
    progress.close()
    return {"atoms": torch.cat(atoms)[:families], "msa": torch.cat(alignments)[:families]}


def fold_overlap(x: Tensor, others: Tensor) -> Tensor:
    """Shared contacts over all contacts of two folds, for all pairs of them: (F, G)."""
    contacts = contact_map(x).flatten(1).float()  # (F, N * N)
    contacts_of_others = contact_map(others).flatten(1).float()  # (G, N * N)
    shared = contacts @ contacts_of_others.T
    either = contacts.sum(dim=1)[:, None] + contacts_of_others.sum(dim=1) - shared
    return shared / either


def split_families(families: dict, training_count: int, unseen_count: int) -> tuple[dict, dict]:
    """Training families first. Unseen ones are those of the rest whose fold is new: no training
    family has half of its contacts or more in common with them."""
    training = {name: values[:training_count] for name, values in families.items()}
    rest = {name: values[training_count:] for name, values in families.items()}
    overlap = fold_overlap(rest["atoms"][:, :, 1], training["atoms"][:, :, 1]).amax(dim=1)
    new = overlap < SAME_FOLD
    if not new.any():
        new = overlap == overlap.min()
    unseen = {name: values[new][:unseen_count] for name, values in rest.items()}
    return training, unseen


# %% [markdown]
# ## Training
# The main loss is the frame aligned point error, FAPE. Each residue sees all atoms from its own
# frame, once in the predicted structure and once in the true one. The loss is the mean distance
# between what it sees. There is nothing to superpose, and a mirror image does not pass: what lies
# to the left of a residue must lie to its left.


# %%
def frames_from_atoms(atoms: Tensor) -> Frames:
    """Algorithm 21: frames from the positions of N, Cα and C, (..., 3, 3)."""
    n, ca, c = atoms.unbind(dim=-2)
    e1 = F.normalize(c - ca, dim=-1)  # the x axis points from Cα to C
    to_n = n - ca
    across = to_n - e1 * (e1 * to_n).sum(dim=-1, keepdim=True)
    e2 = F.normalize(across, dim=-1)  # N lies in the xy plane
    e3 = torch.linalg.cross(e1, e2)
    return Frames(torch.stack([e1, e2, e3], dim=-1), ca)


def fape(T: Frames, x: Tensor, T_true: Frames, x_true: Tensor, clamp: Tensor) -> Tensor:
    """Algorithm 28, of N frames and A atoms x (B, A, 3): (B,).

    clamp (B,): the error in Å beyond which a larger one costs no more.
    """
    seen = T.to_local(x[:, None].expand(-1, LENGTH, -1, -1))  # line 1: (B, N, A, 3)
    seen_true = T_true.to_local(x_true[:, None].expand(-1, LENGTH, -1, -1))  # line 2
    distance = torch.sqrt(((seen - seen_true) ** 2).sum(dim=-1) + EPSILON)  # line 3: (B, N, A)
    clamped = torch.minimum(distance, clamp[:, None, None])
    return clamped.mean(dim=(1, 2)) / 10  # line 4, in units of Z = 10 Å


# %% [markdown]
# The measure of success is lDDT, which needs no superposition either. Of all true distances below
# 15 Å, which part is predicted to within 0.5, 1, 2 and 4 Å? The mean of the four parts is the lDDT.
# It compares distances only, so it can't tell a structure from its mirror image.


# %%
def lddt(distance: Tensor, distance_true: Tensor) -> Tensor:
    """lDDT-Cα of every residue, from 0 to 1, for distances (..., N, N) between Cα: (..., N)."""
    myself = torch.eye(distance.shape[-1], dtype=torch.bool, device=distance.device)
    counted = (distance_true < 15) & ~myself
    error = (distance - distance_true).abs()
    kept = torch.zeros_like(error)
    for tolerance in (0.5, 1.0, 2.0, 4.0):
        kept = kept + (error < tolerance) / 4
    return (kept * counted).sum(dim=-1) / counted.sum(dim=-1).clamp(min=1)


# %% [markdown]
# FAPE has little to say to a network that knows nothing, since then all errors are about equally
# bad. Two more losses carry the start. The distogram puts the distance of each pair into a bin. The
# masked MSA hides letters of the alignment, which the network has to fill in. A last small loss is
# for the confidence: what will the lDDT of each residue be?

# %%
BATCH = 8
WARMUP = 30  # steps
# Three stages of training: their part of the steps, and their highest learning rate.
EVOFORMER_STEPS, EVOFORMER_RATE = 0.28, 6e-3
STRUCTURE_STEPS, STRUCTURE_RATE = 0.67, 5e-3
ALL_STEPS, ALL_RATE = 0.05, 1e-3
# Part of the examples whose FAPE is not clamped (paper: 0.1 of the batches). An error that is
# clamped has no gradient, and at first most errors are large.
UNCLAMPED = 0.5
CYCLES = 2  # at most, in training; as many in prediction
LOSS_WEIGHTS = {"final": 0.5, "auxiliary": 0.5, "distogram": 3.0, "letters": 0.1, "lddt": 0.01}


def hide_letters(msa: Tensor) -> tuple[Tensor, Tensor]:
    """The alignment with 15% of its letters hidden, and which ones: both (B, S, N)."""
    hidden = torch.rand(msa.shape, device=msa.device) < 0.15
    fate = torch.rand(msa.shape, device=msa.device)
    masked = torch.full_like(msa, LETTERS)
    random = torch.randint_like(msa, LETTERS)
    shown = torch.where(fate < 0.9, random, msa)
    shown = torch.where(fate < 0.8, masked, shown)
    return torch.where(hidden, shown, msa), hidden


def evoformer_losses(prediction: dict, atoms: Tensor, msa: Tensor, hidden: Tensor) -> dict:
    """Distogram and masked letters. atoms (B, N, 3, 3); msa and hidden (B, S, N)."""
    x_true = atoms[:, :, 1]  # Cα
    bins = torch.bucketize(torch.cdist(x_true, x_true), DISTOGRAM_EDGES.to(atoms))
    distogram = F.cross_entropy(prediction["distogram"].flatten(0, 2), bins.flatten())

    nll = F.cross_entropy(prediction["letters"].flatten(0, 2), msa.flatten(), reduction="none")
    letters = (nll * hidden.flatten()).sum() / hidden.sum().clamp(min=1)
    return {"distogram": distogram, "letters": letters}


def structure_losses(prediction: dict, atoms: Tensor) -> dict[str, Tensor]:
    """FAPE and the confidence. atoms (B, N, 3, 3)."""
    x_true = atoms[:, :, 1]  # Cα
    T_true = frames_from_atoms(atoms)

    # Cα after every iteration.
    unclamped = torch.rand(len(atoms), device=atoms.device) < UNCLAMPED
    clamp = torch.where(unclamped, torch.inf, 10.0)
    of_iterations = []
    for T in prediction["frames"]:
        of_iterations.append(fape(T, T.t, T_true, x_true, clamp).mean())

    # N, Cα and C of the final structure.
    T = prediction["frames"][-1]
    residue = RESIDUE.to(atoms).expand_as(atoms)
    predicted_atoms = T.to_global(residue).flatten(1, 2)  # (B, N * 3, 3)
    final = fape(T, predicted_atoms, T_true, atoms.flatten(1, 2), clamp).mean()

    with torch.no_grad():
        reached = lddt(torch.cdist(T.t, T.t), torch.cdist(x_true, x_true))  # (B, N)
        lddt_bins = (reached * LDDT_BINS).long().clamp(max=LDDT_BINS - 1)
    confidence = F.cross_entropy(prediction["lddt"].flatten(0, 1), lddt_bins.flatten())
    return {"final": final, "auxiliary": torch.stack(of_iterations).mean(), "lddt": confidence}


def draw_depth() -> int:
    """The number of sequences in an alignment, from 1 to 32."""
    return round(DEPTH ** torch.rand(()).sqrt().item())


def draw_alignments(msa: Tensor, depth: int) -> Tensor:
    """The target and depth − 1 other sequences, drawn anew for each family: (B, depth, N)."""
    others = torch.rand(len(msa), DEPTH - 1, device=msa.device).argsort(dim=1)[:, : depth - 1] + 1
    rows = F.pad(others, (1, 0))  # row 0 first
    return msa.gather(1, rows[..., None].expand(-1, -1, LENGTH))


# %% [markdown]
# The Evoformer learns far sooner than the structure module, and a step of it costs three times as
# much. So training has three stages. First the Evoformer learns distogram and letters. Then it is
# kept fixed: it reads every family once, and the structure module learns from what it found, in
# many cheap steps. Last, for a few steps, all learn together, as in the paper. Only then are the
# positions recycled, too.


# %%
def train(model: AlphaFold, families: dict[str, Tensor], steps: int) -> list[dict[str, float]]:
    """All three stages. Returns the parts of the loss at every step."""
    first = max(1, round(EVOFORMER_STEPS * steps))
    second = max(1, round(STRUCTURE_STEPS * steps))
    third = max(1, round(ALL_STEPS * steps))
    history = train_network(model, families, first, EVOFORMER_RATE, build=False)
    history += train_structure_module(model, families, second, STRUCTURE_RATE)
    history += train_network(model, families, third, ALL_RATE, build=True)
    return history


def train_network(
    model: AlphaFold, families: dict[str, Tensor], steps: int, highest_rate: float, build: bool
) -> list[dict[str, float]]:
    """The paper's training. Without build, that of the Evoformer alone."""
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99))
    history = []
    for step in tqdm(range(steps), desc="network", leave=False, disable=None):
        batch = torch.randint(len(families["atoms"]), (BATCH,))
        atoms = families["atoms"][batch]
        msa = draw_alignments(families["msa"][batch], draw_depth())
        shown, hidden = hide_letters(msa)
        cycles = int(torch.randint(1, CYCLES + 1, ()))

        prediction = model(msa[:, 0], shown, cycles, build)
        parts = evoformer_losses(prediction, atoms, msa, hidden)
        if build:
            parts |= structure_losses(prediction, atoms)
        update(model, optimizer, parts, learning_rate(step, steps, highest_rate))
        history.append({name: value.item() for name, value in parts.items()})
    return history


def train_structure_module(
    model: AlphaFold, families: dict[str, Tensor], steps: int, highest_rate: float
) -> list[dict[str, float]]:
    """All other layers are fixed. Returns the parts of the loss at every step."""
    inputs = read_families(model, families)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99))
    history = []
    for step in tqdm(range(steps), desc="structure module", leave=False, disable=None):
        batch = torch.randint(len(families["atoms"]), (BATCH,))
        prediction = model.build_structure(*[tensor[batch] for tensor in inputs])
        parts = structure_losses(prediction, families["atoms"][batch])
        update(model, optimizer, parts, learning_rate(step, steps, highest_rate))
        history.append({name: value.item() for name, value in parts.items()})
    return history


@torch.no_grad()
def read_families(model: AlphaFold, families: dict[str, Tensor]) -> list[Tensor]:
    """What the structure module is given for each family: first row of m, z, and distogram."""
    parts = []
    for msa in families["msa"].split(25):
        alignments = draw_alignments(msa, draw_depth())
        prediction = model(msa[:, 0], alignments, CYCLES, build=False)
        first_row, z, _ = prediction["recycled"]
        parts.append((first_row, z, prediction["distogram"]))
    return [torch.cat(tensors) for tensors in zip(*parts)]


def learning_rate(step: int, steps: int, highest: float) -> float:
    """A linear warm-up, and half a cosine down to 0."""
    return highest * min(1, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2


def update(model: AlphaFold, optimizer: torch.optim.Adam, parts: dict, rate: float) -> None:
    """One step of Adam on the weighted sum of the parts."""
    optimizer.param_groups[0]["lr"] = rate
    loss = sum(LOSS_WEIGHTS[name] * value for name, value in parts.items())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


# %% [markdown]
# ## Experiments
# Three rivals. The *mean predictor* knows how far apart two residues are on average in the training
# families, given their separation along the chain; lDDT asks for distances only, so this is a
# prediction that it can judge. The *nearest training family* is the one whose target sequence has
# most letters in common, and its structure is the prediction. For contacts there is mutual
# information, which compares two columns of the alignment at a time and is not trained. It needs
# pseudocounts, since 32 sequences can show few of the 400 pairs of letters. Their number is the
# best of five on training families, and makes mutual information a much stronger rival.

# %%
PSEUDOCOUNT = 5.0  # of each pair of letters; 1/800: precision 0.09, 0.2: 0.45, 1: 0.49, 5: 0.50


# %%
def mean_distances(x: Tensor) -> Tensor:
    """The mean distance in x (F, N, 3) for each separation along the chain, as a map (N, N)."""
    distance = torch.cdist(x, x).mean(dim=0)  # (N, N)
    means = torch.stack([distance.diagonal(offset).mean() for offset in range(LENGTH)])
    place = torch.arange(LENGTH, device=x.device)
    return means[(place[:, None] - place).abs()]


def nearest_in_sequence(targets: Tensor, training_targets: Tensor) -> Tensor:
    """For each target (F, N), the training target with most letters in common: (F,)."""
    identity = (targets[:, None] == training_targets).float().mean(dim=2)
    return identity.argmax(dim=1)


def mutual_information(msa: Tensor) -> Tensor:
    """Mutual information of all pairs of columns, with APC: msa (F, S, N) to (F, N, N).

    A column that varies much shares something with all others. The average product correction
    (APC; Dunn et al., 2008) subtracts what two columns share with all others on average.
    """
    one_hot = F.one_hot(msa, LETTERS).float().flatten(2)  # (F, S, N * 20)
    counts = one_hot.transpose(1, 2) @ one_hot + PSEUDOCOUNT  # (F, N * 20, N * 20)
    counts = counts.view(-1, LENGTH, LETTERS, LENGTH, LETTERS)
    joint = counts / counts.sum(dim=(2, 4), keepdim=True)  # (F, N, 20, N, 20)
    of_i, of_j = joint.sum(dim=4), joint.sum(dim=2)  # (F, N, 20, N) and (F, N, N, 20)
    entropy_i = -(of_i * of_i.log()).sum(dim=2)  # (F, N, N)
    entropy_j = -(of_j * of_j.log()).sum(dim=3)
    information = entropy_i + entropy_j + (joint * joint.log()).sum(dim=(2, 4))
    myself = torch.eye(LENGTH, dtype=torch.bool, device=msa.device)
    information = information.masked_fill(myself, 0.0)
    of_column = information.sum(dim=2) / (LENGTH - 1)  # mean over the other columns
    overall = of_column.mean(dim=1)[:, None, None]
    return information - of_column[:, :, None] * of_column[:, None] / overall.clamp(min=1e-9)


def contact_precision(score: Tensor, x_true: Tensor) -> Tensor:
    """Which part of the N/2 pairs with the highest scores (F, N, N) is in contact: (F,)."""
    first, second = torch.triu_indices(LENGTH, LENGTH, offset=FAR)
    best = score[:, first, second].topk(LENGTH // 2, dim=1).indices
    is_contact = contact_map(x_true)[:, first, second].float()
    return is_contact.gather(1, best).mean(dim=1)


@torch.no_grad()
def predict(model: AlphaFold, msa: Tensor, depth: int) -> dict[str, Tensor]:
    """With the first `depth` sequences: Cα "x" (F, N, 3) of the structures and "plddt" (F, N).

    From the distogram: the probability of "contacts" and the median "distance", both (F, N, N).
    """
    middles = (torch.arange(LDDT_BINS, device=msa.device) + 0.5) / LDDT_BINS
    parts = {"x": [], "plddt": [], "contacts": [], "distance": []}
    for some in msa.split(50):
        prediction = model(some[:, 0], some[:, :depth], CYCLES)
        distances = prediction["distogram"].softmax(dim=-1)
        parts["x"].append(prediction["frames"][-1].t)
        parts["plddt"].append(prediction["lddt"].softmax(dim=-1) @ middles)
        parts["contacts"].append(distances[..., : int(CONTACT) - 2].sum(dim=-1))  # below 8 Å
        below_median = (distances.cumsum(dim=-1) < 0.5).sum(dim=-1)  # bins
        parts["distance"].append(below_median + DISTOGRAM_EDGES[0] - 0.5)  # middle of the next bin
    return {name: torch.cat(values) for name, values in parts.items()}


def judge_depths(model: AlphaFold, families: dict[str, Tensor]) -> dict[str, list]:
    """One network and alignments of 1, 2, 4 ... 32 sequences: means over unseen families."""
    x_true = families["atoms"][:, :, 1]
    distance_true = torch.cdist(x_true, x_true)
    results = {"depth": [1, 2, 4, 8, 16, 32]}
    results |= {"lddt": [], "lddt of distogram": [], "precision": [], "information": []}
    for depth in results["depth"]:
        prediction = predict(model, families["msa"], depth)
        of_residues = lddt(torch.cdist(prediction["x"], prediction["x"]), distance_true)
        of_distogram = lddt(prediction["distance"], distance_true)
        precision = contact_precision(prediction["contacts"], x_true)
        parts = [mutual_information(some[:, :depth]) for some in families["msa"].split(50)]
        rival = contact_precision(torch.cat(parts), x_true)
        results["lddt"].append(of_residues.mean().item())
        results["lddt of distogram"].append(of_distogram.mean().item())
        results["precision"].append(precision.mean().item())
        results["information"].append(rival.mean().item())
    return results


def judge_chains(prediction: dict, unseen: dict) -> dict[str, Tensor]:
    """For each family: the means over its residues of the true "lddt" and the predicted one,
    "plddt"; the "rmsd" in Å after superposition, and that of the mirror image, "mirrored"."""
    x, x_true = prediction["x"].cpu(), unseen["atoms"][:, :, 1].cpu()
    of_residues = lddt(torch.cdist(x, x), torch.cdist(x_true, x_true))
    rmsd = [superpose(chain, true)[1] for chain, true in zip(x, x_true)]
    mirrored = [superpose(-chain, true)[1] for chain, true in zip(x, x_true)]
    return {
        "lddt": of_residues.mean(dim=1),
        "plddt": prediction["plddt"].mean(dim=1).cpu(),
        "rmsd": torch.tensor(rmsd),
        "mirrored": torch.tensor(mirrored),
    }


def judge_rivals(training: dict[str, Tensor], unseen: dict[str, Tensor]) -> dict[str, float]:
    """lDDT of the mean predictor and of the nearest family's structure, and the share of contacts
    among all pairs that may be one."""
    x, x_unseen = training["atoms"][:, :, 1], unseen["atoms"][:, :, 1]
    distance_true = torch.cdist(x_unseen, x_unseen)
    mean = mean_distances(x).expand_as(distance_true)
    copied = x[nearest_in_sequence(unseen["msa"][:, 0], training["msa"][:, 0])]
    first, second = torch.triu_indices(LENGTH, LENGTH, offset=FAR)
    return {
        "mean": lddt(mean, distance_true).mean().item(),
        "nearest": lddt(torch.cdist(copied, copied), distance_true).mean().item(),
        "contacts": contact_map(x_unseen)[:, first, second].float().mean().item(),
    }


# %% [markdown]
# To show a prediction on top of the truth, it is superposed: moved and turned, never mirrored, so
# that the root mean square distance (RMSD) is smallest. Kabsch's method finds the rotation from a
# singular value decomposition.

# %%
SHOWN = {"upper quartile": 0.75, "median": 0.5, "lower quartile": 0.25}  # of the unseen families


def superpose(x: Tensor, x_true: Tensor) -> tuple[Tensor, float]:
    """x (N, 3) on top of x_true (N, 3), and the RMSD in Å."""
    centre, centre_true = x.mean(dim=0), x_true.mean(dim=0)
    covariance = (x - centre).T @ (x_true - centre_true)  # (3, 3)
    U, _, Vt = torch.linalg.svd(covariance)
    U[:, -1] *= torch.sign(torch.linalg.det(U @ Vt))  # a rotation, not a mirror
    moved = (x - centre) @ (U @ Vt) + centre_true
    return moved, (moved - x_true).square().sum(dim=1).mean().sqrt().item()


def choose_shown(prediction: dict, unseen: dict, of_chains: Tensor) -> dict[str, dict]:
    """Families at given quantiles of lDDT, each predicted structure on top of the true one.

    prediction: that of `predict`; of_chains: lDDT of the unseen families (F,).
    """
    order = of_chains.argsort()
    shown = {}
    for rank, quantile in SHOWN.items():
        family = order[round(quantile * (len(order) - 1))]
        x_true = unseen["atoms"][family, :, 1]
        x, rmsd = superpose(prediction["x"][family], x_true)
        shown[rank] = {
            "x": x.cpu(),
            "x_true": x_true.cpu(),
            "plddt": prediction["plddt"][family].cpu(),
            "lddt": of_chains[family].item(),
            "rmsd": rmsd,
        }
    return shown


# %% [markdown]
# ## Figure

# %%
plt.rcParams.update({
    "figure.figsize": (9, 6), "figure.constrained_layout.use": True, "savefig.dpi": 150,
    "font.size": 11, "axes.titlesize": 12, "axes.titlelocation": "left", "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color="#0072B2 #D98200 #009E73 #AA4499 #8C564B #56B4E9".split()),
})  # fmt: skip
# The colours of the AlphaFold database, by predicted lDDT.
CONFIDENCE = {0.9: "#0053D6", 0.7: "#65CBF3", 0.5: "#FFDB13", 0.0: "#FF7D45"}
FRAMES = 40  # of the film


def confidence_colour(plddt: float) -> str:
    for limit, colour in CONFIDENCE.items():
        if plddt >= limit:
            return colour
    return CONFIDENCE[0.0]


def smooth(x: Tensor, points: int = 8) -> Tensor:
    """A Catmull-Rom curve through x (N, 3), with so many points from one to the next."""
    ends = torch.cat([2 * x[:1] - x[1:2], x, 2 * x[-1:] - x[-2:-1]])
    before, start, end, after = ends[:-3], ends[1:-2], ends[2:-1], ends[3:]
    u = torch.arange(points)[:, None, None] / points  # (points, 1, 1)
    curve = (
        2 * start
        + (end - before) * u
        + (2 * before - 5 * start + 4 * end - after) * u**2
        + (3 * start - before - 3 * end + after) * u**3
    ) / 2
    return curve.transpose(0, 1).flatten(0, 1)  # ((N - 1) * points, 3)


def portrait(shown: dict, angle: float, size: int) -> Image.Image:
    """The true backbone (grey) and the predicted one (coloured by pLDDT), turned by an angle.

    shown: "x_true" and "x" (N, 3), superposed, "plddt" (N,).
    """
    x_true = shown["x_true"]
    centre = x_true.mean(dim=0)
    _, _, axes = torch.linalg.svd(x_true - centre)
    axes = axes * torch.linalg.det(axes)  # a rotation: longest axis, second, third
    turn = torch.tensor([
        [math.cos(angle), 0.0, math.sin(angle)],
        [0.0, 1.0, 0.0],
        [-math.sin(angle), 0.0, math.cos(angle)],
    ])  # fmt: skip
    upright = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    view = turn @ upright @ axes

    pieces = []  # depth, end points, colour and width in Å of every short piece of both curves
    for name in ("x_true", "x"):
        curve = smooth((shown[name] - centre) @ view.T)
        for number in range(len(curve) - 1):
            colour = "#B8B8B8"
            if name == "x":
                colour = confidence_colour(shown["plddt"][round(number / 8)].item())
            start, end = curve[number].tolist(), curve[number + 1].tolist()
            pieces.append((start[2], start, end, colour, 1.0))
            pieces.append((start[2] - 1, start, end, "#404040", 1.4))  # an outline, just behind
    pieces.sort(key=lambda piece: piece[0])  # far ones first

    scale = 2 * size / 42  # pixels per Å, on a picture of twice the size
    picture = Image.new("RGB", (2 * size, 2 * size), "white")
    pen = ImageDraw.Draw(picture)
    for depth, start, end, colour, width in pieces:
        haze = min(0.6, max(0.0, 0.25 - depth / 40))  # far pieces are paler
        fill = tuple(round(part + haze * (255 - part)) for part in ImageColor.getrgb(colour))
        x, y = size + scale * start[0], size - scale * start[1]
        x_end, y_end = size + scale * end[0], size - scale * end[1]
        radius = scale * width / 2
        pen.line((x, y, x_end, y_end), fill=fill, width=round(2 * radius))
        pen.ellipse((x_end - radius, y_end - radius, x_end + radius, y_end + radius), fill=fill)
    return picture.resize((size, size), Image.LANCZOS)


def film(shown: dict[str, dict], path: Path) -> None:
    """The structures of `shown` turn once about their long axis, in a GIF that repeats."""
    frames = []
    for number in range(FRAMES):
        angle = 2 * math.pi * number / FRAMES
        frame = Image.new("RGB", (240 * len(shown), 270), "white")
        pen = ImageDraw.Draw(frame)
        for column, (rank, family) in enumerate(shown.items()):
            frame.paste(portrait(family, angle, 240), (240 * column, 30))
            caption = f"{rank}, lDDT {family['lddt']:.2f}"
            pen.text((240 * column + 120, 16), caption, fill="black", anchor="mm",
                     font=ImageFont.load_default(14))  # fmt: skip
        frames.append(frame.quantize(64))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=90, loop=0)


def draw(shown: dict[str, dict], depths: dict, rivals: dict, chains: dict, path: Path) -> None:
    """Above, structures of unseen families, predicted on top of true. Below, how the accuracy of
    the same network grows with the depth of the alignment, the precision of its contacts beside
    that of mutual information, and how well it knows its own errors.

    shown: rank -> "x", "x_true", "plddt", "lddt", "rmsd"; chains: "plddt" and "lddt" (F,).
    """
    figure, axes = plt.subplot_mosaic("hhh;lcp", figsize=(9, 7.2), height_ratios=[1.35, 1])

    strip = Image.new("RGB", (600 * len(shown), 600), "white")
    for column, (rank, family) in enumerate(shown.items()):
        strip.paste(portrait(family, 0.0, 600), (600 * column, 0))
        text = f"{rank}\nlDDT {family['lddt']:.2f}, RMSD {family['rmsd']:.1f} Å"
        axes["h"].text(600 * column + 300, 0, text, ha="center", fontsize=11)
    axes["h"].imshow(strip)
    axes["h"].axis("off")

    names = ["90 or more", "70 to 90", "50 to 70", "below 50"]
    handles = [Patch(color=colour, label=name) for name, colour in zip(names, CONFIDENCE.values())]
    handles.append(Patch(color="#B8B8B8", label="true structure"))
    title = "Predicted structures of unseen families, coloured by predicted lDDT (in percent)"
    figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=10, title=title)

    axis = axes["l"]
    axis.semilogx(depths["depth"], depths["lddt"], "o-", base=2)
    axis.semilogx(depths["depth"], depths["lddt of distogram"], "o--", base=2, color="C0")
    axis.axhline(rivals["nearest"], color="C1")
    axis.axhline(rivals["mean"], color="0.6")
    axis.text(32, depths["lddt"][-1] + 0.02, "structures", color="C0", ha="right")
    axis.text(32, depths["lddt of distogram"][-1] + 0.02, "distances", color="C0", ha="right")
    axis.text(32, rivals["nearest"] - 0.05, "nearest training family", color="C1", ha="right")
    axis.text(32, rivals["mean"] - 0.05, "mean predictor", color="0.4", ha="right")
    axis.set(title="Accuracy", ylabel="lDDT of unseen families", ylim=(0.25, 0.85))

    axis = axes["c"]
    axis.semilogx(depths["depth"], depths["precision"], "o-", base=2)
    axis.semilogx(depths["depth"][1:], depths["information"][1:], "o-", base=2)
    axis.axhline(rivals["contacts"], color="0.6")
    axis.text(32, depths["information"][-1] + 0.04, "mutual information", color="C1", ha="right")
    axis.text(32, rivals["contacts"] + 0.02, "pairs at random", color="0.4", ha="right")
    axis.set(title="Precision of contacts", ylabel="true ones of the 16 most likely", ylim=(0, 1))
    for name in "lc":
        axes[name].set(xlabel="sequences in the alignment")
        axes[name].set_xticks(depths["depth"], depths["depth"])

    axes["p"].plot(chains["plddt"], chains["lddt"], ".", alpha=0.5)
    ends = (0.2, 1.0)
    axes["p"].plot(ends, ends, ":", color="black")
    axes["p"].set(title="Confidence", xlabel="predicted lDDT of a family", ylabel="true lDDT")
    figure.savefig(path)


# %% [markdown]
# ## Run


# %%
def positive(text: str) -> int:
    """For argparse: a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the figure goes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", type=positive, default=2500, help="to train on")
    parser.add_argument("--steps", type=positive, default=3600, help="of training")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args(argv)
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed {args.seed}: a seed is a whole number from 0 to {2**32 - 1}")
    try:
        torch.zeros(1, device=args.device)
        args.out.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, AssertionError, OSError) as error:
        reason = str(error).splitlines()[0]
        parser.error(f"--device {args.device}, --out {args.out}: {reason}")
    return args


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    torch.manual_seed(args.seed)
    steps = min(4, args.steps) if args.smoke else args.steps
    count = min(20, args.families) if args.smoke else args.families
    unseen_count = 6 if args.smoke else 150

    families = make_families(count + CANDIDATES * unseen_count)
    families = {name: values.to(args.device) for name, values in families.items()}
    training, unseen = split_families(families, count, unseen_count)
    model = AlphaFold().to(args.device)
    train(model, training, steps)

    depths = judge_depths(model, unseen)
    rivals = judge_rivals(training, unseen)
    prediction = predict(model, unseen["msa"], DEPTH)
    chains = judge_chains(prediction, unseen)
    shown = choose_shown(prediction, unseen, chains["lddt"])
    film(shown, args.out / "alphafold.gif")
    draw(shown, depths, rivals, chains, args.out / "alphafold.png")

    distances, structures = depths["lddt of distogram"], depths["lddt"]
    precision = depths["precision"]
    information = max(depths["information"])
    mean, nearest = rivals["mean"], rivals["nearest"]
    rmsd, mirrored = chains["rmsd"].median(), chains["mirrored"].median()
    claims = [
        (
            f"{len(unseen['msa'])} unseen families: lDDT {structures[-1]:.2f} of the structures, "
            f"{distances[-1]:.2f} of the distances, mean predictor {mean:.2f}, nearest training "
            f"family {nearest:.2f}; median RMSD {rmsd:.1f} Å, mirrored {mirrored:.1f} Å",
            structures[-1] >= mean + 0.10 and structures[-1] >= nearest + 0.03,
        ),
        (
            f"from the target alone to {DEPTH} sequences, the lDDT of the structures grows from "
            f"{structures[0]:.2f} to {structures[-1]:.2f}, and the precision of contacts from "
            f"{100 * precision[0]:.0f}% to {100 * precision[-1]:.0f}%",
            structures[-1] >= structures[0] + 0.06 and precision[-1] >= precision[0] + 0.1,
        ),
        (
            f"of the {LENGTH // 2} most probable contacts {100 * precision[-1]:.0f}% are true, by "
            f"mutual information {100 * information:.0f}%, of all pairs "
            f"{100 * rivals['contacts']:.0f}%",
            precision[-1] >= information + 0.25,
        ),
    ]
    for number, (outcome, holds) in enumerate(claims, 1):
        verdict = "not judged" if args.smoke else "holds" if holds else "does not hold"
        print(f"claim {number} {verdict}: {outcome}")
    print(f"figure: {args.out / 'alphafold.png'}")
    headline = (
        f"structures of unseen generated families with lDDT {structures[-1]:.2f}, nearest training "
        f"family {nearest:.2f}, mean predictor {mean:.2f}"
    )
    return {"data": "generated families of 32 residues", "headline": headline, "claims": claims}


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")  # a terminal without "θ" shows "?"
    main([] if "ipykernel" in sys.modules else None)  # a notebook has no command line


# %% [markdown]
# ## Notes
# - The structure module is the limit of this script. Its structures have an lDDT of 0.56 where the
#   distogram's distances have 0.69 (seed 12). A first version was trained as in the paper, all
#   layers together, with all residues at the origin at first. Its structures had 0.43 (seed 11),
#   less than the 0.48 of the nearest training family, and were too compact: where FAPE can't be
#   made small, a residue stays near the middle.
# - lDDT can't tell a structure from its mirror image, so the outcome of claim 1 has two RMSDs. The
#   mirror images have only 0.5 to 0.8 Å more (seeds 0 to 2). Helices are right-handed, but which
#   way the chain turns between them is often wrong.
# - What helped: modules trained alone on a fixed Evoformer for 25 seconds had 0.39 on validation
#   families, with a chain in the first iteration and no gradient through frames 0.50, and 0.58 when
#   trained for 70 seconds. The gradient has to stop behind the chain: without that, 0.35. Families
#   in training are hardly better than unseen ones (by 0.03 at most): it is a matter of steps.
# - The chain's first step matters, too. At the mean of the data (0.36 nm along the x axis) it makes
#   a wide spiral, and two seeds had 0.50. At (0.2, 0.2, 0.2) nm, which makes a straight line, three
#   seeds had 0.24, 0.44 and 0.43.
# - Joint training for two thirds of the time and the structure module alone after it had 0.50 (seed
#   12) in as many seconds as the three stages needed for 0.56.
# - In the first version, without the chain, structure modules were trained alone for about 900
#   steps. From z they reached an lDDT of 0.43 (with the places in the chain), from the distogram
#   and the separations in channels of their own 0.52 (without the places 0.50), from the true
#   distances 0.64. So part of the difficulty is to read z, and the rest is the module's own. More
#   heads and channels (12 and 64) were worse at the same learning rate, 0.34.
# - A penalty on the distance of neighbours (as the paper's violation loss has one) put them right
#   to within 0.2 Å and spoilt the rest: 0.36 instead of 0.52.
# - In that test, from z, a learning rate of 2e-2 gave 0.31 where 6e-3 gave 0.46.
# - Clamping: given the true distances, and after 300 steps, a structure module reached 0.46 with a
#   tenth of the examples unclamped, and 0.53 with half of them.
# - With the paper's weight of 0.3, the distogram's loss was 1.94 after 300 steps, with 3.0 it was
#   1.85, and 1.64 after 600.
# - Mutual information is a rival that depends on its pseudocounts. On training families with weaker
#   couplings, its precision was 9% with half a count spread over the 400 pairs of letters, and 50%
#   with 5 counts for each pair.
