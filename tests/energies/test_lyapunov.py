"""What `why_not_lyapunov` promises, held against dE/dt of the equations in plain NumPy, by complex steps."""

import functools
import itertools

import numpy as np
import pytest
from scipy import linalg, special

import fasthop as fh
from complex_g import STEP, curvature, g_of
from fasthop.energies import lyapunov as descent
from fasthop.model.activations import as_activation

KINDS = [
    *("identity", "relu", "smooth_leaky_relu", "exp", "gelu", "silu", "selu", "gaussian", "hard_tanh"),
    *(fh.Tanh(1.4), fh.Sigmoid(3.0), fh.LeakyReLU(0.3), fh.LeakyReLU(2.5), fh.Softplus(1.5), fh.SoftThreshold(0.7)),
    *(fh.RectifiedPower(2), fh.RectifiedPower(3), fh.Power(2), fh.Power(3), fh.Power(4)),
    *(fh.Softmax(1.0), fh.Softmax(4.0), fh.LayerNorm(1.3, 0.5), fh.LayerNorm(1.0, 0.0), fh.Sphere(0.4), fh.Sphere(0.0)),
]
LAYERS = [
    [(2, fh.Softmax(2.0)), (3, "relu")],
    [(1, "gelu"), (4, "tanh")],
    [(3, fh.LayerNorm(1.0, 0.3)), (2, fh.Sphere(0.1))],
]


@pytest.mark.parametrize("kind", [*KINDS, *LAYERS], ids=str)
def test_g_in_numpy_is_g(kind):
    layers = kind if isinstance(kind, list) else [(5, kind)]
    x = 2 * np.random.default_rng(3).standard_normal((20, 5))
    memory = fh.Memory(np.eye(5), layers=layers, variable="u")
    np.testing.assert_allclose(fh.residual(memory, x) + x, g_of(memory, x + 0j).real, rtol=1e-12, atol=1e-14)


# --- dE/dt ----------------------------------------------------------------------------------------------------------


class At:
    """A memory at states: the residual, Λ, and E's derivative along a velocity, from the printed equations."""

    def __init__(self, memory, states):
        self.memory, self.y = memory, states
        self.W, self.b = np.asarray(memory.W), np.asarray(memory.b)
        x = self.x = self.argument(states)
        self.g = g_of(memory, x + 0j).real
        self.Lam = curvature(memory, x)
        if memory.variable == "y":
            self.r = self.g @ self.W.T - states + self.b
        else:
            self.r = (self.g if memory.variable == "u" else self.g @ self.W) - states
        # What the residual is summed from: its rounding is as large as that of this.
        terms = [np.abs(states), np.abs(self.b) + 0 * states, np.abs(self.g), np.abs(self.g) @ np.abs(self.W).T]
        self.size = np.linalg.norm(sum(terms) + np.abs(x), axis=1)

    def argument(self, y):
        return y if self.memory.variable == "y" else y @ self.W.T + self.b

    def F(self, form):
        """F of Proposition 5 and its size, for symmetric W where α or β is not 0."""
        W, Lam, one = self.W, self.Lam, np.eye(len(self.W))
        S = one if form.S is None else form.S
        if self.memory.variable == "v":
            return form.beta * one + 0 * Lam
        if self.memory.variable == "y":
            return form.alpha * Lam + form.gamma * (one - Lam @ W.T) @ S
        return W.T @ Lam @ (form.alpha * W - form.gamma * S) + form.beta * W + form.gamma * S

    def energy_rate(self, form, v):
        """dE/dt = Im E(y + i h v)/h. Of L it is g·dx, which is what L is, and of x·g − L it is x·dg."""
        y, b, W = self.y + 1j * STEP * v, self.b, self.W
        x = self.argument(y)
        g = g_of(self.memory, x)
        legendre = ((x.real - b) * g.imag).sum(axis=1) - ((g @ W.T) * g).sum(axis=1).imag / 2
        square = ((y if self.memory.variable == "v" else y @ W.T) * y).sum(axis=1).imag / 2
        r = (g @ W.T + b if self.memory.variable == "y" else g) - y
        S = np.eye(len(W)) if form.S is None else form.S
        parts = (legendre, square - (self.g * x.imag).sum(axis=1), ((r @ S) * r).sum(axis=1).imag / 2)
        return sum(share * part for share, part in zip((form.alpha, form.beta, form.gamma), parts, strict=True)) / STEP

    def room(self, form, R):
        """The rounding of −fᵀRᵀF f, of which f has that of what it is summed from."""
        W, Lam = (np.linalg.norm(M, ord=2, axis=(-2, -1)) for M in (self.W, self.Lam))
        S = 1 if form.S is None else np.linalg.norm(form.S, ord=2)
        W = 1 if self.memory.variable == "v" else W
        parts = abs(form.alpha) * Lam * (W * W if self.memory.variable == "u" else 1)
        parts = parts + abs(form.beta) * W + abs(form.gamma) * (1 + W * Lam) * S
        return 1e-13 * parts * np.linalg.norm(R, ord=2, axis=(-2, -1)) * self.size**2


