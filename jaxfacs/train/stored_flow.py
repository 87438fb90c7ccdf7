"""Whether the flow that the records hold is the flow that the network would find itself."""

from jaxfacs import models
from jaxfacs.data import flow
from jaxfacs.errors import UserError
from jaxfacs.models.flow_input import FlowStack
from jaxfacs.train.config import Experiment


def check(experiment: Experiment) -> None:
    """Raises UserError where stored flow would be taken for something else, or by nobody.

    The network counts its channels; that they are of other parts or another scale it cannot see.
    """
    data, model = experiment.data, experiment.model
    if not data.flow:
        return
    if "flow_limit" not in models.options(model.name):
        raise UserError(
            f"data.flow {data.flow}: {model.name} takes no optical flow; leave data.flow out, or "
            "train two_stream"
        )
    own = FlowStack()
    for name, usual, stored in (
        ("components", own.components, data.flow),
        ("flow_limit", own.limit, data.flow_limit),
        ("preceding", own.preceding, flow.PRECEDING),
        ("succeeding", own.succeeding, flow.SUCCEEDING),
        ("borders", own.borders, "zero"),
        ("flow_mean", own.mean, 0.0),
    ):
        wanted = model.options.get(name, usual)
        if wanted != stored:
            raise UserError(
                f"stored flow has {name} {stored}, and the network's option is {wanted}; give both "
                "the same (data.flow, data.flow_limit; model.options)"
            )
