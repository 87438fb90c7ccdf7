"""`jaxfacs bench graph-memory`: what a training step of an AU graph needs, lean and plain."""

from typing import Any

from jaxfacs.bench.timing import machine
from jaxfacs.errors import UserError

GIGABYTE = 1e9
STRIDE = 32  # of the backbones' last map: 7 x 7 places at 224 px


def main(
    *,
    nodes: int = 27,
    batch: int = 64,
    backbone: str = "resnet50",
    size: int = 224,
    whole: bool = True,
    budget_gb: float = 80.0,
) -> None:
    """Prints the compiler's own count of memory for ME-GraphAU's stage 2, in both forms of edges.

    Forward, losses, backward and AdamW are compiled for this machine from shapes alone, so nothing
    of that size is allocated. The head alone first, on a backbone's last map, then the whole
    network. Each form is compiled by itself, which takes from seconds to minutes.

    Args:
      nodes: AUs; OpenGraphAU has 27.
      batch: pictures in a step.
      backbone: whose map, and whose network; resnet50 and swin_b have C = 512.
      size: of the pictures, in pixels.
      whole: compiles the network with its backbone as well.
      budget_gb: of the accelerator.
    """
    if min(nodes, batch, size) < 1:
        raise UserError("--nodes, --batch and --size must be at least 1")
    print(f"ME-GraphAU stage 2, {nodes} nodes, batch {batch}, {backbone} at {size} px, float32")
    print(machine("jax", "jaxlib", "flax"))
    print(f"{'':<16}{'temporary':>12}{'state, input':>14}{'peak':>10}{'TFLOP':>8}")
    for part in ("head", "network") if whole else ("head",):
        for lean in (True, False):
            temporary, given, flops = step_cost(
                part, nodes=nodes, batch=batch, backbone=backbone, size=size, lean=lean
            )
            peak = temporary + given
            verdict = "fits" if peak <= budget_gb * GIGABYTE else "does not fit"
            sizes = zip((temporary, given, peak), (12, 14, 10), strict=True)
            row = "".join(f"{f'{value / GIGABYTE:.2f} GB':>{width}}" for value, width in sizes)
            label = f"{part}, {'lean' if lean else 'plain'}"
            print(f"{label:<16}{row}{flops / 1e12:>8.2f}  {verdict} {budget_gb:g} GB", flush=True)


def step_cost(
    part: str, *, nodes: int, batch: int, backbone: str, size: int, lean: bool
) -> tuple[int, int, float]:
    """Bytes of temporaries, bytes of state and input, and FLOPs of one compiled training step.

    `part` is "network", or "head" for the head on a map that needs a gradient.
    """
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from jaxfacs import models
    from jaxfacs.train import losses

    def make() -> Any:
        net: Any = models.create(
            "me_graphau", rngs=nnx.Rngs(0), num_aus=nodes, backbone=backbone, lean=lean
        )
        return net if part == "network" else net.head

    def run(module: Any, x: jax.Array) -> dict[str, jax.Array]:
        if part == "network":
            return module(x, train=True, dropout_key=jax.random.key(0))  # Swin's drop path
        return module({"map": x}, train=True, dropout_key=None)

    net = nnx.eval_shape(make)
    graphdef, params, stats = models.split(net)
    channels = net.global_linear.fc.kernel.shape[0] if part == "head" else 3
    places = -(-size // STRIDE)
    shape = (batch, places, places, channels) if part == "head" else (batch, 1, size, size, 3)
    optimiser = optax.adamw(1e-4)

    def step(state, x, label_BA):
        params, stats, moments = state

        def loss(params, x):
            module: Any = nnx.merge(graphdef, params, stats, copy=True)
            outputs = run(module, x)
            terms = (
                losses.weighted_asymmetric(outputs["probability"], label_BA),
                losses.edge_cross_entropy(outputs["edge"], label_BA),
            )
            new = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
            return sum(total / weight for total, weight in terms), new

        (gradients, to_backbone), new = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)
        updates, moments = optimiser.update(gradients, moments, params)
        kept = to_backbone if part == "head" else None  # the network's input needs no gradient
        return (optax.apply_updates(params, updates), new, moments), kept

    state = jax.eval_shape(lambda p, s: (p, s, optimiser.init(p)), params, stats)
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    label = jax.ShapeDtypeStruct((batch, nodes), jnp.int8)
    compiled = jax.jit(step, donate_argnums=0).lower(state, x, label).compile()
    found: Any = compiled.memory_analysis()
    if found is None:
        raise UserError("this backend's compiler does not report memory; try JAX_PLATFORMS=cpu")
    flops = (compiled.cost_analysis() or {}).get("flops", float("nan"))
    return found.temp_size_in_bytes, found.argument_size_in_bytes, flops