def sign_of(F):
    """The orthogonal factor of F, nearest to I between the null spaces, by SciPy and one matrix at a time."""
    out = np.empty_like(F)
    for k, one in enumerate(F):
        left, sizes, right = linalg.svd(one / max(np.abs(one).max(), 1e-300))
        null = sizes <= 1e-13
        inner = np.eye(len(one))
        if null.any():
            a, _, b = linalg.svd(left[:, null].T @ right[null].T)
            inner[np.ix_(null, null)] = a @ b
        out[k] = left @ inner @ right
    return out


def drive_at(at, R):
    """R at the states, from its definition."""
    one, W, Lam = np.eye(len(at.W)), at.W, at.Lam
    if isinstance(R, fh.OrthogonalFactor):
        return sign_of(at.F(R.energy))
    if isinstance(R, np.ndarray):
        return R + 0 * Lam
    inside = at.memory.variable == "u"
    return {
        "identity": lambda: one + 0 * Lam,
        "weights": lambda: W + 0 * Lam,
        "polar": lambda: sign_of(W[None])[0] + 0 * Lam,
        "gradient": lambda: one - (W.T @ Lam if inside else Lam @ W.T),
        "gradient-as-printed": lambda: one - W @ Lam,
        "hessian": lambda: Lam,
    }[R]()


# --- the product ----------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(1)


@functools.cache
def weights(n):
    """Symmetric ones of every signature and size, then free ones."""
    A = RNG.standard_normal((n, n))
    S = (A + A.T) / 2
    zero_diagonal = S - np.diag(np.diag(S))
    v = RNG.standard_normal((n, 1))
    return {
        "free": A,
        "rotation": A - A.T - 0.1 * np.eye(n),
        "symmetric": S,
        "positive": A @ A.T / n + 0.2 * np.eye(n),
        "negative": -(A @ A.T) / n - 0.1 * np.eye(n),
        "singular": v @ v.T,
        "singular indefinite": np.diag([1.0, -1.0, *[0.0] * (n - 2)]),
        "zero diagonal": zero_diagonal,
        "large": 30 * S,
        "small": 0.1 * S,
        "none": np.zeros((n, n)),
        "diagonal": np.diag(RNG.uniform(0.1, 2, n)),
    }


S_OF = functools.cache(lambda n: np.diag(np.arange(1.0, n + 1)))


def drives(W, variable):
    """Every R there is for a variable, tau for R = I among them."""
    n, symmetric = len(W), np.array_equal(W, W.T)
    if variable == "v":
        return [{}]
    found = [{"R": R} for R in ("identity", "weights", "gradient", "hessian")]
    found += [{"R": "polar"}] if symmetric else []
    found += [{"R": M} for M in (2.0 * np.eye(n), -np.eye(n), np.diag(np.arange(n) + 0.5), RNG.standard_normal((n, n)))]
    if variable == "y":
        return [*found, {"R": "gradient-as-printed"}, {"tau": np.arange(n) + 0.3}, {"tau": 3.0}]
    if symmetric and np.linalg.eigvalsh(W)[0] > 1e-9:
        Q = RNG.standard_normal((n, n))
        found += [{"R": fh.lyapunov(W)}, {"R": fh.lyapunov(W, Q @ Q.T)}, {"R": fh.lyapunov(W, Q + Q.T)}]
    made_for = ["E1", "E2", "E3", fh.Energy(0.4, -1.0, 2.0, S_OF(n)), fh.Energy(alpha=-1.0, beta=0.3)]
    return found + [{"R": fh.OrthogonalFactor(form)} for form in made_for]


