"""The bound of papers/vae.py and its gradients, against torch.distributions and integration."""

import numpy as np
import pytest
import torch
from torch import distributions, nn

from papers import vae


@pytest.fixture
def model():
    """One latent, so that expectations over q(z|x) can be integrated numerically."""
    torch.manual_seed(0)
    model = vae.VAE(latents=1, hidden=6).double()
    model.decoder[1] = nn.Tanh()  # smooth, for the integration
    with torch.no_grad():
        model.decoder[0].weight.mul_(2)
        model.decoder[2].weight[40:] = 0  # so that p(x|z) is not too narrow to be integrated
    return model


def some_images(number: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.bernoulli(torch.full((number, 784), 0.4, dtype=torch.float64))


def integrate(model, x, mu, log_var) -> torch.Tensor:
    """E[log p(x|z)] over z ~ N(mu, exp(log_var)) by Gauss-Hermite quadrature: (B,)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    total = 0
    for node, weight in zip(nodes, weights / weights.sum()):
        logits = model.decoder(mu + (log_var / 2).exp() * node)
        total = total + weight * distributions.Bernoulli(logits=logits).log_prob(x).sum(dim=1)
    return total


def exact_bound(model, x) -> torch.Tensor:
    mu, log_var = model.encoder(x)[:, :1], model.encoder(x)[:, 1:]
    q = distributions.Normal(mu, (log_var / 2).exp())
    kl = distributions.kl_divergence(q, distributions.Normal(0.0, 1.0)).sum(dim=1)
    return integrate(model, x, mu, log_var) - kl


def test_kl_against_torch_distributions_and_monte_carlo():
    torch.manual_seed(0)
    mu, log_var = torch.randn(2, 5, 3, dtype=torch.float64)
    q = distributions.Normal(mu, (log_var / 2).exp())
    p = distributions.Normal(torch.zeros(3).double(), torch.ones(3).double())
    kl = vae.kl_per_latent(mu, log_var)
    torch.testing.assert_close(kl, distributions.kl_divergence(q, p))

    z = q.sample((20_000,))
    drawn = q.log_prob(z) - p.log_prob(z)
    assert ((drawn.mean(0) - kl).abs() < 5 * drawn.std(0) / 20_000**0.5).all()
    one = vae.kl_per_latent(torch.ones(1), 2 * torch.tensor([0.5]).log())
    assert one.item() == pytest.approx(0.82, abs=0.005)  # the example in the text


def test_sample_has_the_mean_and_the_variance_asked_for():
    torch.manual_seed(0)
    mu, log_var = torch.tensor([1.0, -2.0]), torch.tensor([0.8, -3.0])
    z = vae.sample(mu.expand(100_000, 2), log_var.expand(100_000, 2))
    torch.testing.assert_close(z.mean(0), mu, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0), log_var.exp(), atol=0, rtol=0.03)
    torch.testing.assert_close(torch.cov(z.T)[0, 1], torch.tensor(0.0), atol=0.01, rtol=0)


def test_log_likelihood_against_torch_distributions():
    x = some_images(4)
    logits = (3 * torch.randn_like(x)).requires_grad_()
    ours = vae.log_likelihood(logits, x)
    theirs = distributions.Bernoulli(logits=logits).log_prob(x).sum(dim=1)
    torch.testing.assert_close(ours, theirs)
    (ours_gradient,) = torch.autograd.grad(ours.sum(), logits)
    (theirs_gradient,) = torch.autograd.grad(theirs.sum(), logits)
    torch.testing.assert_close(ours_gradient, theirs_gradient)


def test_bound_is_right_on_average_and_below_the_log_likelihood(model):
    x = some_images(3)
    with torch.no_grad():
        drawn = torch.stack([vae.bound(model, x) for _ in range(5000)])
        exact = exact_bound(model, x)
        assert ((drawn.mean(0) - exact).abs() < 5 * drawn.std(0) / 5000**0.5).all()

        z = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
        log_prior = distributions.Normal(0.0, 1.0).log_prob(z)[:, 0]
        logits = model.decoder(z)
        for image, its_bound in zip(x, exact):
            log_joint = log_prior + distributions.Bernoulli(logits=logits).log_prob(image).sum(1)
            log_p = log_joint.logsumexp(0) + np.log(16 / 4000)
            assert its_bound < log_p


@pytest.mark.parametrize("name", vae.ESTIMATORS)
def test_the_gradient_is_unbiased(model, name):
    x = some_images(1)
    weights = [model.encoder[2].bias, model.decoder[2].bias, model.decoder[0].weight]
    exact = torch.autograd.grad(exact_bound(model, x).mean(), weights)

    torch.manual_seed(2)
    many = x.repeat(2000, 1)
    draws = [[] for _ in weights]
    for _ in range(60):
        gradients = torch.autograd.grad(vae.ESTIMATORS[name](model, many).mean(), weights)
        for place, gradient in zip(draws, gradients):
            place.append(gradient)
    for drawn, truth in zip(draws, exact):
        drawn = torch.stack(drawn)
        standard_error = drawn.std(0) / len(drawn) ** 0.5
        assert ((drawn.mean(0) - truth).abs() < 5 * standard_error + 1e-9).all()


def test_reparameterization_and_a_baseline_make_the_gradient_less_noisy(model):
    x = some_images(20)
    torch.manual_seed(3)
    noise = {n: vae.gradient_variance(model, e, x, 100) for n, e in vae.ESTIMATORS.items()}
    assert 5 * noise["reparameterized"] < noise["score function, baseline"]
    assert 5 * noise["score function, baseline"] < noise["score function"]


def test_gradient_variance_of_a_known_gradient(model):
    """Each weight's gradient is 3 plus twice standard noise: variance 4 for each of them."""

    def estimator(model, x):
        total = 0
        for weight in model.encoder.parameters():
            total = total + ((3 + 2 * torch.randn_like(weight)) * weight).sum()
        return total.expand(len(x))

    number = sum(weight.numel() for weight in model.encoder.parameters())
    torch.manual_seed(4)
    for draws in (4, 100):
        variance = vae.gradient_variance(model, estimator, some_images(2), draws)
        assert variance == pytest.approx(4 * number, rel=0.05)


def test_the_example_in_the_docstring():
    torch.manual_seed(5)
    epsilon = torch.randn(400_000, dtype=torch.float64)
    gradient = (epsilon - 100) * epsilon
    assert gradient.mean() == pytest.approx(1, abs=1)
    assert gradient.var() == pytest.approx(10_002, rel=0.02)


def test_mixture_against_torch_distributions():
    x = some_images(7)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    means = torch.rand(3, 784, dtype=torch.float64) * 0.9 + 0.05
    mixture = distributions.MixtureSameFamily(
        distributions.Categorical(weights),
        distributions.Independent(distributions.Bernoulli(means), 1),
    )
    expected = mixture.log_prob(x).mean().item()
    assert vae.mixture_log_likelihood(x, weights, means) == pytest.approx(expected)
    brute = distributions.Bernoulli(means[1]).log_prob(x[2]).sum() + weights[1].log()
    torch.testing.assert_close(vae.log_joint(x, weights, means)[2, 1], brute)


def blobs(number: int) -> torch.Tensor:
    """Noisy copies of four patterns."""
    torch.manual_seed(6)
    patterns = torch.bernoulli(torch.full((4, 784), 0.5))
    copies = patterns[torch.randint(4, (number,))]
    flipped = torch.bernoulli(torch.full_like(copies, 0.1))
    return (copies - flipped).abs()


def test_em_climbs_in_every_iteration_and_finds_the_patterns():
    """With pseudo-images, EM climbs log p(x) plus the logarithm of a Beta and Dirichlet prior."""
    x = blobs(300).double()
    average = (x.sum(dim=0) + 1) / (len(x) + 2)
    objectives, likelihoods = [], []
    for iterations in range(1, 12):
        torch.manual_seed(7)
        x_float = x.float()
        weights, means = vae.fit_mixture(x_float, 8, iterations)
        weights, means = weights.double(), means.double()
        prior = average * means.log() + (1 - average) * (1 - means).log()
        likelihoods.append(vae.mixture_log_likelihood(x, weights, means))
        objectives.append(
            len(x) * likelihoods[-1] + vae.SMOOTHING * prior.sum().item() + weights.log().sum()
        )
        assert weights.sum() == pytest.approx(1, abs=1e-5)
    gains = np.diff(np.array(objectives))
    assert (gains > -0.02).all()
    entropy = 784 * -(0.1 * np.log(0.1) + 0.9 * np.log(0.9)) + np.log(4)
    assert likelihoods[-1] > -entropy - 15  # one average image for all: -540


def test_training_learns_and_looks_at_both_sets():
    x = blobs(600)
    noise = torch.bernoulli(torch.full((200, 784), 0.5))
    for estimator in vae.ESTIMATORS.values():
        model = vae.VAE(latents=3, hidden=40)
        before = vae.mean_bound(model, x)
        history = vae.train(model, estimator, x, noise, steps=100)
        assert before < history["training"][-1] - 10
        assert history["unseen"][-1] < history["training"][-1] - 30
        assert history["step"] == list(range(4, 101, 4))
    torch.manual_seed(8)
    model = vae.VAE(latents=3, hidden=40)
    vae.train(model, vae.bound, x, x, steps=300)
    assert vae.mean_bound(model, x) > -400  # one average image for all: -540


def test_superfluous_latents():
    torch.manual_seed(9)
    x = torch.bernoulli(torch.full((400, 784), 0.5))
    seen, unseen = x[:200], x[200:]
    results = vae.superfluous_latents(seen, unseen, hidden=100, steps=120)
    assert results["gaps"].keys() == results["kls"].keys() == {20, 200}
    assert min(results["gaps"].values()) > 2  # noise can be learned by heart only
    assert 0 < results["earlier gap"] < results["gaps"][20] + 20
    for latents, kl in results["kls"].items():
        assert len(kl) == latents and (kl.diff() <= 0).all()


def test_latent_plane_decodes_where_it_says():
    model = vae.VAE(latents=2, hidden=5)
    model.encoder = nn.Linear(784, 4)
    model.decoder = nn.Linear(2, 784)
    with torch.no_grad():
        model.decoder.weight.zero_()
        model.decoder.weight[0, 0] = model.decoder.weight[1, 1] = 1  # pixel 0: z1, pixel 1: z2
        model.decoder.bias.zero_()
    x = some_images(9).float()
    plane = vae.latent_plane(model, x, torch.arange(9))
    decoded, places = plane["decoded"], plane["places"]
    gaussian = distributions.Normal(0.0, 1.0)
    expected = torch.sigmoid(gaussian.icdf((torch.arange(16) + 0.5) / 16))
    torch.testing.assert_close(decoded[:, 3, 0], expected)
    torch.testing.assert_close(decoded[5, :, 1], expected)
    torch.testing.assert_close(places, gaussian.cdf(model.encoder(x)[:, :2]).detach())


def test_samples_are_decoded_from_the_prior():
    torch.manual_seed(10)
    model = vae.VAE(latents=20, hidden=5)
    model.decoder = nn.Linear(20, 784)
    with torch.no_grad():
        model.decoder.weight.zero_()
        model.decoder.weight[7, 3] = 2  # pixel 7: twice the fourth latent
        model.decoder.bias.zero_()
    samples = vae.draw_samples(model)
    assert samples.shape == (48, 784)
    z = torch.logit(samples[:, 7]) / 2
    assert abs(z.mean()) < 0.6 and 0.7 < z.std() < 1.3
    assert (samples[:, 8] == 0.5).all()


def test_tile_fills_columns_from_the_top():
    images = torch.arange(6.0)[:, None].expand(6, 784)
    picture = vae.tile(images, rows=2)
    assert picture[::28, ::28].tolist() == [[0, 2, 4], [1, 3, 5]]
