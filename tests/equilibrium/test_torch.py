"""The PyTorch face against PyTorch's own gradient of unrolled iterations."""

import numpy as np
import torch

import fasthop as fh


def test_gradients_are_those_of_unrolled_iterations():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((12, 12))
    W = torch.tensor(0.8 * W / np.abs(np.linalg.eigvals(W)).max(), requires_grad=True)
    b = torch.tensor(0.3 * rng.standard_normal(12), requires_grad=True)
    starts, goal = torch.from_numpy(rng.standard_normal((2, 5, 12)))
    starts.requires_grad_()
    settle = fh.torch_settle(fh.Memory(np.zeros((12, 12))), tolerance=1e-13)

    def gradients(states):
        for tensor in (W, b, starts):
            tensor.grad = None
        (((states - goal) ** 2) * torch.cos(goal)).sum().backward()
        return [tensor.grad.clone() for tensor in (W, b, starts)]

    found = gradients(settle(W, b, starts))
    y = starts
    for _ in range(400):
        y = torch.tanh(y) @ W.T + b
    due = gradients(y)
    for mine, theirs in zip(found[:2], due[:2], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10 * float(theirs.abs().max()))
    assert float((found[0] - 1.001 * due[0]).abs().max()) > 1e-5
    assert not found[2].any()


def test_float32_stays_float32():
    W = torch.tensor(0.5 * np.eye(3, dtype=np.float32), requires_grad=True)
    states = fh.torch_settle(fh.Memory(np.eye(3)))(W, torch.full((3,), 0.1), torch.zeros(2, 3))
    assert states.dtype == torch.float32
    states.sum().backward()
    assert W.grad.dtype == torch.float32
