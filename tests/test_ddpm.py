"""The diffusion process, sampler, network and codelength of papers/ddpm.py, the long way round."""

import math

import pytest
import scipy.linalg
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from papers import ddpm

T = ddpm.T


def step(t: int) -> torch.Tensor:
    return torch.tensor(t)


def test_the_schedule_is_the_papers():
    assert len(ddpm.BETA) == len(ddpm.ALPHA_BAR) == T + 1 == 1001
    assert ddpm.BETA[1].item() == pytest.approx(1e-4)
    assert ddpm.BETA[500].item() == pytest.approx(1e-4 + 499 / 999 * (0.02 - 1e-4), rel=1e-5)
    assert ddpm.BETA[T].item() == pytest.approx(0.02)
    assert ddpm.ALPHA_BAR[0] == 1
    product = math.prod(1 - beta for beta in ddpm.BETA[1:301].tolist())
    assert ddpm.ALPHA_BAR[300].item() == pytest.approx(product)


def test_q_sample_is_what_one_step_at_a_time_gives():
    torch.manual_seed(0)
    x_0 = 0.7
    x = torch.full((200_000,), x_0, dtype=torch.float64)
    for t in range(1, 101):
        beta = ddpm.BETA[t]
        x = (1 - beta).sqrt() * x + beta.sqrt() * torch.randn_like(x)  # eq. 2
    at_once = ddpm.q_sample(torch.full_like(x, x_0), step(100), torch.randn_like(x))
    assert x.mean().item() == pytest.approx(at_once.mean().item(), abs=5e-3)
    assert x.std().item() == pytest.approx(at_once.std().item(), abs=5e-3)

    signal = ddpm.q_sample(torch.ones(1).double(), step(100), torch.zeros(1).double())
    noise = ddpm.q_sample(torch.zeros(1).double(), step(100), torch.ones(1).double())
    mean, variance = 1.0, 0.0  # exactly, by the same recursion
    for beta in ddpm.BETA[1:101].tolist():
        mean = math.sqrt(1 - beta) * mean
        variance = (1 - beta) * variance + beta
    assert signal.item() == pytest.approx(mean)
    assert noise.item() ** 2 == pytest.approx(variance)


def test_x_0_is_recovered_from_the_noise_with_a_step_for_each_image():
    x_0 = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    noise = torch.randn_like(x_0)
    t = torch.tensor([1, 300, T]).view(3, 1, 1, 1)
    x_t = ddpm.q_sample(x_0, t, noise)
    torch.testing.assert_close(ddpm.predict_x_0(x_t, t, noise), x_0)
    torch.testing.assert_close(x_t[1], ddpm.q_sample(x_0[1], step(300), noise[1]))


@pytest.mark.parametrize("t, s", [(2, 1), (300, 299), (300, 240), (1000, 980)])
def test_posterior_is_bayes_rule_on_a_grid(t, s):
    x_0, x_t = 0.6, -0.4
    grid = torch.linspace(-6, 6, 400_001, dtype=torch.float64)  # values of x_s

    def log_normal(x, mean, variance):
        return -((x - mean) ** 2) / (2 * variance)

    alpha = math.prod(1 - beta for beta in ddpm.BETA[s + 1 : t + 1].tolist())
    alpha_bar = math.prod(1 - beta for beta in ddpm.BETA[1 : s + 1].tolist())
    log_prior = log_normal(grid, math.sqrt(alpha_bar) * x_0, 1 - alpha_bar)
    log_likelihood = log_normal(x_t, math.sqrt(alpha) * grid, 1 - alpha)
    weights = (log_prior + log_likelihood).softmax(dim=0)
    mean = (weights * grid).sum().item()
    variance = (weights * (grid - mean) ** 2).sum().item()

    both = torch.tensor([x_0, x_t], dtype=torch.float64)
    ours = ddpm.posterior(both[0], both[1], step(t), step(s))
    assert ours[0].item() == pytest.approx(mean, rel=1e-4)
    assert ours[1].item() == pytest.approx(variance, rel=1e-3)