def forms(n, variable):
    if variable == "v":
        return ["simplest", fh.Energy(beta=2.0), fh.Energy(beta=-1.0)]
    shares = [{"alpha": 1.0}, {"alpha": -1.0}, {"gamma": 2.0}, {"gamma": -1.0}, {"alpha": 1.0, "gamma": 0.5}, {}]
    shares += [{"gamma": 1.0, "S": S_OF(n)}, {"gamma": 1.0, "S": -np.eye(n)}, {"gamma": -0.5, "S": -3.0 * np.eye(n)}]
    if variable == "u":
        shares += [{"beta": 1.0}, {"beta": -1.0}, {"alpha": 0.4, "beta": -1.0, "gamma": 2.0, "S": S_OF(n)}]
        shares += [{"alpha": -1.0, "beta": 0.3}, {"alpha": 1.0, "beta": 0.5}, {"alpha": 1.0, "beta": 1.0, "gamma": 1.0}]
    return [*{"y": ("2", "3", "10"), "u": ("E1", "E2", "E3")}[variable], *(fh.Energy(**share) for share in shares)]


def form_of(kind, variable):
    named = {"2": "alpha", "3": "alpha", "10": "gamma", "E1": "alpha", "E2": "beta", "E3": "gamma", "simplest": "beta"}
    return fh.Energy(**{named[kind]: 1.0}) if isinstance(kind, str) else kind


def states_of(n):
    """Moderate, large, with dead neurons of every kind, and all dead."""
    normal = RNG.standard_normal((4, n))
    return np.concatenate([normal, 5 * normal, 40 * normal, 1e3 * normal[:2], -np.abs(20 * normal[:2])])


def violations(memory, R, kinds, states):
    """(kind, state) where an energy that is promised to fall rises, and all kinds that are promised."""
    promised = [kind for kind in kinds if not fh.why_not_lyapunov(memory, kind)]
    found = []
    if promised:
        with np.errstate(all="ignore"):
            at = At(memory, states)
            fine = np.isfinite(at.size) & np.isfinite(at.Lam).all(axis=(1, 2)) & (np.abs(at.Lam).max(axis=(1, 2)) < 1e9)
            at = At(memory, states[fine])
            turned = drive_at(at, R)
            tau = 1.0 if memory.tau is None else memory.tau
            v = np.matmul(turned, at.r[..., None])[..., 0] / tau
            for kind in promised:
                form = form_of(kind, memory.variable)
                rate = at.energy_rate(form, v)
                found += [
                    (kind, *bad)
                    for bad in zip(at.y, rate, at.room(form, turned / np.min(tau)), strict=True)
                    if not bad[1] <= bad[2]
                ]
    return found, promised


def proved(layers, names):
    """Hold all that is promised for memories of these layers and weights against dE/dt; return what was promised."""
    n = sum(size for size, _ in layers)
    steepest = max(as_activation(name).max_slope for _, name in layers)
    used = set()
    for W in (weights(n)[name] for name in names):
        omega = np.linalg.eigvalsh((W + W.T) / 2)[-1]
        gentle = [0.99 * W / (omega * steepest)] if omega > 1e-9 and steepest < np.inf else []
        for matrix, variable in itertools.product((W, *gentle), "yuv"):
            for options in drives(matrix, variable):
                tau = options.get("tau", 1.0)
                if np.ndim(tau) and any(as_activation(name).blockwise for _, name in layers):
                    continue  # refused
                memory = fh.Memory(matrix, RNG.standard_normal(n), layers=layers, variable=variable, **options)
                kinds = forms(n, variable)
                found, promised = violations(memory, options.get("R", "identity"), kinds, states_of(n))
                assert not found, (variable, options, matrix, found[0])
                shares = [(kind, share) for kind in promised for share in ("alpha", "beta", "gamma")]
                shares = [share for kind, share in shares if getattr(form_of(kind, variable), share)]
                residual, factor = type(memory.system.residual), type(memory.system.factor)
                used |= {(residual, share, factor) for share in shares}
                for reasons in (fh.why_not_lyapunov(memory, kind) for kind in kinds if kind not in promised):
                    assert all(len(words) > 10 and words.endswith(".") for words in reasons)
    return used


@pytest.mark.parametrize("at", range(len(KINDS) + len(LAYERS)), ids=[str(kind) for kind in (*KINDS, *LAYERS)])
def test_what_is_promised_falls(at):
    n = 2 + at % 5
    layers = [*([(n, kind)] for kind in KINDS), *LAYERS][at]
    names = list(weights(n))
    assert proved(layers, [names[(at + 5 * j) % len(names)] for j in range(2)])


def test_everything_in_the_table_is_used_and_holds():
    assert proved([(3, "tanh")], weights(3)) == set(descent._PROOFS)


# --- small cases ----------------------------------------------------------------------------------------------------

