"""orbax-checkpoint: trees and train states are written, listed, restored, and kept by a manager."""

from __future__ import annotations

import pathlib
import sys
import tempfile
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax.training import train_state


def tree() -> dict[str, Any]:
    return {
        "w": jnp.arange(12.0).reshape(3, 4),
        "half": jnp.linspace(0, 1, 5).astype(jnp.bfloat16),
        "count": jnp.array(7, jnp.int32),
        "mask": jnp.array([True, False]),
        "layers": [{"b": jnp.ones(2)}, {"b": jnp.zeros(2)}],
        "plain": np.arange(3),
        "step": 5,
    }


def trees(root: pathlib.Path) -> dict[str, Any]:
    original = tree()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(root / "standard", original)
        checkpointer.wait_until_finished()
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, original)
        back = checkpointer.restore(root / "standard", abstract)
    assert isinstance(back["w"], jax.Array)
    assert back["half"].dtype == jnp.bfloat16
    same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), back, original)
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(root / "tree", original)
        wide = checkpointer.restore(root / "tree")
        metadata = checkpointer.metadata(root / "tree")
    return {
        "same": np.array(all(jax.tree.leaves(same))),
        "w": back["w"],
        "half": back["half"].astype(jnp.float32),
        "names": np.array(sorted(wide)),
        "shape": np.array(metadata.item_metadata.tree["w"].shape),
    }


def managed(root: pathlib.Path) -> dict[str, Any]:
    model = nn.Dense(2)
    x = jnp.linspace(-1, 1, 8).reshape(4, 2)
    params = model.init(jax.random.key(0), x)
    tx = optax.adam(0.1)
    state = train_state.TrainState.create(apply_fn=model.apply, params=params, tx=tx)

    @jax.jit
    def step(state: Any) -> Any:
        grads = jax.grad(lambda p: jnp.mean((state.apply_fn(p, x) - x**2) ** 2))(state.params)
        return state.apply_gradients(grads=grads)

    options = ocp.CheckpointManagerOptions(max_to_keep=2, save_interval_steps=2)
    with ocp.CheckpointManager(root / "run", options=options) as manager:
        for i in range(7):
            state = step(state)
            manager.save(i, args=ocp.args.StandardSave(state))
        manager.wait_until_finished()
        steps = manager.all_steps()
        fresh = train_state.TrainState.create(apply_fn=model.apply, params=params, tx=tx)
        last = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(fresh))
    resumed = step(last)
    composite = root / "composite"
    handler = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
    args = ocp.args.Composite(
        state=ocp.args.StandardSave({"p": last.params}),
        meta=ocp.args.JsonSave({"epoch": 3, "name": "run"}),
    )
    handler.save(composite, args=args)
    meta = handler.restore(composite, ocp.args.Composite(meta=ocp.args.JsonRestore())).meta
    return {
        "steps": np.array(sorted(steps)),
        "count": last.step,
        "kernel": last.params["params"]["kernel"],
        "moment": last.opt_state[0].mu["params"]["kernel"],
        "resumed": resumed.params["params"]["kernel"],
        "meta": np.array([meta["name"], str(meta["epoch"])]),
    }


def main() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        return {k: np.asarray(v) for k, v in {**trees(root), **managed(root)}.items()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