def test_the_last_step_of_the_posterior_is_x_0():
    x_0, x_1 = torch.randn(2, 5, dtype=torch.float64)
    mean, variance = ddpm.posterior(x_0, x_1, step(1), step(0))
    torch.testing.assert_close(mean, x_0)
    assert variance == 0


class ExactNoise(nn.Module):
    """E[ε | x_t] if x_0 is Gaussian with the given mean and standard deviation."""

    def __init__(self, mean: float, std: float):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x_t, t):
        alpha_bar = ddpm.ALPHA_BAR[t]
        variance = alpha_bar * self.std**2 + 1 - alpha_bar  # of x_t
        return (1 - alpha_bar).sqrt() * (x_t - alpha_bar.sqrt() * self.mean) / variance


@pytest.mark.parametrize("steps", [T, 100])
def test_the_sampler_with_the_exact_score_draws_from_the_gaussian(steps):
    torch.manual_seed(0)
    noise = torch.randn(20_000, 1, 1, 1, dtype=torch.float64)
    film = []
    x = ddpm.sample(ExactNoise(0.3, 0.2), noise, steps, film)  # 5 σ are beyond the clipping
    assert len(film) == steps and film[-1] is x
    assert x.mean().item() == pytest.approx(0.3, abs=0.01)
    assert x.std().item() == pytest.approx(0.2, rel=0.03 if steps == T else 0.15)


def test_a_step_of_the_sampler_is_algorithm_2():
    torch.manual_seed(0)
    model = ExactNoise(0.0, 0.05)  # nothing to clip
    x = torch.randn(50, 1, 1, 1, dtype=torch.float64)
    film = []
    torch.manual_seed(1)
    ddpm.sample(model, x, T, film)
    torch.manual_seed(1)
    for t in range(T, 0, -1):
        beta, alpha_bar, before = ddpm.BETA[t], ddpm.ALPHA_BAR[t], ddpm.ALPHA_BAR[t - 1]
        mean = (x - beta / (1 - alpha_bar).sqrt() * model(x, t)) / (1 - beta).sqrt()
        sigma = ((1 - before) / (1 - alpha_bar) * beta).sqrt()
        x = mean + sigma * torch.randn_like(x)
        torch.testing.assert_close(film[T - t], x)


def test_the_sampler_clips_the_predicted_x_0():
    class Wrong(nn.Module):
        def forward(self, x_t, t):
            return -30 * torch.ones_like(x_t)

    for sampler in (ddpm.sample, ddpm.sample_ddim):
        x = sampler(Wrong(), torch.randn(10, 1, 2, 2), 20)
        torch.testing.assert_close(x, torch.ones_like(x))


def test_ddim_carries_quantiles_of_the_noise_to_quantiles_of_the_gaussian():
    z = torch.linspace(-2, 2, 9, dtype=torch.float64).view(-1, 1, 1, 1)
    x = ddpm.sample_ddim(ExactNoise(0.1, 0.2), z, T)
    torch.testing.assert_close(x, 0.1 + 0.2 * z, atol=0.01, rtol=0)


def test_simple_loss_is_the_mean_over_steps_of_the_error_in_the_noise():
    """For a model that answers x_t, E(ε − x_t)² has a closed form."""

    class Identity(nn.Module):
        def forward(self, x_t, t):
            return x_t

    torch.manual_seed(0)
    x_0 = torch.full((200_000, 1, 1, 1), 0.5, dtype=torch.float64)
    alpha_bar = ddpm.ALPHA_BAR[1:]
    expected = (alpha_bar * 0.5**2 + (1 - (1 - alpha_bar).sqrt()) ** 2).mean().item()
    assert ddpm.simple_loss(Identity(), x_0).item() == pytest.approx(expected, rel=0.02)


