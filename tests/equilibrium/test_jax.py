"""The JAX face against JAX itself: gradients of unrolled iterations, and optimistix's implicit ones."""

import jax
import numpy as np
import optimistix
import pytest

import fasthop as fh

jax.config.update("jax_enable_x64", True)
jnp = jax.numpy


def problem(n=12, batch=5, rho=0.8, seed=0):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((n, n))
    return (
        rho * W / np.abs(np.linalg.eigvals(W)).max(),
        0.3 * rng.standard_normal(n),
        *rng.standard_normal((2, batch, n)),
    )


def loss_of(settle, starts, goal):
    return lambda W, b: jnp.sum((settle(W, b, starts) - goal) ** 2 * jnp.cos(goal))


def unrolled(W, b, starts, count=600):
    return jax.lax.scan(lambda y, _: (jnp.tanh(y) @ W.T + b, None), starts, None, length=count)[0]


def test_gradients_are_those_of_unrolled_iterations():
    W, b, starts, goal = problem()
    settle = fh.jax_settle(fh.Memory(W), tolerance=1e-13)
    found = jax.grad(loss_of(settle, starts, goal), argnums=(0, 1))(W, b)
    due = jax.grad(loss_of(unrolled, starts, goal), argnums=(0, 1))(jnp.array(W), jnp.array(b))
    for mine, theirs in zip(found, due, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10 * np.abs(theirs).max())
    # A gradient of something else is seen.
    assert np.abs(found[0] - 1.001 * due[0]).max() > 1e-5


def test_it_can_be_compiled_mapped_and_composed():
    W, b, starts, goal = problem()
    settle = fh.jax_settle(fh.Memory(W), tolerance=1e-13)
    loss = loss_of(settle, starts, goal)
    plain = jax.grad(lambda b: loss(2 * jnp.array(W) / 2, jnp.sin(b)))(b)
    np.testing.assert_allclose(jax.jit(jax.grad(lambda b: loss(jnp.array(W), jnp.sin(b))))(b), plain, rtol=1e-10)
    many = jax.vmap(jax.grad(loss, argnums=1), in_axes=(None, 0))(jnp.array(W), jnp.stack([b, 2 * b]))
    np.testing.assert_allclose(many[1], jax.grad(loss, argnums=1)(W, 2 * b), rtol=1e-10)
    np.testing.assert_array_equal(jax.grad(lambda start: jnp.sum(settle(W, b, start)))(starts), 0)


def test_float32_stays_float32():
    W, b, starts, goal = (np.float32(array) for array in problem())
    settle = fh.jax_settle(fh.Memory(W))
    dW, db = jax.grad(loss_of(settle, starts, goal), argnums=(0, 1))(W, b)
    assert dW.dtype == db.dtype == np.float32
    due = jax.grad(loss_of(unrolled, starts.astype(float), goal.astype(float)))(W.astype(float), b.astype(float))
    np.testing.assert_allclose(dW, due, atol=2e-3 * np.abs(due).max())


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("n", [20, 80])
def test_gradient_is_the_implicit_one_of_optimistix(n, symmetric):
    W, b, starts, e = problem(n)
    W = (W + W.T) / 2 if symmetric else W
    ends = fh.settle(fh.Memory(W, b), starts, tolerance=1e-13)
    solver = optimistix.Newton(rtol=1e-13, atol=1e-13)

    def loss(parameters, start, e):
        def gap(y, parameters):
            return parameters[0] @ jnp.tanh(y) + parameters[1] - y

        return optimistix.root_find(gap, solver, start, parameters, max_steps=64).value @ e

    total = jax.jit(jax.grad(lambda p: jax.vmap(loss, in_axes=(None, 0, 0))(p, ends.state, e).sum()))
    due = total((jnp.array(W), jnp.array(b)))
    found = fh.gradient(fh.Memory(W, b), ends.state, e)
    for mine, theirs in zip((found.dW, found.db), due, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-10 * np.abs(theirs).max())


def test_powers_are_differentiated_as_powers():
    W, b, starts, goal = problem(rho=0.5)
    due, found = (
        jax.grad(loss_of(fh.jax_settle(fh.Memory(W, activation=kind), tolerance=1e-13), starts, goal))(W, b)
        for kind in ("identity", fh.Power(2))
    )
    np.testing.assert_allclose(found, due, rtol=1e-9, atol=1e-9)
