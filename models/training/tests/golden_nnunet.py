"""What nnU-Net's own networks answer, for test_nnunet.py to compare with where nnU-Net is not installed.

    python tests/golden_nnunet.py        # needs requirements-nnunet.lock; writes tests/golden_nnunet.npz

Weights and inputs follow from the names of parameters and networks, so only outputs and names are kept.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch

import nnunet_folder

FILE = Path(__file__).with_suffix(".npz")
CLASSES = 3
NETWORKS = {
    "3d-plain": ("3d_fullres", [8, 16, 16], {"stages": 3, "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]], "kernels": [[1, 3, 3], [3, 3, 3], [3, 3, 3]]}),
    "3d-residual": ("3d_fullres", [8, 16, 16], {"stages": 3, "residual": True}),
    "2d-plain": ("2d", [32, 32], {"stages": 4}),
    "2d-residual": ("2d", [32, 32], {"stages": 3, "residual": True}),
}


def plans(name: str) -> dict:
    configuration, patch, changes = NETWORKS[name]
    return nnunet_folder.plans(configuration, patch, [1.0] * len(patch), **changes)


def values(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Numbers that follow from a name."""
    return torch.from_numpy(np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.3, shape).astype(np.float32))


@torch.inference_mode()
def answer(name: str, net: torch.nn.Module) -> np.ndarray:
    """Logits (1, CLASSES, *patch) of a network with the weights of its names."""
    for key, p in net.named_parameters():
        p.copy_(values(key, p.shape))
    return net.eval()(values(name, (1, 1, *NETWORKS[name][1]))).numpy()


def main() -> None:
    from importlib.metadata import version

    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    out = {"version": version("nnunetv2")}
    for name, (configuration, _, _) in NETWORKS.items():
        a = plans(name)["configurations"][configuration]["architecture"]
        net = get_network_from_plans(a["network_class_name"], a["arch_kwargs"], a["_kw_requires_import"], 1, CLASSES, deep_supervision=False)
        out[name] = answer(name, net)
        out[f"{name} names"] = json.dumps(sorted(net.state_dict()))
    np.savez_compressed(FILE, **out)


if __name__ == "__main__":
    main()