def mean_model(noise_model: nn.Module) -> ddpm.MeanUNet:
    """A MeanUNet whose inner network is the eq. 11 of a noise model."""

    class Inner(nn.Module):
        def forward(self, x_t, t):
            beta, alpha_bar = ddpm.BETA[t], ddpm.ALPHA_BAR[t]
            mean = x_t - beta / (1 - alpha_bar).sqrt() * noise_model(x_t, t)
            return (mean / (1 - beta).sqrt() - x_t) / beta.sqrt()

    model = ddpm.MeanUNet(8)
    model.network = Inner()
    return model


def test_the_mean_that_a_noise_stands_for_and_back():
    torch.manual_seed(0)
    exact = ExactNoise(0.3, 0.2)
    x_t = torch.randn(4, 1, 2, 2, dtype=torch.float64)
    t = torch.tensor([1, 2, 500, T]).view(4, 1, 1, 1)
    torch.testing.assert_close(mean_model(exact)(x_t, t), exact(x_t, t))


def test_variational_loss_is_the_weighted_error_in_the_noise():
    """Eq. 8 with eq. 11 put in gives eq. 12."""

    class Zero(nn.Module):
        def forward(self, x_t, t):
            return torch.zeros_like(x_t)

    torch.manual_seed(0)
    x_0 = torch.rand(5000, 1, 1, 1, dtype=torch.float64) * 2 - 1
    model = mean_model(Zero())
    torch.manual_seed(1)
    ours = ddpm.variational_loss(model, x_0)
    torch.manual_seed(1)
    t = torch.randint(1, T + 1, (len(x_0), 1, 1, 1))
    noise = torch.randn_like(x_0)
    beta, alpha_bar = ddpm.BETA[t], ddpm.ALPHA_BAR[t]
    weight = beta**2 / (2 * beta * (1 - beta) * (1 - alpha_bar))
    torch.testing.assert_close(ours, (weight * noise**2).mean())


def test_attention_is_torchs():
    torch.manual_seed(0)
    layer = ddpm.SelfAttention(8).double()
    nn.init.normal_(layer.out.weight)
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64, requires_grad=True)
    reference = nn.MultiheadAttention(8, 1, batch_first=True).double()
    with torch.no_grad():
        reference.in_proj_weight.copy_(layer.query_key_value.weight[:, :, 0, 0])
        reference.in_proj_bias.copy_(layer.query_key_value.bias)
        reference.out_proj.weight.copy_(layer.out.weight[:, :, 0, 0])
        reference.out_proj.bias.copy_(layer.out.bias)
    tokens = layer.norm(x).flatten(2).transpose(1, 2)
    expected = x + reference(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(layer(x), expected)
    mine = torch.autograd.grad(layer(x).square().sum(), x, retain_graph=True)
    torch.testing.assert_close(mine, torch.autograd.grad(expected.square().sum(), x))


def test_a_residual_block_begins_as_its_shortcut():
    torch.manual_seed(0)
    block = ddpm.ResidualBlock(8, 16, 4)
    nn.init.zeros_(block.conv2.bias)
    x = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(block(x, torch.randn(2, 4)), block.shortcut(x))


def test_the_network_begins_at_zero_and_hears_image_and_time():
    torch.manual_seed(0)
    model = ddpm.UNet(8)
    x = torch.randn(2, 1, 16, 16)
    t = torch.tensor([10, 900]).view(2, 1, 1, 1)
    assert model(x, t).abs().max() < 0.5  # only the last layer's bias
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.1)
    out = model(x, t)
    assert out.shape == x.shape
    for i in range(2):  # one step for all, or one for each
        torch.testing.assert_close(model(x[i : i + 1], t[i].flatten()[0]), out[i : i + 1])
    assert (model(x, t + 50) - out).abs().max() > 1e-3


