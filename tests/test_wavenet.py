"""WaveNet's parts against torch's Conv1d, closed forms and each other: papers/wavenet.py."""

import math
import wave

import pytest
import scipy.signal
import scipy.stats
import torch
import torch.nn.functional as F

from papers import wavenet


@pytest.fixture
def model():
    torch.manual_seed(0)
    return wavenet.WaveNet(6).double()


def random_codes(*shape):
    return torch.randint(wavenet.CODES, shape)


def test_mu_law_round_trip_and_formula():
    codes = torch.arange(wavenet.CODES)
    assert torch.equal(wavenet.encode(wavenet.decode(codes.double())), codes)
    x = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    expected = [math.copysign(math.log(1 + 255 * abs(v)) / math.log(256), v) for v in x.tolist()]
    # A code is at most half a step of 2/255 away from the compressed amplitude.
    difference = 2 * wavenet.encode(x) / 255 - 1 - torch.tensor(expected)
    assert difference.abs().max() <= 1 / 255 + 1e-9
    torch.testing.assert_close(wavenet.expand(torch.tensor(expected).double()), x)


def as_conv1d(layer, x, speaker):
    """The layer in the paper's form, with torch's dilated Conv1d: x (B, T, C)."""
    channels = x.shape[2]
    weight = torch.stack([layer.past.weight, layer.now.weight], dim=2)  # (2C, C, 2)
    padded = F.pad(x.transpose(1, 2), (layer.dilation, 0))
    a = F.conv1d(padded, weight, layer.now.bias, dilation=layer.dilation)
    a = a + layer.speaker.weight[speaker][:, :, None]
    z = torch.tanh(a[:, :channels]) * torch.sigmoid(a[:, channels:])
    residual = F.conv1d(z, layer.residual.weight[..., None], layer.residual.bias)
    skip = F.conv1d(z, layer.skip.weight[..., None], layer.skip.bias)
    return x + residual.transpose(1, 2), skip.transpose(1, 2)


def test_network_and_gradients_agree_with_conv1d(model):
    speaker, codes = torch.tensor([0, 2]), random_codes(2, 700)
    target = torch.randn(2, 700, wavenet.CODES, dtype=torch.float64)
    (model(codes, speaker) * target).sum().backward()
    named = [(n, w) for n, w in model.named_parameters() if not n.startswith("layers.9.residual")]
    ours = {name: weight.grad.clone() for name, weight in named}  # but for one that leads nowhere

    model.zero_grad()
    compressed = 2 * codes.double() / 255 - 1
    amplitude = wavenet.decode(codes.double())
    x = model.input(torch.stack([4 * amplitude, 2 * compressed], dim=-1))
    skips = []
    for layer in model.layers:
        x, skip = as_conv1d(layer, x, speaker)
        skips.append(skip)
    hidden = model.output[1](F.relu(sum(skips)))
    logits = model.output[3](F.relu(hidden))
    torch.testing.assert_close(model(codes, speaker), logits)
    (logits * target).sum().backward()
    for name, weight in named:
        torch.testing.assert_close(ours[name], weight.grad)
        assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dilations, field", [(wavenet.DILATIONS, 1024), ([1] * 10, 11)])
def test_causality_and_receptive_field(dilations, field):
    torch.manual_seed(0)
    model = wavenet.WaveNet(4, dilations).double()
    x = torch.randn(1, 1200, 4, dtype=torch.float64, requires_grad=True)
    model.embed = lambda codes: x  # the network after its first 1x1 convolution
    logits = model(random_codes(1, 1200), torch.tensor([1]))
    (gradient,) = torch.autograd.grad(logits[0, 1100].sum(), x)
    seen = gradient[0].abs().sum(dim=1).nonzero()[:, 0]
    assert seen.max() == 1100 and seen.min() == 1100 - field + 1
    assert wavenet.FIELD == 1024


def test_cached_generation_draws_the_same_samples(monkeypatch):
    """With a receptive field of 16, so that most samples have left it."""
    monkeypatch.setattr(wavenet, "FIELD", 16)
    torch.manual_seed(0)
    model = wavenet.WaveNet(6, [1, 2, 4, 8]).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 2  # so that what is drawn depends on the far past
    speaker = torch.tensor([0, 1, 2])
    torch.manual_seed(3)
    plain = wavenet.generate(model, speaker, 150)
    torch.manual_seed(3)
    assert torch.equal(wavenet.generate_cached(model, speaker, 150), plain)
    assert plain.unique().numel() > 50


def test_generation_feeds_the_model_what_it_drew(model):
    """Given what was drawn, the draws are those of one pass over the whole sequence."""
    speaker = torch.tensor([2])
    torch.manual_seed(5)
    codes = wavenet.generate_cached(model, speaker, 60)
    before = torch.cat([torch.full((1, 1), 128), codes[:, :-1]], dim=1)
    logits = model(before, speaker)[0]
    torch.manual_seed(5)
    again = torch.cat([wavenet.draw_code(step[None]) for step in logits], dim=1)
    assert torch.equal(again, codes)


