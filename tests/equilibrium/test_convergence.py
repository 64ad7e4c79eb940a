"""Forward and backward iterations side by side, against the spectra that adjoint theory says they share."""

import numpy as np
import pytest

import fasthop as fh

RNG = np.random.default_rng(36)


def of_radius(rho, n=20):
    W = RNG.standard_normal((n, n))
    return W * rho / np.abs(np.linalg.eigvals(W)).max()


@pytest.mark.parametrize("rho", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("variable", ["y", "u"])
def test_both_contract_at_the_rate_of_the_spectral_radius(rho, variable):
    memory = fh.Memory(of_radius(rho), variable=variable)  # tanh at 0: J = W
    table = fh.equilibrium.contraction(memory, np.zeros((1, 20)))
    row = table.iloc[0]
    assert row.rho == pytest.approx(rho, rel=1e-12)
    assert abs(row.rho - row.rho_transposed) <= 5e-14
    assert row.predicted == pytest.approx(np.log(1e-10) / np.log(rho))
    for name in ("forward", "backward"):
        # A complex pair makes what is left swing by a factor that more iterations wash out.
        assert row[f"{name}_iterations"] == pytest.approx(row.predicted, rel=0.35)
        assert row[f"{name}_rate"] == pytest.approx(rho, abs=0.35 * (1 - rho))


def test_an_iteration_that_diverges_has_no_rate(tmp_path):
    table = fh.equilibrium.contraction(fh.Memory(-2 * np.eye(2)), np.zeros((1, 2)))
    assert table.rho[0] == 2
    assert table.lambda_max[0] == -2
    assert table[["forward_iterations", "backward_iterations", "predicted", "backward_rate"]].isna().all(axis=None)


def test_the_picture_is_drawn(tmp_path):
    table = fh.equilibrium.contraction(fh.Memory(of_radius(0.8)), np.zeros((2, 20)))
    fh.equilibrium.plot_contraction(table, tmp_path / "contraction.png")
    assert (tmp_path / "contraction.png").read_bytes().startswith(b"\x89PNG")


def test_many_memories_are_refused():
    with pytest.raises(ValueError, match="memory must be one memory"):
        fh.equilibrium.contraction(fh.Memory(np.zeros((2, 3, 3))), np.zeros((1, 3)))
