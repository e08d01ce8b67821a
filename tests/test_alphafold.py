"""Every algorithm of papers/alphafold.py against loops over its box in the supplement, the geometry
against SciPy, and the generated families against what they are said to be."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from papers import alphafold

N = alphafold.LENGTH


@pytest.fixture(autouse=True)
def double_precision():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """With random weights everywhere, also where training starts from zeros and ones."""
    module = module.double()
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return module


def random_frames(*shape: int) -> alphafold.Frames:
    R = Rotation.random(math.prod(shape), random_state=0).as_matrix()
    return alphafold.Frames(torch.tensor(R).view(*shape, 3, 3), torch.randn(*shape, 3))


def move(T: alphafold.Frames, seed: int = 1) -> tuple[alphafold.Frames, torch.Tensor, torch.Tensor]:
    """The frames after a rigid motion of everything, and that motion."""
    Q = torch.tensor(Rotation.random(random_state=seed).as_matrix())
    shift = 3 * torch.randn(3)
    return alphafold.Frames(Q @ T.R, T.t @ Q.T + shift), Q, shift


def heads_of(linear: torch.nn.Linear, x: torch.Tensor, heads: int) -> torch.Tensor:
    return linear(x).view(*x.shape[:-1], heads, -1)


def attend(module, x: torch.Tensor, i: int, bias: torch.Tensor) -> torch.Tensor:
    """What place i of the sequence x (L, c) takes from all places, one head at a time.

    bias (L, heads): bias[j, h] is added to the logit of place j.
    """
    heads, others = module.heads, range(len(x))
    q, k = heads_of(module.to_q, x, heads), heads_of(module.to_k, x, heads)
    v, g = heads_of(module.to_v, x, heads), heads_of(module.to_gate, x, heads)
    results = []
    for h in range(heads):
        logits = [q[i, h] @ k[j, h] / q.shape[-1] ** 0.5 + bias[j, h] for j in others]
        weights = torch.stack(logits).exp() / torch.stack(logits).exp().sum()
        taken = sum(weight * v[j, h] for weight, j in zip(weights, others))
        results.append(torch.sigmoid(g[i, h]) * taken)
    return module.to_out(torch.cat(results))


def test_row_attention_has_a_bias_from_the_pairs():
    row = shaken(alphafold.MSARowAttention())
    m, z = torch.randn(1, 2, 5, alphafold.C_M), torch.randn(1, 5, 5, alphafold.C_Z)
    normed, bias = row.norm(m), row.to_bias(row.norm_z(z))
    result = row(m, z)
    for s in range(2):
        for i in range(5):
            expected = attend(row.attention, normed[0, s], i, bias[0, i])
            torch.testing.assert_close(result[0, s, i], expected)


def test_column_attention_looks_along_the_sequences():
    column = shaken(alphafold.MSAColumnAttention())
    m = torch.randn(1, 4, 3, alphafold.C_M)
    normed, result = column.norm(m), column(m)
    no_bias = torch.zeros(4, alphafold.HEADS)
    for s in range(4):
        for i in range(3):
            expected = attend(column.attention, normed[0, :, i], s, no_bias)
            torch.testing.assert_close(result[0, s, i], expected)


def test_outer_product_mean():
    layer = shaken(alphafold.OuterProductMean())
    m = torch.randn(1, 3, 4, alphafold.C_M)
    a, b = layer.to_a(layer.norm(m))[0], layer.to_b(layer.norm(m))[0]
    result = layer(m)
    for i in range(4):
        for j in range(4):
            mean = sum(torch.outer(a[s, i], b[s, j]) for s in range(3)) / 3
            torch.testing.assert_close(result[0, i, j], layer.to_out(mean.flatten()))


@pytest.mark.parametrize("direction", ["outgoing", "incoming"])
def test_triangle_updates(direction):
    layer = shaken(alphafold.TriangleUpdate(direction))
    z = torch.randn(1, 4, 4, alphafold.C_Z)
    normed = layer.norm(z)[0]
    a = torch.sigmoid(layer.gate_a(normed)) * layer.to_a(normed)
    b = torch.sigmoid(layer.gate_b(normed)) * layer.to_b(normed)
    result = layer(z)
    for i in range(4):
        for j in range(4):
            total = 0
            for k in range(4):
                edges = (a[i, k], b[j, k]) if direction == "outgoing" else (a[k, i], b[k, j])
                total = total + edges[0] * edges[1]
            gate = torch.sigmoid(layer.gate_out(normed[i, j]))
            torch.testing.assert_close(result[0, i, j], gate * layer.to_out(layer.norm_out(total)))


@pytest.mark.parametrize("node", ["starting", "ending"])
def test_triangle_attention(node):
    layer = shaken(alphafold.TriangleAttention(node))
    z = torch.randn(1, 4, 4, alphafold.C_Z)
    normed = layer.norm(z)[0]
    bias = layer.to_bias(normed)
    result = layer(z)
    for i in range(4):
        for j in range(4):
            if node == "starting":  # ij looks at ik, biased by jk
                expected = attend(layer.attention, normed[i], j, bias[j])
            else:  # ij looks at kj, biased by ki
                expected = attend(layer.attention, normed[:, j], i, bias[:, i])
            torch.testing.assert_close(result[0, i, j], expected)


def test_an_evoformer_block_adds_nine_updates_in_order():
    block = shaken(alphafold.EvoformerBlock())
    m, z = torch.randn(1, 3, 4, alphafold.C_M), torch.randn(1, 4, 4, alphafold.C_Z)
    new_m, new_z = block(m, z)
    for name in ("row_attention", "column_attention", "msa_transition"):
        arguments = (m, z) if name == "row_attention" else (m,)
        m = m + getattr(block, name)(*arguments)
    z = z + block.outer_product_mean(m)
    for name in ("outgoing", "incoming", "starting", "ending"):
        z = z + getattr(block, f"triangle_{name}")(z)
    z = z + block.pair_transition(z)
    torch.testing.assert_close(new_m, m)
    torch.testing.assert_close(new_z, z)


def test_an_untrained_block_changes_nothing():
    m, z = torch.randn(1, 3, 4, alphafold.C_M), torch.randn(1, 4, 4, alphafold.C_Z)
    new_m, new_z = alphafold.EvoformerBlock()(m, z)
    assert torch.equal(new_m, m) and torch.equal(new_z, z)


def test_transition():
    layer = shaken(alphafold.Transition(alphafold.C_Z))
    x = torch.randn(2, 3, alphafold.C_Z)
    hidden = layer.norm(x) @ layer.widen.weight.T + layer.widen.bias
    expected = hidden.clamp(min=0) @ layer.to_out.weight.T + layer.to_out.bias
    torch.testing.assert_close(layer(x), expected)


def a_structure(residues: int = 5):
    s = torch.randn(1, residues, alphafold.C_S)
    z = torch.randn(1, residues, residues, alphafold.C_Z)
    return s, z, random_frames(1, residues)


def test_invariant_point_attention_line_by_line():
    ipa = shaken(alphafold.InvariantPointAttention())
    s, z, T = a_structure()
    result = ipa(s, z, T)
    s, z, R, t = s[0], z[0], T.R[0], T.t[0]
    H, P = alphafold.POINT_HEADS, alphafold.POINTS
    q, k, v = (heads_of(linear, s, H) for linear in (ipa.to_q, ipa.to_k, ipa.to_v))
    qp, kp, vp = (
        linear(s).view(5, H, P, 3) for linear in (ipa.to_q_points, ipa.to_k_points, ipa.to_v_points)
    )
    b = ipa.to_bias(z)
    for i in range(5):
        from_z, from_v, points = [], [], []
        for h in range(H):
            gamma = math.log(1 + math.exp(ipa.gamma[h].item()))
            logits = []
            for j in range(5):
                apart = 0
                for p in range(P):
                    here, there = R[i] @ qp[i, h, p] + t[i], R[j] @ kp[j, h, p] + t[j]
                    apart = apart + (here - there) @ (here - there)
                scalar = q[i, h] @ k[j, h] / alphafold.C_HEAD**0.5 + b[i, j, h]
                logits.append((scalar - gamma * (2 / (9 * P)) ** 0.5 / 2 * apart) / 3**0.5)
            weight = torch.stack(logits).softmax(0)
            from_z.append(sum(weight[j] * z[i, j] for j in range(5)))
            from_v.append(sum(weight[j] * v[j, h] for j in range(5)))
            for p in range(P):
                mean = sum(weight[j] * (R[j] @ vp[j, h, p] + t[j]) for j in range(5))
                points.append(R[i].T @ (mean - t[i]))
        lengths = [(point @ point + alphafold.EPSILON).sqrt() for point in points]
        parts = torch.cat([*from_z, *from_v, *points, torch.stack(lengths)])
        torch.testing.assert_close(result[0, i], ipa.to_out(parts))


def test_invariant_point_attention_is_invariant_and_sees_the_frames():
    ipa = shaken(alphafold.InvariantPointAttention()).float()
    s, z, T = a_structure()
    s, z = s.float(), z.float()
    moved, *_ = move(T)
    T = alphafold.Frames(T.R.float(), T.t.float())
    moved = alphafold.Frames(moved.R.float(), moved.t.float())
    result = ipa(s, z, T)
    scale = result.abs().max()
    assert (ipa(s, z, moved) - result).abs().max() < 1e-5 * scale
    one_turned = alphafold.Frames(torch.cat([moved.R[:, :1], T.R[:, 1:]], dim=1), T.t)
    assert (ipa(s, z, one_turned) - result).abs().max() > 1e-2 * scale


def test_frames_compose_and_invert():
    T, step, x = random_frames(4), random_frames(4), torch.randn(4, 6, 3)
    step = alphafold.Frames(step.R.flip(0), step.t)
    torch.testing.assert_close(T.to_local(T.to_global(x)), x)
    torch.testing.assert_close(T.compose(step).to_global(x), T.to_global(step.to_global(x)))
    by_hand = torch.stack([T.R[i] @ x[i, 0] + T.t[i] for i in range(4)])
    torch.testing.assert_close(T.to_global(x)[:, 0], by_hand)


def test_quaternions_against_scipy():
    bcd = torch.randn(20, 3)
    expected = Rotation.from_quat(np.concatenate([bcd, np.ones((20, 1))], axis=1)).as_matrix()
    torch.testing.assert_close(alphafold.quaternion_to_rotation(bcd), torch.tensor(expected))


def test_backbone_update_takes_three_numbers_each_for_turn_and_step():
    layer = shaken(alphafold.BackboneUpdate())
    s = torch.randn(1, 4, alphafold.C_S)
    step = layer(s)
    torch.testing.assert_close(step.t, layer.to_six(s)[..., 3:])
    turn = alphafold.quaternion_to_rotation(layer.to_six(s)[..., :3])
    torch.testing.assert_close(step.R, turn)


def test_the_chain_is_a_product_of_steps():
    start = shaken(alphafold.ChainStart())
    s = torch.randn(1, 5, alphafold.C_S)
    seven = start.to_seven(start.hidden(s).clamp(min=0))[0]
    whole, places, turns = torch.eye(4), [], []
    for a, b, c, d, *step in seven.tolist():
        matrix = torch.eye(4)
        matrix[:3, :3] = torch.tensor(Rotation.from_quat([b, c, d, a]).as_matrix())
        matrix[:3, 3] = torch.tensor(step)
        whole = whole @ matrix
        places.append(whole[:3, 3])
        turns.append(whole[:3, :3])
    T = start(s)
    t = torch.stack(places)
    torch.testing.assert_close(T.R[0], torch.stack(turns))
    torch.testing.assert_close(T.t[0], t - t.mean(dim=0))


def test_structure_module_detaches_frames_between_iterations():
    module = shaken(alphafold.StructureModule())
    single, z, _ = a_structure()
    _, trajectory = module(single, z)
    assert len(trajectory) == alphafold.ITERATIONS
    wanted = list(module.parameters())
    target = torch.randn_like(trajectory[-1].t)
    loss = ((trajectory[-1].t - target) ** 2).sum()
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True)

    def by_hand(stop: bool) -> torch.Tensor:
        s, pairs = module.to_s(module.norm_s(single)), module.norm_z(z)
        R, t = torch.eye(3).expand(1, 5, 3, 3), torch.zeros(1, 5, 3)
        for iteration in range(alphafold.ITERATIONS):
            s = module.norm_attention(s + module.attention(s, pairs, alphafold.Frames(R, t)))
            s = module.norm_transition(s + module.transition(s))
            if iteration == 0:
                R, t = module.start(s)
            else:
                step = module.update(s)
                t = t + torch.einsum("bnxy,bny->bnx", R, step.t)
                R = R @ step.R
            last = t
            if stop:
                R, t = R.detach(), t.detach()
        return ((alphafold.NANOMETRE * last - target) ** 2).sum()

    torch.testing.assert_close(by_hand(True), loss)
    expected = torch.autograd.grad(by_hand(True), wanted, allow_unused=True)
    other = torch.autograd.grad(by_hand(False), wanted, allow_unused=True)
    for gradient, same in zip(gradients, expected):
        torch.testing.assert_close(gradient, same)
    assert any(not torch.allclose(a, b) for a, b in zip(gradients, other) if a is not None)


def test_rigid_steps_do_not_depend_on_where_the_protein_is():
    """All residues start at the origin: moved there, all frames of all iterations move along."""
    module = shaken(alphafold.StructureModule())
    s, z, _ = a_structure()
    _, trajectory = module(s, z)
    last, before = trajectory[-1], trajectory[-2]
    # The last step in the frame of the residue: a step of the quaternion's kind, never a mirror.
    step = before.R.transpose(-1, -2) @ last.R
    torch.testing.assert_close(torch.linalg.det(step), torch.ones(1, 5))


def a_model(seed: int = 0) -> alphafold.AlphaFold:
    torch.manual_seed(seed)
    model = alphafold.AlphaFold()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return model


def an_input(families: int = 2, depth: int = 3):
    msa = torch.randint(20, (families, depth, N))
    return msa[:, 0], msa


def test_recycling():
    model = a_model()
    target, msa = an_input()
    B = len(target)
    m_1, z = torch.zeros(B, N, alphafold.C_M), torch.zeros(B, N, N, alphafold.C_Z)
    state = (m_1, z, torch.zeros(B, N, 3))
    expected = []
    for _ in range(3):
        prediction = model.run_once(target, msa, state)
        state = tuple(part.detach() for part in prediction["recycled"])
        expected.append(prediction["frames"][-1].t)
    for cycles in (1, 2, 3):
        predicted = model(target, msa, cycles)["frames"][-1].t
        torch.testing.assert_close(predicted, expected[cycles - 1])
    assert (expected[1] - expected[0]).abs().max() > 1e-3

    gradient_of_last = torch.autograd.grad(expected[2].square().sum(), model.embedder.target.weight)
    whole = model(target, msa, 3)["frames"][-1].t
    gradient = torch.autograd.grad(whole.square().sum(), model.embedder.target.weight)
    torch.testing.assert_close(gradient, gradient_of_last)


def test_what_is_recycled():
    recycler = shaken(alphafold.Recycler())
    m, z = torch.randn(1, N, alphafold.C_M), torch.randn(1, N, N, alphafold.C_Z)
    x = 9 * torch.randn(1, N, 3)
    row, pairs = recycler(m, z, x)
    torch.testing.assert_close(row, recycler.norm_m(m))
    for i, j in ((0, 1), (3, 20), (7, 7)):
        distance = (x[0, i] - x[0, j]).norm()
        number = sum(distance > edge for edge in alphafold.RECYCLED_EDGES.tolist())
        expected = recycler.norm_z(z)[0, i, j] + recycler.distance.weight[:, number]
        torch.testing.assert_close(pairs[0, i, j], expected + recycler.distance.bias)


def test_the_input_of_a_pair_is_two_letters_and_a_separation():
    embedder = shaken(alphafold.Embedder())
    target, msa = an_input(1)
    msa[0, 1, 4] = alphafold.LETTERS  # masked
    m, z = embedder(target, msa)
    i, j = 3, 9
    left = embedder.left.weight[:, target[0, i]] + embedder.left.bias
    right = embedder.right.weight[:, target[0, j]] + embedder.right.bias
    separation = embedder.separation.weight[i - j + N - 1]
    torch.testing.assert_close(z[0, i, j], left + right + separation)
    of_letter = embedder.msa.weight[:, alphafold.LETTERS] + embedder.msa.bias
    of_target = embedder.target.weight[:, target[0, 4]] + embedder.target.bias
    torch.testing.assert_close(m[0, 1, 4], of_letter + of_target)


def test_what_the_structure_module_is_told():
    told = shaken(alphafold.StructureInput())
    m_1, z = torch.randn(1, N, alphafold.C_M), torch.randn(1, N, N, alphafold.C_Z)
    logits = torch.randn(1, N, N, len(alphafold.DISTOGRAM_EDGES) + 1)
    s, pairs = told(m_1, z, logits)
    i, j = 4, 17
    torch.testing.assert_close(s[0, i], told.first_row(m_1[0, i]) + told.place.weight[i])
    p = logits[0, i, j].exp() / logits[0, i, j].exp().sum()
    expected = told.pairs(z[0, i, j]) + told.distance(p) + told.separation.weight[i - j + N - 1]
    torch.testing.assert_close(pairs[0, i, j], expected)


def test_the_distogram_is_symmetric_and_sequences_have_no_order():
    model = a_model()
    target, msa = an_input(depth=4)
    prediction = model(target, msa, 1)
    torch.testing.assert_close(prediction["distogram"], prediction["distogram"].transpose(1, 2))
    shuffled = model(target, msa[:, [0, 3, 1, 2]], 1)
    torch.testing.assert_close(shuffled["frames"][-1].t, prediction["frames"][-1].t)


def test_frames_from_atoms():
    T = random_frames(7)
    atoms = T.to_global(alphafold.RESIDUE.double().expand(7, 3, 3))
    found = alphafold.frames_from_atoms(atoms)
    torch.testing.assert_close(found.R, T.R)
    torch.testing.assert_close(found.t, T.t)


def two_structures():
    T, T_true = random_frames(2, N), random_frames(2, N)
    T = alphafold.Frames(T.R.flip(1), 3 * T.t)
    return T, T.t + torch.randn_like(T.t), T_true, 3 * T_true.t


def test_fape_by_loops():
    T, x, T_true, x_true = two_structures()
    clamp = torch.tensor([4.0, torch.inf])
    result = alphafold.fape(T, x, T_true, x_true, clamp)
    for b in range(2):
        total = 0
        for i in range(N):
            for j in range(N):
                seen = T.R[b, i].T @ (x[b, j] - T.t[b, i])
                seen_true = T_true.R[b, i].T @ (x_true[b, j] - T_true.t[b, i])
                error = math.sqrt((seen - seen_true) @ (seen - seen_true) + alphafold.EPSILON)
                total += min(error, clamp[b].item())
        assert result[b].item() == pytest.approx(total / N**2 / 10)


def some_folds(families: int) -> torch.Tensor:
    """Atoms (families, N, 3, 3) of generated families, in double precision."""
    torch.set_default_dtype(torch.float32)
    atoms = alphafold.make_families(families)["atoms"]
    torch.set_default_dtype(torch.float64)
    return atoms.double()


def test_fape_ignores_a_rigid_motion_and_tells_mirror_images_apart():
    atoms = some_folds(2)
    T, x = alphafold.frames_from_atoms(atoms), atoms[:, :, 1]
    clamp = torch.full((2,), 10.0)
    moved, Q, shift = move(T)
    perfect = math.sqrt(alphafold.EPSILON) / 10
    same = alphafold.fape(moved, x @ Q.T + shift, T, x, clamp)
    torch.testing.assert_close(same, torch.full((2,), perfect))

    mirrored = atoms * torch.tensor([1.0, 1.0, -1.0])
    T_mirrored = alphafold.frames_from_atoms(mirrored)
    apart = alphafold.fape(T_mirrored, mirrored[:, :, 1], T, x, clamp)
    assert (apart > 0.2).all()
    blind = alphafold.lddt(torch.cdist(mirrored[:, :, 1], mirrored[:, :, 1]), torch.cdist(x, x))
    torch.testing.assert_close(blind, torch.ones(2, N))


def test_lddt_by_hand():
    # Four residues on a line at 0, 4, 8 and 30 Å; the prediction has them at 0, 4.4, 9.2 and 40.
    true = torch.tensor([0.0, 4.0, 8.0, 30.0])
    predicted = torch.tensor([0.0, 4.4, 9.2, 40.0])
    result = alphafold.lddt((predicted[:, None] - predicted).abs(), (true[:, None] - true).abs())
    # Pair 01 is off by 0.4 (4 of 4 tolerances), 12 by 0.8 (3), 02 by 1.2 (2); 3 is far from all.
    expected = torch.tensor([(4 + 2) / 8, (4 + 3) / 8, (2 + 3) / 8, 0.0])
    torch.testing.assert_close(result, expected)


def test_superpose_against_scipy():
    x, x_true = torch.randn(12, 3), torch.randn(12, 3)
    x_true = x_true * torch.tensor([1.0, 2.0, -3.0])
    moved, rmsd = alphafold.superpose(x, x_true)
    centred, centred_true = x - x.mean(0), x_true - x_true.mean(0)
    rotation, expected = Rotation.align_vectors(centred_true.numpy(), centred.numpy())
    assert rmsd == pytest.approx(expected / math.sqrt(12))
    torch.testing.assert_close(moved - x_true.mean(0), torch.tensor(rotation.apply(centred)))
    mirror = x_true * torch.tensor([1.0, 1.0, -1.0])
    assert alphafold.superpose(mirror, x_true)[1] > 0.3


def a_loss(hidden: torch.Tensor, letters: torch.Tensor, msa: torch.Tensor) -> dict:
    atoms = some_folds(2)
    x = atoms[:, :, 1]
    bins = torch.bucketize(torch.cdist(x, x), alphafold.DISTOGRAM_EDGES.double())
    T = alphafold.frames_from_atoms(atoms)
    prediction = {
        "frames": [random_frames(2, N), T],
        "letters": letters,
        "distogram": 50 * F.one_hot(bins, len(alphafold.DISTOGRAM_EDGES) + 1).double(),
        "lddt": 50
        * F.one_hot(
            torch.full((2, N), alphafold.LDDT_BINS - 1), alphafold.LDDT_BINS
        ).double(),  # fmt: skip
    }
    parts = alphafold.evoformer_losses(prediction, atoms, msa, hidden)
    return parts | alphafold.structure_losses(prediction, atoms)


def test_a_perfect_prediction_has_no_loss_and_only_hidden_letters_count():
    msa = torch.randint(20, (2, 3, N))
    letters = torch.randn(2, 3, N, 20)
    hidden = torch.rand(2, 3, N) < 0.2
    parts = a_loss(hidden, letters, msa)
    log_p = letters.log_softmax(-1)
    places = hidden.nonzero().tolist()
    expected = -sum(log_p[b, s, i, msa[b, s, i]] for b, s, i in places) / len(places)
    torch.testing.assert_close(parts["letters"], expected)
    assert parts["distogram"] < 1e-6 and parts["lddt"] < 1e-6
    # Residues are not quite ideal: their angles vary with those that place_atom is given.
    assert parts["final"] < 0.02 and parts["auxiliary"] > 0.1
    assert a_loss(hidden & False, letters, msa)["letters"] == 0


def test_hidden_letters():
    msa = torch.randint(20, (4, 32, N))
    shown, hidden = alphafold.hide_letters(msa)
    assert torch.equal(shown[~hidden], msa[~hidden])
    assert 0.13 < hidden.double().mean() < 0.17
    assert 0.74 < (shown[hidden] == alphafold.LETTERS).double().mean() < 0.86


def test_alignments_are_drawn_with_the_target_on_top():
    msa = torch.arange(32)[None, :, None].expand(5, 32, N).contiguous()
    drawn = alphafold.draw_alignments(msa, 9)[:, :, 0]
    assert drawn.shape == (5, 9) and (drawn[:, 0] == 0).all()
    assert all(len(set(rows)) == 9 for rows in drawn.tolist())
    assert alphafold.draw_alignments(msa, 1).shape == (5, 1, N)


def torsion_of(a, b, c, d) -> np.ndarray:
    """In degrees, by the arc tangent of two products (IUPAC's sign)."""
    b1, b2, b3 = b - a, c - b, d - c
    y = np.linalg.norm(b2, axis=-1) * np.sum(b1 * np.cross(b2, b3), axis=-1)
    x = np.sum(np.cross(b1, b2) * np.cross(b2, b3), axis=-1)
    return np.degrees(np.arctan2(y, x))


def test_place_atom():
    a, b, c = torch.randn(3, 6, 3)
    torsion = torch.tensor([-150.0, -62.0, 0.0, 30.0, 90.0, 179.0])
    d = alphafold.place_atom([a, b, c], 1.5, 110.0, torsion)
    torch.testing.assert_close((d - c).norm(dim=-1), torch.full((6,), 1.5))
    cosine = F.cosine_similarity(b - c, d - c, dim=-1)
    torch.testing.assert_close(cosine, torch.full((6,), math.cos(math.radians(110))))
    found = torsion_of(*(point.numpy() for point in (a, b, c, d)))
    np.testing.assert_allclose(found, torsion, atol=1e-6)


def test_generated_chains_have_right_handed_helices_and_no_clashes():
    torch.set_default_dtype(torch.float32)
    elements = alphafold.draw_elements(60)
    chains, states = alphafold.grow_chains(elements)
    assert (states == elements)[elements < alphafold.EXTENDED].all()
    compact = alphafold.is_compact(chains)
    chains, states = chains[compact], states[compact]
    assert len(chains) > 20
    x = chains[:, :, 1].numpy()
    torsions = torsion_of(x[:, :-3], x[:, 1:-2], x[:, 2:-1], x[:, 3:])
    helix = np.stack([states[:, k : N - 3 + k] == alphafold.HELIX for k in range(4)]).all(0)
    assert 40 < torsions[helix].mean() < 60  # virtual torsion of a right-handed α helix: +50°
    np.testing.assert_allclose(np.linalg.norm(x[:, 1:] - x[:, :-1], axis=-1), 3.8, atol=0.05)
    for fold in x:
        distance = np.linalg.norm(fold[:, None] - fold, axis=-1)
        far = np.abs(np.subtract.outer(range(N), range(N)))
        assert distance[far >= 3].min() >= 4
        assert ((distance < 8) & (far >= 6)).sum() // 2 >= 14


def test_sequences_follow_the_potts_model(monkeypatch):
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(alphafold, "COUPLING_STRENGTH", 0.25)  # mixes in a few sweeps
    fields = torch.randn(N, 20)
    contacts = torch.zeros(N, N)
    contacts[2, 20] = contacts[20, 2] = 1
    families, copies = 10, 1000
    sequences = torch.zeros(families, copies, N, dtype=torch.long)
    arguments = (fields.expand(families, N, 20), contacts.expand(families, N, N))
    for _ in range(6):
        sequences = alphafold.gibbs_sweep(sequences, *arguments, 1.0)
    properties = alphafold.PROPERTIES
    energy = torch.zeros(20, 20)
    for a in range(20):
        for b in range(20):
            products = properties[a] * properties[b]
            energy[a, b] = alphafold.COUPLING_STRENGTH * (products[0] - products[1] - products[2])
    expected = (fields[2][:, None] + fields[20] + energy).flatten().softmax(0)
    pairs = (20 * sequences[..., 2] + sequences[..., 20]).flatten()
    found = torch.bincount(pairs, minlength=400) / len(pairs)
    error = (found - expected).abs() / (expected / len(pairs)).sqrt()
    assert (error[expected * len(pairs) > 5] < 5).all()  # rare pairs are not Gaussian
    kept = alphafold.gibbs_sweep(sequences, *arguments, 0.0)
    assert torch.equal(kept, sequences)


def test_unseen_families_have_new_folds():
    torch.set_default_dtype(torch.float32)
    families = alphafold.make_families(30)
    families["atoms"][-3] = families["atoms"][0]  # an old fold among the last
    training, unseen = alphafold.split_families(families, 20, 9)
    assert len(training["atoms"]) == 20 and 0 < len(unseen["atoms"]) < 10
    assert training["msa"].shape == (20, alphafold.DEPTH, N)
    for fold in unseen["atoms"][:, :, 1]:
        mine = alphafold.contact_map(fold)
        for other in training["atoms"][:, :, 1]:
            theirs = alphafold.contact_map(other)
            assert (mine & theirs).sum() < alphafold.SAME_FOLD * (mine | theirs).sum()


def test_mutual_information_by_counting():
    msa = torch.randint(3, (1, 40, N))
    msa[0, :, 9] = (msa[0, :, 2] + 1) % 3  # columns that agree
    letters = alphafold.LETTERS
    plain = np.zeros((N, N))
    for i in range(N):
        for j in range(N):
            joint = np.full((letters, letters), alphafold.PSEUDOCOUNT)
            for s in range(40):
                joint[msa[0, s, i], msa[0, s, j]] += 1
            joint /= joint.sum()
            independent = np.outer(joint.sum(1), joint.sum(0))
            plain[i, j] = (i != j) * (joint * np.log(joint / independent)).sum()
    off_diagonal = plain.sum(1) / (N - 1)
    expected = plain - np.outer(off_diagonal, off_diagonal) / off_diagonal.mean()
    result = alphafold.mutual_information(msa)[0]
    np.testing.assert_allclose(result.double(), expected, atol=1e-5)
    result = result.fill_diagonal_(-1)
    assert divmod(result.argmax().item(), N) in ((2, 9), (9, 2))


def test_contact_precision_and_the_rivals():
    x = some_folds(3)[:, :, 1]
    contacts = alphafold.contact_map(x).double()
    assert alphafold.contact_precision(contacts, x).max() <= 1
    expected = (contacts.sum((1, 2)) / 2 / (N // 2)).clamp(max=1).float()
    torch.testing.assert_close(alphafold.contact_precision(contacts, x), expected)
    near = -(torch.arange(N)[:, None] - torch.arange(N)).abs().double().expand(3, N, N)
    assert (alphafold.contact_precision(near, x) < 1).all()

    mean = alphafold.mean_distances(x)
    of_separation_7 = [(x[f, i] - x[f, i + 7]).norm() for f in range(3) for i in range(N - 7)]
    torch.testing.assert_close(mean[3, 10], torch.stack(of_separation_7).mean())
    torch.testing.assert_close(mean[10, 3], mean[3, 10])

    training = torch.randint(20, (6, N))
    targets = training[[4, 1]].clone()
    targets[:, :10] = (targets[:, :10] + 1) % 20
    assert alphafold.nearest_in_sequence(targets, training).tolist() == [4, 1]


def test_contacts_are_summed_up_to_eight_angstrom():
    """The network's distogram is replaced by the truth: contacts must come out as contacts."""
    x = some_folds(2)[:, :, 1]
    bins = torch.bucketize(torch.cdist(x, x), alphafold.DISTOGRAM_EDGES.to(x))

    class Oracle(alphafold.AlphaFold):
        def forward(self, target, msa, cycles):
            prediction = super().forward(target, msa, cycles)
            one_hot = F.one_hot(bins, len(alphafold.DISTOGRAM_EDGES) + 1).double()
            return prediction | {"distogram": 50 * one_hot}

    predicted = alphafold.predict(Oracle(), torch.randint(20, (2, 2, N)), depth=2)
    found = predicted["contacts"]
    distance = torch.cdist(x, x)
    inside = (distance > 3) & (distance < 22)
    assert ((predicted["distance"] - distance).abs()[inside] <= 0.5).all()
    far = (torch.arange(N)[:, None] - torch.arange(N)).abs() >= alphafold.FAR
    assert torch.equal((found > 0.5) & far, alphafold.contact_map(x))


def test_training_learns():
    torch.set_default_dtype(torch.float32)
    families = alphafold.make_families(4)
    model = alphafold.AlphaFold()
    history = alphafold.train(model, families, 200)
    limits = {"auxiliary": 0.95, "final": 0.95, "distogram": 0.85}
    for name, limit in limits.items():
        values = [parts[name] for parts in history if name in parts]
        first, last = np.mean(values[:10]), np.mean(values[-10:])
        assert last < limit * first, (name, first, last)
    in_stages = [frozenset(parts) for parts in history]
    evoformer, structure = {"distogram", "letters"}, {"final", "auxiliary", "lddt"}
    counts = [in_stages.count(names) for names in (evoformer, evoformer | structure, structure)]
    assert counts == [56, 10, 134]


def test_the_evoformer_is_fixed_while_the_structure_module_learns():
    torch.set_default_dtype(torch.float32)
    families = alphafold.make_families(4)
    model = alphafold.AlphaFold()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    alphafold.train_structure_module(model, families, 3, 1e-3)
    changed = {
        name.split(".")[0]
        for name, value in model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"structure", "to_structure", "to_lddt"}


def test_the_positions_that_were_built_are_recycled():
    model = alphafold.AlphaFold()
    msa = torch.randint(alphafold.LETTERS, (2, 3, alphafold.LENGTH))
    length = alphafold.LENGTH
    x = torch.randn(2, length, 3)
    recycled = (
        torch.zeros(2, length, alphafold.C_M),
        torch.zeros(2, length, length, alphafold.C_Z),
        x,
    )
    built = model.run_once(msa[:, 0], msa, recycled)
    assert torch.equal(built["recycled"][2], built["frames"][-1].t)
    assert torch.equal(model.run_once(msa[:, 0], msa, recycled, build=False)["recycled"][2], x)


def test_the_first_step_of_adam_is_as_long_as_the_learning_rate():
    model = torch.nn.Linear(3, 2)
    before = [parameter.clone() for parameter in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters())
    parts = {"final": model(torch.ones(5, 3)).sum()}
    alphafold.update(model, optimizer, parts, 0.02)
    for parameter, old in zip(model.parameters(), before):
        torch.testing.assert_close(old - parameter, torch.full_like(old, 0.02), rtol=1e-4, atol=0)
    rates = [alphafold.learning_rate(step, 100, 0.5) for step in (0, 29, 50, 99)]
    assert rates == pytest.approx([0.5 / 30, 0.4032, 0.25, 0.000123], rel=0.01)


def test_a_mirror_image_has_all_distances_and_not_the_position():
    torch.set_default_dtype(torch.float32)
    atoms = alphafold.make_families(2)["atoms"]
    x = -atoms[:, :, 1]
    x[1] = atoms[1, :, 1] + 5.0  # the second one is only moved
    prediction = {"x": x, "plddt": torch.full((2, alphafold.LENGTH), 0.7)}
    chains = alphafold.judge_chains(prediction, {"atoms": atoms})
    torch.testing.assert_close(chains["lddt"], torch.ones(2))
    assert chains["mirrored"][0] < 0.01 < 1 < chains["rmsd"][0]
    assert chains["rmsd"][1] < 0.01 < 1 < chains["mirrored"][1]
    assert chains["plddt"].tolist() == pytest.approx([0.7, 0.7])