RISES = [
    # memory, energy, start, E there and at its end: exact by the closed forms of tanh, GELU and ReLU.
    (fh.Memory([[0.5]], 0.1, "tanh"), fh.Energy(alpha=-1.0), [1.0], "alpha = -1 is negative"),
    (fh.Memory([[0.5]], 0.1, "tanh", variable="u"), fh.Energy(beta=-1.0), [1.0], "has a negative eigenvalue"),
    (fh.Memory([[0.5]], 0.1, variable="u", R="gradient"), fh.Energy(gamma=-1.0), [1.0], "gamma S = -1 I is negative"),
    (fh.Memory([[0.5]], 0.1, variable="v"), fh.Energy(beta=-1.0), [1.0], "beta = -1 is negative"),
    (fh.Memory([[0.0]], [-1.0], "gelu", variable="u", R="hessian"), "E3", [1.0], "gelu is not monotone"),
    (fh.Memory([[0, 0.9], [0.9, 0]], 0.1, "relu", R="hessian"), "10", [0.05, -3.0], "not known to descend"),
]


@pytest.mark.parametrize(("memory", "kind", "start", "words"), RISES)
def test_what_rises_is_not_promised(memory, kind, start, words):
    [reason] = fh.why_not_lyapunov(memory, kind)
    assert words in reason
    path = fh.simulate(memory, [start], t_end=3, dt=0.01, save_at=[0, 0.5, 1, 3]).states[:, 0]
    with pytest.warns(RuntimeWarning, match="need not decrease here"):
        values = np.array([fh.energy(memory, state, kind) for state in path])
    assert values.max() > values[0] + 1e-3


def test_the_rises_in_numbers():
    # GELU, W = 0: u̇ = −c (g − u)… with g = GELU(−1) = −.158655 and Λ = −.083316, E = ½ (u − g)² grows as e^{.166 t}.
    memory = RISES[4][0]
    g, slope = -special.ndtr(-1.0), special.ndtr(-1.0) - np.exp(-0.5) / np.sqrt(2 * np.pi)
    state = fh.simulate(memory, [[1.0]], t_end=3.9, dt=0.01).state[0]
    with pytest.warns(RuntimeWarning, match="gelu is not monotone"):
        values = [fh.energy(memory, at) for at in ([1.0], state)]
    np.testing.assert_allclose(values, [(1 - g) ** 2 / 2, (1 - g) ** 2 / 2 * np.exp(-2 * slope * 3.9)], rtol=1e-9)
    # ReLU, (10): h = (.9 · 0 + .1 − .05, .9 · .05 + .1 + 3) at the start; the second neuron is dead and stays.
    memory = RISES[5][0]
    state = fh.simulate(memory, [[0.05, -3.0]], t_end=40, dt=0.01).state[0]
    np.testing.assert_allclose(state, [0.1, -3.0], atol=1e-12)
    with pytest.warns(RuntimeWarning, match="not known to descend on energy '10'; what can is R = 'gradient'"):
        values = [fh.energy(memory, at) for at in ([0.05, -3.0], state)]
    np.testing.assert_allclose(values, [(0.05**2 + 3.145**2) / 2, 3.19**2 / 2], rtol=1e-12)


@pytest.mark.parametrize(("memory", "kind", "start", "words"), RISES)
def test_a_false_promise_is_found(monkeypatch, memory, kind, start, words):
    """The check above fails where it should."""
    assert violations(memory, memory.system.factor.name, [kind], np.array([start])) == ([], [])
    monkeypatch.setattr(fh, "why_not_lyapunov", lambda *given: [])
    found, promised = violations(memory, memory.system.factor.name, [kind], np.array([start]))
    assert promised == [kind]
    assert len(found) == 1


W, FREE = weights(4)["symmetric"], weights(4)["free"]
POSITIVE = weights(4)["positive"]