def test_the_network_uses_its_attention():
    torch.manual_seed(0)
    model = ddpm.UNet(8)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.1)
    x = torch.randn(2, 1, 16, 16)
    out = model(x, torch.tensor(300))
    nn.init.zeros_(model.attention.out.weight)
    assert (model(x, torch.tensor(300)) - out).abs().max() > 1e-6


def test_both_skip_connections_carry_the_image():
    torch.manual_seed(0)
    x = torch.randn(2, 1, 16, 16)
    t = torch.tensor(300)

    def depends_on_the_image(model):
        return (model(x, t) - model(x.flip(0), t)).abs().max() > 1e-6

    def network():
        model = ddpm.UNet(8)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.1)
        return model

    model = network()
    nn.init.zeros_(model.upsample.weight)  # nothing comes from below, all from the fine skip
    assert depends_on_the_image(model)
    for layer in (model.up1.conv1, model.up1.shortcut):
        nn.init.zeros_(layer.weight[:, 8:])  # nor from the fine skip
    assert not depends_on_the_image(model)

    model = network()
    for layer in (model.up1.conv1, model.up1.shortcut):
        nn.init.zeros_(layer.weight[:, 8:])
    for layer in (model.middle2.conv2, model.middle2.shortcut):
        nn.init.zeros_(layer.weight)  # nothing from the middle, all from the coarse skip
    assert depends_on_the_image(model)


def test_time_embedding_is_sines_and_cosines():
    t = torch.tensor([0, 7, 1000])
    embedding = ddpm.time_embedding(t, 8)
    assert embedding.shape == (3, 8)
    for i in range(4):
        frequency = 10_000 ** (-i / 3)
        torch.testing.assert_close(embedding[:, i], torch.sin(t * frequency), atol=1e-4, rtol=0)
        torch.testing.assert_close(embedding[:, 4 + i], torch.cos(t * frequency), atol=1e-4, rtol=0)


def test_levels_are_a_distribution_and_match_an_integral():
    levels = (torch.arange(256, dtype=torch.float64) / 127.5 - 1).float().double()
    for mean, sigma in [(0.1, 0.01), (-0.99, 0.05), (1.0, 0.2)]:
        mean, sigma = torch.tensor([mean, sigma], dtype=torch.float64)
        p = ddpm.log_likelihood_of_levels(levels, mean, sigma).exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-4)
    normal = torch.distributions.Normal(mean, sigma)
    x = torch.linspace(levels[100] - 1 / 255, levels[100] + 1 / 255, 1001, dtype=torch.float64)
    integral = torch.trapezoid(normal.log_prob(x).exp(), x)
    torch.testing.assert_close(p[100], integral, atol=1e-7, rtol=1e-3)


def test_codelength_of_a_perfect_prediction_is_the_last_step_alone():
    """The model knows x_0, so that only rounding to levels is left."""
    x_0 = torch.full((4, 1, 2, 2), 0.25, dtype=torch.float64)

    class Knows(nn.Module):
        def forward(self, x_t, t):
            alpha_bar = ddpm.ALPHA_BAR[t]
            return (x_t - alpha_bar.sqrt() * 0.25) / (1 - alpha_bar).sqrt()

    bits, errors = ddpm.codelength(Knows(), x_0)
    assert len(bits) == len(errors) == T
    assert bits[:-1].abs().max() < 1e-9 and errors.max() < 1e-6
    p = math.erf(1 / 255 / 0.01 / math.sqrt(2))
    assert bits[-1].item() == pytest.approx(-math.log2(p), rel=1e-3)


