"""Trajectories that are held where Λ jumps, told from those that move, and from orbits."""

import numpy as np
import pytest

import fasthop as fh


def ring(seed, neurons=4, radius=1.5):
    W = fh.goe(neurons, 1, seed=seed)[0]
    return W * radius / np.abs(np.linalg.eigvalsh(W)).max()


@pytest.mark.parametrize("b", [0.5, 1.0])
def test_the_same_starts_are_held_at_every_step(b):
    """Chatter that falls back in one long step and comes again in eleven short ones, and in three at another step."""
    memory = fh.Memory(ring(9), b, "relu", R="gradient")
    starts = fh.Uniform(-3, 3).draw(40, 4, seed=1)
    kinds = [fh.settle(memory, starts, dt=dt).kind for dt in (None, 0.1, 0.05, 0.02)]
    assert (kinds[0] == "kink").sum() > 20
    assert (kinds[0] == "settled").sum() >= 10
    for other in kinds[1:]:
        np.testing.assert_array_equal(other, kinds[0])


@pytest.mark.parametrize("R", ["gradient", "gradient-as-printed"])
@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_what_is_held_stays_at_a_jump(name, R):
    """Every kink end has a neuron at 0, to a few steps, and stays there; what is unsettled is somewhere else later."""
    for seed in range(6):
        memory = fh.Memory(ring(seed), 1.0, name, R=R)
        ends = fh.settle(memory, fh.Uniform(-3, 3).draw(24, 4, seed=2), t_max=2000)
        held = ends.state[ends.kind == "kink"]
        if len(held):
            dt = float(ends.dt)
            later = fh.simulate(memory, held, t_end=500 * dt, dt=dt, save_at=np.arange(501) * dt).states
            longest = np.abs(np.diff(later, axis=0)).max(axis=(0, 2))
            assert (np.ptp(later, axis=0).max(axis=1) <= 6 * longest).all()
            assert (np.abs(held).min(axis=1) <= 2 * longest).all()
            assert (ends.residual[ends.kind == "kink"] > 1e-5).all()


def test_a_smooth_memory_has_no_kink():
    """Euler's method beyond its stable step hops for ever between two places under tanh, whose Λ does not jump."""
    memory = fh.Memory([[-3.0]], 0.3, "tanh", R="gradient")
    ends = fh.settle(memory, [[0.5], [2.0]], method="euler", dt=0.3, t_max=3000)
    assert ends.kind.tolist() == ["unsettled", "unsettled"]


def test_an_orbit_of_many_steps_is_no_kink():
    """Rotation under an R that depends on Λ, in a corner where no neuron is dead: leaky ReLU about (5, 5)."""
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    W = np.eye(2) + 0.2 * turn  # about a state at which the real part of W − I is 0
    b = np.array([5.0, 5.0]) - W @ [5.0, 5.0]
    memory = fh.Memory(W, b, "leaky_relu", R="hessian")  # R = I in that corner
    starts = np.array([[5.0, 5.5], [5.1, 5.0]])
    for dt in (0.5, 2.0):
        ends = fh.settle(memory, starts, dt=dt, t_max=20_000 * dt)
        assert ends.kind.tolist() == ["unsettled", "unsettled"]