@pytest.mark.parametrize(
    ("memory", "kind"),
    [
        *((fh.Memory(W, 0.1, g), kind) for g in ("tanh", "relu", "softmax", "exp") for kind in ("2", fh.Energy(2.0))),
        *((fh.Memory(W, 0.1, g), "3") for g in ("tanh", "sigmoid", fh.LeakyReLU(0.2))),
        (fh.Memory(W, tau=np.arange(4) + 1.0), "2"),
        (fh.Memory(W, tau=2.0, activation="softmax"), "2"),
        (fh.Memory(W, R=np.diag([1.0, 2.0, 0.0, 3.0])), "2"),
        (fh.Memory(W, R="hessian", activation="gelu"), "2"),
        *((fh.Memory(FREE, 0.1, g, R="gradient"), "10") for g in ("tanh", "gelu", "softmax", "exp")),
        (fh.Memory(FREE, R="gradient"), fh.Energy(gamma=-1.0, S=-2.0 * np.eye(4))),
        (fh.Memory(W, variable="u"), "E1"),
        (fh.Memory(POSITIVE, variable="u"), "E2"),
        (fh.Memory(-POSITIVE, variable="u"), fh.Energy(beta=-1.0)),
        (fh.Memory(POSITIVE, variable="u"), fh.Energy(1.0, 2.0)),
        *((fh.Memory(W, 0.1, g, variable="u", R=R), "E2") for g in ("gelu", "tanh") for R in ("weights", "polar")),
        *((fh.Memory(W, variable="u", R=R, dtype=np.float32), "E2") for R in ("weights", "polar")),
        *((fh.Memory(weights(4)[name], variable="u", R="polar"), "E2") for name in ("singular", "negative", "none")),
        (fh.Memory(1e170 * W, variable="u", R="weights"), "E2"),
        (fh.Memory(1e-170 * W, variable="u", R="weights"), "E2"),
        (fh.Memory(POSITIVE, variable="u", R=fh.lyapunov(POSITIVE)), "E2"),
        *((fh.Memory(FREE, 0.1, g, variable="u", R="gradient"), "E3") for g in ("gelu", "power", "sphere")),
        (fh.Memory(-POSITIVE, 0.1, "exp", variable="u", R="hessian"), "E3"),
        (fh.Memory(np.eye(4), 0.1, "relu", variable="u", R="hessian"), "E3"),
        *((fh.Memory(W, variable="u", R=fh.OrthogonalFactor(kind)), kind) for kind in ("E1", "E2", "E3")),
        *(
            (fh.Memory(FREE, 0.1, "gaussian", variable=v, R=R), kind)
            for v, R, kind in (("u", fh.OrthogonalFactor("E3"), "E3"), ("v", None, "simplest"))
        ),
    ],
    ids=str,
)
def test_what_is_known_to_fall_is_promised(memory, kind):
    assert fh.why_not_lyapunov(memory, kind) == []


@pytest.mark.parametrize(
    ("memory", "kind", "words"),
    [
        (fh.Memory(FREE), "2", "W is not symmetric."),
        (fh.Memory(W, 0.1, "relu"), "3", "(3) is not defined for relu, which is not strictly monotone."),
        (fh.Memory(W, R=np.diag([1.0, -2.0, 0.0, 3.0])), "2", "R = 'matrix' is not a diagonal matrix of numbers ≥ 0"),
        (
            fh.Memory(W, R=np.diag([1.0, 2, 0, 3]), activation="softmax"),
            "2",
            "is not constant within a block of softmax",
        ),
        (fh.Memory(W, variable="u", R=np.diag([1.0, 2, 0, 3])), "E1", "is not a multiple of the identity"),
        (
            fh.Memory(W, R="gradient"),
            "2",
            "R = 'gradient' is not known to descend on energy '2'; what can is R = 'iden",
        ),
        (fh.Memory(W, variable="u"), "E3", "what can is R = 'gradient', 'hessian'."),
        (
            fh.Memory(W, R="gradient"),
            fh.Energy(gamma=1.0, S=np.diag([1.0, 2, 3, 4])),
            "S is not a multiple of the ident",
        ),
        (fh.Memory(W, variable="u", R=fh.OrthogonalFactor("E1")), fh.Energy(2.0), "R was made for another energy."),
        (fh.Memory(FREE, variable="u", R=fh.OrthogonalFactor("E1")), "E1", "W is not symmetric."),
        (fh.Memory(1e170 * W, variable="u"), "E2", "beta (RᵀW + W R) has a negative eigenvalue for R = 'identity'."),
        (fh.Memory([W, -W], variable="u"), "E2", "beta (RᵀW + W R) has a negative eigenvalue for R = 'identity'."),
    ],
    ids=str,
)
def test_the_reason_is_a_sentence(memory, kind, words):
    [reason] = fh.why_not_lyapunov(memory, kind)
    assert words in reason
    assert reason.endswith(".")


def test_no_table_has_an_energy_that_may_rise():
    memory = RISES[5][0]
    assert fh.census(memory, [[0.05, -3.0]])["energy"].isna().all()
    assert fh.steady_states(memory)["energy"].isna().all()
    assert fh.steady_states(fh.Memory(memory.W, memory.b, "relu", R="gradient"))["energy"].notna().all()
