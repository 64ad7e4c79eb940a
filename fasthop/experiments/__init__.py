"""The experiments that a spec file can name."""

from fasthop.experiments import basins, capacity, certainty, dead, ends, memories, radii, slices
from fasthop.experiments.digit_learning import CLASSIFICATION, COMPLETION
from fasthop.experiments.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    kind.name: kind
    for kind in (
        *(capacity.EXPERIMENT, basins.EXPERIMENT, ends.EXPERIMENT, radii.EXPERIMENT, slices.EXPERIMENT),
        *(memories.EXPERIMENT, dead.EXPERIMENT, certainty.EXPERIMENT, CLASSIFICATION, COMPLETION),
    )
}