def test_loss_counts_samples_with_a_full_receptive_field(model):
    speaker, codes = torch.tensor([1]), random_codes(1, 1100)
    log_p = model(codes, speaker).log_softmax(dim=-1)[0]
    expected = -sum(log_p[t - 1, codes[0, t]] for t in range(1024, 1100)) / 76
    assert wavenet.nats_per_sample(model, speaker, codes) == pytest.approx(expected.item())


def test_training_learns_to_look_back_further_than_11_samples():
    """White noise that repeats itself after 17 samples: 11 samples tell nothing about the next."""
    torch.manual_seed(0)
    speaker = torch.zeros(8, dtype=torch.long)
    codes = (255 * torch.randint(2, (8, 17))).repeat(1, 75)
    losses = {}
    for name, dilations in (("dilated", wavenet.DILATIONS), ("undilated", [1] * 10)):
        model = wavenet.WaveNet(16, dilations)
        curve = wavenet.train(model, (speaker, codes), (speaker[:2], codes[:2]), steps=100)
        losses[name] = curve[-1][1]
        assert [step for step, _ in curve] == list(range(10, 101, 10))
    assert losses["dilated"] < 0.1 and 0.6 < losses["undilated"]


class Listener(torch.nn.Module):
    """Notes what it is trained on, and learns how often each code comes."""

    def __init__(self):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.zeros(wavenet.CODES))
        self.heard = []

    def forward(self, codes, speaker):
        self.heard.append((codes, speaker))
        return self.logits.expand(*codes.shape, wavenet.CODES)


def test_every_crop_comes_with_its_speaker_and_the_loss_falls():
    torch.manual_seed(0)
    speaker = torch.arange(3)
    codes = torch.tensor([[0], [50], [100]]).repeat(1, 1100)
    model = Listener()
    history = wavenet.train(model, (speaker, codes), (speaker, codes), steps=60)
    crops = [crop for crop, _ in model.heard if crop.shape[1] == wavenet.CROP]
    assert len(crops) == 60 and all(len(crop) == wavenet.BATCH for crop in crops)
    assert all(torch.equal(crop, 50 * who[:, None].expand_as(crop)) for crop, who in model.heard)
    assert {who for _, speakers in model.heard for who in speakers.tolist()} == {0, 1, 2}
    assert history[0][1] > history[-1][1] + 0.2
    assert model.logits.softmax(0)[[0, 50, 100]].min() > 1.5 / wavenet.CODES


def test_periods_are_found_and_belong_to_speakers():
    time = torch.arange(1200)
    sound = torch.stack([torch.sin(2 * math.pi * time / k) for k in (25, 32, 45)])
    found = wavenet.periods(sound)
    assert found.shape == (3, 3)
    assert ((found - torch.tensor([[25], [32], [45]])).abs() <= 1).all()
    assert wavenet.in_range(found, torch.tensor([2, 1, 0])) == 100
    assert wavenet.in_range(found, torch.tensor([0, 1, 2])) == pytest.approx(100 / 3)


def test_real_voices_have_the_pitch_of_their_speaker():
    torch.manual_seed(0)
    speaker = torch.tensor([0, 1, 2] * 3)
    sound = wavenet.decode(wavenet.vowels(speaker, 2000))
    assert wavenet.in_range(wavenet.periods(sound), speaker) > 90
    assert wavenet.in_range(wavenet.periods(sound), (speaker + 1) % 3) < 10


def test_formants_are_the_filters_of_the_textbook(monkeypatch):
    """One vowel, no breath: the pulses through scipy's filters."""
    monkeypatch.setattr(wavenet, "BREATH", 0.0)
    monkeypatch.setattr(wavenet, "JITTER", 0.0)
    monkeypatch.setattr(wavenet, "VOWELS", torch.tensor([[700, 1100]]))
    monkeypatch.setattr(wavenet, "SPEAKERS", {"one": (100, 100)})
    torch.manual_seed(2)
    sound = wavenet.decode(wavenet.vowels(torch.tensor([0]), 800))[0]
    torch.manual_seed(2)
    torch.rand(1, 2)
    torch.randint(1, (1, 2))
    phase = (torch.rand(1) + torch.arange(1, 801) / 40) % 1
    y = wavenet.pulse(phase).double().numpy()
    for frequency, bandwidth in ((700, 100), (1100, 140)):
        pole = math.exp(-math.pi * bandwidth / 4000) * complex(
            math.cos(2 * math.pi * frequency / 4000), math.sin(2 * math.pi * frequency / 4000)
        )
        a = [1, -2 * pole.real, abs(pole) ** 2]
        y = scipy.signal.lfilter([sum(a)], a, y)
    y = torch.tensor(y)
    y = 0.8 * y / y.abs().max()
    assert (sound - y).abs().max() < 0.02