def test_codelength_is_the_sum_of_torchs_divergences():
    torch.manual_seed(0)
    x_0 = torch.rand(2000, 1, 1, 1, dtype=torch.float64) * 1.4 - 0.7
    model = ExactNoise(0.0, 0.4)
    bits, errors = ddpm.codelength(model, x_0, steps=10)
    for i, (t, s) in enumerate([(1000, 900), (500, 400), (200, 100)]):
        place = {0: 0, 1: 5, 2: 8}[i]
        x_t = ddpm.q_sample(x_0, step(t), torch.randn_like(x_0))
        guess = ddpm.predict_x_0(x_t, step(t), model(x_t, step(t))).clamp(-1, 1)
        q_mean, variance = ddpm.posterior(x_0, x_t, step(t), step(s))
        p_mean, _ = ddpm.posterior(guess, x_t, step(t), step(s))
        q = torch.distributions.Normal(q_mean, variance.sqrt())
        p = torch.distributions.Normal(p_mean, variance.sqrt())
        nats = torch.distributions.kl_divergence(q, p).mean().item()
        assert bits[place].item() == pytest.approx(nats / math.log(2), rel=0.1)
        rmse = (guess - x_0).square().mean().sqrt().item()
        assert errors[place].item() == pytest.approx(50 * rmse, rel=0.1)


def test_the_code_that_counts_against_a_loop():
    torch.manual_seed(0)
    x = torch.randint(0, 3, (50, 1, 1, 2)) * 2 / 255 - 1
    x_test = torch.randint(0, 4, (20, 1, 1, 2)) * 2 / 255 - 1  # a level that was never seen
    total = 0.0
    for image in x_test:
        for pixel in range(2):
            equal = (x[:, 0, 0, pixel] - image[0, 0, pixel]).abs() < 1e-6
            total -= math.log2((equal.sum().item() + 0.01) / (len(x) + 2.56))
    assert ddpm.counting_codelength(x, x_test) == pytest.approx(total / 40, rel=1e-4)


def test_quality_of_images():
    torch.manual_seed(0)
    classifier = ddpm.train_classifier(torch.randn(50, 1, 16, 16), torch.arange(50) % 10, 1)
    images = torch.randn(80, 1, 16, 16)
    real = classifier[:-1](torch.randn(90, 1, 16, 16))
    with torch.no_grad():
        classifier[-1].bias[3] += 4  # so that some are read with confidence
        clipped = images.clamp(-1, 1)
        p = classifier(clipped).softmax(1).max(1).values
    distance, read = ddpm.quality(images, classifier, real)
    assert distance == pytest.approx(ddpm.frechet_distance(classifier[:-1](clipped), real))
    assert read == pytest.approx(100 * (p > 0.9).float().mean().item())


def test_share_of_details():
    bits = torch.tensor([1.0, 2.0, 3.0, 4.0])
    errors = torch.tensor([40.0, 11.0, 9.0, 1.0])
    assert ddpm.share_of_details(bits, errors) == pytest.approx(70)
    assert ddpm.share_of_details(bits, errors + 10) == 0  # the error never falls so far


def test_frechet_distance_against_scipy():
    torch.manual_seed(0)
    x = torch.randn(500, 6) @ torch.randn(6, 6)
    y = torch.randn(400, 6) @ torch.randn(6, 6) + 1
    c_x, c_y = torch.cov(x.double().T).numpy(), torch.cov(y.double().T).numpy()
    root = scipy.linalg.sqrtm(c_x @ c_y).real
    difference = (x.double().mean(0) - y.double().mean(0)).square().sum().item()
    expected = difference + (c_x + c_y - 2 * root).trace()
    assert ddpm.frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)
    assert ddpm.frechet_distance(x, x) == pytest.approx(0, abs=1e-6)


def test_the_gaussian_has_the_mean_and_covariance_of_the_pixels():
    torch.manual_seed(0)
    x = (torch.randn(2000, 6) @ torch.randn(6, 6) + 2).view(2000, 1, 2, 3)
    samples = ddpm.gaussian_samples(x, 50_000)
    assert samples.shape == (50_000, 1, 2, 3)
    torch.testing.assert_close(samples.mean(0), x.mean(0), atol=0.1, rtol=0)
    covariance = torch.cov(x.flatten(1).T)
    close = 0.05 * covariance.abs().max().item()
    torch.testing.assert_close(torch.cov(samples.flatten(1).T), covariance, atol=close, rtol=0)


