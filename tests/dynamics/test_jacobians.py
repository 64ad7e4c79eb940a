"""J and R (J − I) of many states of K memories at once, against complex steps of the equations in NumPy."""

import numpy as np
import pytest
from scipy import linalg

import fasthop as fh
from fasthop.dynamics.evaluate import thin_curvature
from fasthop.dynamics.jacobians import flow_jacobians, jacobians
from fasthop.model.systems import ALL

RNG = np.random.default_rng(77)
N, K = 5, 2
W = RNG.standard_normal((K, N, N)) / 2
W += np.swapaxes(W, 1, 2)
B = RNG.standard_normal((K, N))
ARGUMENTS, OWNERS = RNG.standard_normal((7, N)), np.array([0, 0, 0, 1, 1, 1, 1])
LAYERS = {
    "elementwise": ([(N, {"name": "tanh", "beta": 1.4})], lambda x: np.tanh(1.4 * x)),
    "softmax": (
        [(3, "softmax"), (2, "tanh")],
        lambda x: np.concatenate([np.exp(x[:3]) / np.exp(x[:3]).sum(), np.tanh(x[3:])]),
    ),
}


#: Every system, and system (1) with time constants; an orthogonal factor jumps, and is looked at elsewhere.
CASES = [("y", "tau"), *((variable, R) for variable, R in ALL if R != "orthogonal factor")]
MATRIX = RNG.standard_normal((K, N, N))


def complex_jacobian(f, x):
    return np.stack([f(x + 1e-30j * unit).imag / 1e-30 for unit in np.eye(N)], axis=1)


@pytest.mark.parametrize("g_name", LAYERS)
@pytest.mark.parametrize(("variable", "R"), CASES)
def test_complex_steps(variable, R, g_name):
    layers, g = LAYERS[g_name]
    tau = np.array([0.5, 0.5, 0.5, 2.0, 1.0]) * np.array([[1.0], [3.0]])
    options = {"tau": tau} if R == "tau" else {"R": MATRIX if R == "matrix" else R}
    memory = fh.Memory(W, B, layers=layers, variable=variable, **options)
    Lam, own = thin_curvature(memory, ARGUMENTS), W[OWNERS]
    J, flow = jacobians(memory, Lam, own), flow_jacobians(memory, Lam, own, OWNERS)
    for i, (x, k) in enumerate(zip(ARGUMENTS, OWNERS, strict=True)):
        state = x if variable == "y" else np.linalg.solve(W[k], x - B[k])
        A = W[k]

        def f(y, A=A, b=B[k]):
            return A @ g(y) + b if variable == "y" else (A.T if variable == "v" else np.eye(N)) @ g(A @ y + b)

        due, dg = complex_jacobian(f, state), complex_jacobian(g, x)
        drive = {
            "identity": np.eye(N),
            "tau": np.diag(1 / tau[k]),
            "weights": A,
            "matrix": MATRIX[k],
            "polar": linalg.polar(A)[0],
            "gradient": np.eye(N) - (A.T @ dg if variable == "u" else dg @ A.T),
            "gradient-as-printed": np.eye(N) - A @ dg,
            "hessian": dg,
        }[R]
        np.testing.assert_allclose(J[i], due, atol=1e-13)
        np.testing.assert_allclose(flow[i], drive @ (due - np.eye(N)), atol=1e-12)