def test_linear_prediction_is_ridge_regression_on_what_was_just_heard():
    torch.manual_seed(0)
    codes = random_codes(2, 1024 + 80)
    taps, heard, ridge = 5, 60, 1e-3
    prediction, width = wavenet.predict_linearly(codes, taps, heard, ridge)
    sound = wavenet.decode(codes.double())
    assert prediction.shape == width.shape == (2, 80)
    for row, t in ((0, 1024), (1, 1063), (0, 1064), (1, 1103)):
        fitted = 1024 + 40 * ((t - 1024) // 40)  # the weights were fitted before this sample
        past = sound[row, fitted - heard : fitted]
        inputs = torch.stack([past[i : i + taps] for i in range(heard - taps)])
        targets = past[taps:]
        gram = inputs.T @ inputs
        shrink = ridge * gram.diagonal().mean() * torch.eye(taps)
        weights = torch.linalg.inv(gram + shrink) @ (inputs.T @ targets)
        expected = sound[row, t - taps : t] @ weights
        torch.testing.assert_close(prediction[row, t - 1024], expected)
        residual = ((targets - inputs @ weights) ** 2).sum() / (heard - taps)
        torch.testing.assert_close(width[row, t - 1024], residual.sqrt(), rtol=1e-3, atol=0)


def test_probabilities_of_codes_are_areas_of_a_gaussian_and_sum_to_1(monkeypatch):
    place, width = 0.1, 0.3
    monkeypatch.setattr(
        wavenet,
        "predict_linearly",
        lambda codes, taps, heard, ridge: (
            torch.full((256, 1), place),
            torch.full((256, 1), width),
        ),
    )
    codes = torch.zeros(256, 1025, dtype=torch.long)
    codes[:, 1024] = torch.arange(256)
    probabilities = wavenet.by_factor(codes, 1, 2, 0.0)[..., 0]  # (factors, 256)
    torch.testing.assert_close(
        probabilities.sum(dim=1), torch.ones(7).to(probabilities), rtol=0, atol=1e-6
    )
    edges = wavenet.expand(2 * torch.tensor([199.5, 200.5]).double() / 255 - 1).numpy()
    for factor, probability in zip(wavenet.FACTORS, probabilities[:, 200]):
        area = scipy.stats.norm(place, width * factor.item()).cdf(edges)
        assert probability.item() == pytest.approx(area[1] - area[0], abs=1e-7)


def test_mixture_finds_the_shares_it_was_drawn_from():
    torch.manual_seed(0)
    share = torch.tensor([0.0, 0.0, 0.7, 0.0, 0.0, 0.3, 0.0], dtype=torch.float64)
    component = torch.multinomial(share, 20_000, replacement=True)
    residual = torch.randn(20_000, dtype=torch.float64) * wavenet.FACTORS[component]
    gaussians = torch.distributions.Normal(0, wavenet.FACTORS[:, None])
    densities = gaussians.log_prob(residual).exp()
    found = wavenet.fit_mixture(densities)
    assert found.sum().item() == pytest.approx(1)
    assert found[:4].sum().item() == pytest.approx(0.7, abs=0.03)  # neighbours are much alike
    assert (found @ densities).log().mean() > (share @ densities).log().mean() - 2e-3


def test_wav_file_holds_the_sound(tmp_path):
    sound = torch.tensor([0.0, 0.5, -1.0, 1.0])
    wavenet.write_wav(sound, tmp_path / "sound.wav")
    with wave.open(str(tmp_path / "sound.wav")) as file:
        assert file.getparams()[:4] == (1, 2, 4000, 4)
        numbers = torch.frombuffer(bytearray(file.readframes(4)), dtype=torch.int16)
    torch.testing.assert_close(numbers / 32767, sound, rtol=0, atol=1e-4)


def test_a_saved_network_speaks_again(tmp_path, capsys):
    options = ["--smoke", "--out", str(tmp_path), "--speaker", "high"]
    file = str(tmp_path / "net.pt")
    assert wavenet.main([*options, "--save", file])["claims"] == []
    (tmp_path / "wavenet_high.wav").unlink()
    wavenet.main([*options, "--load", file])
    assert (tmp_path / "wavenet_high.wav").exists() and "judged" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--speaker", "child"],
        ["--save", "net.pt"],
        ["--speaker", "low", "--save", "no/such/net.pt"],
        ["--speaker", "low", "--load", "missing.pt"],
        ["--speaker", "low", "--load", __file__],
    ],
)
def test_mistakes_get_a_sentence(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        wavenet.main(["--smoke", "--out", str(tmp_path), *wrong])
    assert stopped.value.code == 2 and wrong[-2] in capsys.readouterr().err
