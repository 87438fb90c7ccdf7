"""ME-GraphAU and OpenGraphAU against the original code: answers, and a whole training step.

The golden arrays are of tools/goldens/graph_au.py, which ran the originals in float64.
"""

import gradient_check
import jax
import numpy as np
import original
import pytest

from jaxfacs import convert, models
from jaxfacs.train import losses

ANSWERS = [
    "me_graphau_1_resnet50",
    "me_graphau_2_resnet50",
    "me_graphau_1_swin_b",
    "me_graphau_2_swin_b",
    "open_graphau_1_resnet50",
    "open_graphau_2_resnet50",
    "open_graphau_1_vit_b",
    "open_graphau_2_vit_b",
]
# The first stage of a backbone whose second runs it as well: in `make test-long`.
FIRST = ("me_graphau_1_swin_b", "open_graphau_1_vit_b")
SIZE = 224
STEP = (4, 128, 128, 3)
EDGE_WEIGHT = 0.05
RULES = ((r"^global_linear", "head.global_linear"),)


def _filled(file, model, **options):
    """Our network from the original's names alone, which tell its stage and its backbone."""
    drawn = original.drawn()
    state = drawn.draw_state(drawn.unpack_shapes(file))
    for name, factor in zip(file.get("factor_names", []), file.get("factors", []), strict=True):
        state[str(name)] = state[str(name)] * factor
    return convert.from_torch(model, {f"module.{name}": v for name, v in state.items()}, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.long) if n in FIRST else n for n in ANSWERS]
)
def test_answers_equal_the_originals(name):
    file = original.golden(name)
    still = {"drop_path": 0.0} if "swin" in name else {}
    net = _filled(file, name[: name.index("graphau") + len("graphau")], **still)
    draw_input = original.drawn().draw_input
    modes = {
        "infer_": (draw_input((1, 1, SIZE, SIZE, 3)), False),
        "train_": (draw_input((4, 1, SIZE, SIZE, 3), seed=8), True),
    }
    for prefix, (x_BTHWC, train) in modes.items():
        expected = {k.removeprefix(prefix): v for k, v in file.items() if k.startswith(prefix)}
        outputs = original.run(net, x_BTHWC, train=train)
        assert outputs.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(outputs[key], value, rtol=0, atol=1e-4, err_msg=prefix + key)


@pytest.fixture(scope="module")
def step():
    """(golden arrays, outputs, losses, gradients, statistics) of one training step of stage 2."""
    file = original.golden("me_graphau_step")
    graphdef, params, stats = models.split(_filled(file, "me_graphau"))
    x_BTHWC = original.drawn().draw_input(STEP, seed=int(file["seed"]))[:, None]

    @jax.jit
    def run(params, stats, x_BTHWC):
        def loss(params):
            outputs, new = models.apply(graphdef, params, stats, x_BTHWC, train=True)
            label = file["label_BA"]
            terms = (
                losses.weighted_asymmetric(
                    outputs["probability"], label, label_weight_A=file["weight_A"]
                ),
                losses.edge_cross_entropy(outputs["edge"], label),
            )
            asymmetric, edge = (total / weight for total, weight in terms)
            return asymmetric + EDGE_WEIGHT * edge, (outputs, (asymmetric, edge), new)

        return jax.grad(loss, has_aux=True)(params)

    gradients, (outputs, terms, new) = run(params, stats, x_BTHWC)
    return file, outputs, np.array(terms), gradients, new


def test_step_has_the_originals_losses_and_answers(step):
    file, outputs, terms, _, _ = step
    np.testing.assert_allclose(terms, file["losses"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(outputs["probability"], file["train_probability"], atol=1e-4)
    np.testing.assert_allclose(outputs["edge"], file["train_edge"], rtol=0, atol=1e-4)


def test_step_has_the_originals_gradients(step):
    file, _, _, gradients, _ = step
    assert len(file["gradient_names"]) == len(jax.tree.leaves(gradients))
    shapes = original.drawn().unpack_shapes(file)
    assert gradient_check.wrong_gradients(file, shapes, gradients, RULES) == {}


def test_step_moves_the_running_means_as_the_original(step):
    file, _, _, _, new = step
    shapes = original.drawn().unpack_shapes(file)
    for name, norm in zip(file["statistic_names"].tolist(), file["statistic_norms"], strict=True):
        ours = gradient_check.in_torch(new, name, shapes[name], RULES)
        assert np.linalg.norm(ours) == pytest.approx(norm, rel=1e-5), name