def test_pixels_are_256_levels_from_minus_one_to_one():
    x = torch.zeros(1, 28, 28)
    x[:, :14] = 1.0
    pixels = ddpm.to_pixels(x)
    assert pixels.shape == (1, 1, 16, 16)
    assert pixels[0, 0, :8].eq(1).all() and pixels[0, 0, 8:].eq(-1).all()
    levels = (ddpm.to_pixels(torch.rand(5, 28, 28)) + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)


class Tiny(nn.Module):
    """ε_θ = a x_t, with one weight to learn."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.0))

    def forward(self, x_t, t):
        return self.a * x_t


def test_training_learns_and_averages_the_weights(monkeypatch):
    torch.manual_seed(0)
    x = torch.zeros(64, 1, 2, 2)
    model = Tiny()
    averaged = ddpm.train(model, ddpm.simple_loss, x, 0.02, steps=1500)
    assert averaged is not model and averaged.a != model.a  # not the last weights
    alpha_bar = ddpm.ALPHA_BAR[1:]
    best = ((1 - alpha_bar).sqrt().mean() / (1 - alpha_bar).mean()).item()  # least squares
    assert averaged.a.item() == pytest.approx(best, abs=0.03)

    monkeypatch.setattr(ddpm, "DECAY", 0.0)  # no memory: the last weights
    model = Tiny()
    assert ddpm.train(model, ddpm.simple_loss, x, 0.02, steps=50).a == model.a


def test_the_average_is_over_recent_weights_only():
    average = torch.zeros(1)
    history = []
    for updates in range(1, 2000):
        history.append(float(updates))
        average = ddpm.moving_average(average, torch.tensor([history[-1]]), torch.tensor(updates))
        if updates == 100:
            assert average > 80  # the first 0 is forgotten
    assert average.item() == pytest.approx(1999 - 199, abs=15)  # 0.995 / 0.005 behind


def test_the_learning_rate_warms_up_and_ends_at_zero():
    rates = []

    def note(optimizer, args, kwargs):
        rates.append(optimizer.param_groups[0]["lr"])

    hook = register_optimizer_step_pre_hook(note)
    ddpm.train(Tiny(), ddpm.simple_loss, torch.zeros(64, 1, 2, 2), 0.02, steps=400)
    hook.remove()
    assert rates[0] == pytest.approx(0.02 / 100) and rates[49] == pytest.approx(0.01)
    assert rates[99:201] == pytest.approx([0.02] * 102)
    assert rates[300] == pytest.approx(0.01) and rates[-1] == pytest.approx(0.02 / 200)


@pytest.mark.parametrize(
    "network, loss", [(ddpm.UNet, ddpm.simple_loss), (ddpm.MeanUNet, ddpm.variational_loss)]
)
def test_both_models_learn_two_images(network, loss):
    torch.manual_seed(0)
    x = torch.full((64, 1, 16, 16), -1.0)
    x[:32, :, :, 8:] = 1.0
    x[32:, :, 8:] = 1.0
    model = ddpm.train(network(16), loss, x, 8e-3, steps=200)
    samples = ddpm.sample(model, torch.randn(32, 1, 16, 16), 20)
    patterns = x[[0, 32]]
    errors = (samples[:, None] - patterns[None]).square().mean(dim=(2, 3, 4))  # (32, 2)
    nearest = errors.argmin(dim=1)
    assert errors.amin(dim=1).median() < 0.4
    assert 0 < nearest.float().mean() < 1  # both patterns are drawn


def test_a_width_that_does_not_divide_gets_a_sentence(capsys):
    with pytest.raises(SystemExit):
        ddpm.parse_args(["--width", "12"])
    assert "--width 12" in capsys.readouterr().err
