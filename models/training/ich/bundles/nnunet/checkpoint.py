"""Reads an nnU-Net checkpoint: weights and a few plain values. Nothing in it is executed.

torch.load with weights_only builds only tensors, plain containers and what `SAFE` names: the scalars of numpy that nnU-Net
keeps in its training log. A pickle that asks for anything else is refused.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...datasets.volume import DataError

FILES = ("checkpoint_final.pth", "checkpoint_best.pth")
SAFE = [np._core.multiarray.scalar, np.dtype, *(type(np.dtype(t)) for t in (np.float64, np.float32, np.float16, np.int64, np.int32, np.bool_))]
# numpy 1 wrote the same function under its old name
SAFE.append((np._core.multiarray.scalar, "numpy.core.multiarray.scalar"))


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    weights: dict
    trainer: str
    configuration: str
    mirror_axes: tuple[int, ...]
    epochs: int


def read(path: Path) -> Checkpoint:
    """One fold's checkpoint, or one line why not."""
    path = Path(path)
    try:
        with torch.serialization.safe_globals(SAFE):
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(path, "missing", "copy the whole result folder") from None
    except pickle.UnpicklingError as err:
        raise DataError(path, f"a pickle with more than weights ({asked(err)}), which could run code when read; nothing of it was run",
                        "get the checkpoint as nnU-Net wrote it") from None
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, OSError) as err:
        raise DataError(path, f"damaged, or not a PyTorch file ({type(err).__name__})", "copy it again") from None
    if not isinstance(saved, dict) or not isinstance(saved.get("network_weights"), dict):
        older = isinstance(saved, dict) and "state_dict" in saved
        raise DataError(path, "a checkpoint of nnU-Net v1" if older else "no network_weights in it",
                        "train it again with nnU-Net v2" if older else "give a result folder of nnU-Net v2")
    weights = saved["network_weights"]
    if not weights or not all(isinstance(v, torch.Tensor) and v.layout == torch.strided and v.device.type == "cpu" and not v.is_quantized for v in weights.values()):
        raise DataError(path, "network_weights are no plain tensors", "get the checkpoint as nnU-Net wrote it")
    if bad := next((k for k, v in weights.items() if v.is_floating_point() and not torch.isfinite(v).all()), None):
        raise DataError(path, f"{bad} holds values that are no numbers", "the training diverged; use another checkpoint")
    init, axes = saved.get("init_args"), saved.get("inference_allowed_mirroring_axes")
    configuration = init.get("configuration") if isinstance(init, dict) else None
    if not isinstance(configuration, str):
        raise DataError(path, "does not say its configuration", "give a checkpoint of nnU-Net v2")
    if axes is not None and not (isinstance(axes, (tuple, list)) and all(isinstance(a, int) for a in axes) and len(set(axes)) == len(axes)):
        raise DataError(path, f"mirroring axes {axes!r}", "get the checkpoint as nnU-Net wrote it")
    epochs = saved.get("current_epoch")
    return Checkpoint(path, weights, str(saved.get("trainer_name", "")), configuration, tuple(axes or ()), epochs if isinstance(epochs, int) else 0)


def asked(err: Exception) -> str:
    """The name that an unsafe pickle asked for."""
    for word in str(err).replace("`", " ").split():
        if "." in word and not word.endswith(".") and word[0].isalpha() and "torch" not in word and "http" not in word:
            return word.strip(",.()")
    return "an unknown class"


def find(folder: Path, folds: tuple[str, ...] | None, name: str | None) -> list[Path]:
    """The checkpoints of a result folder, fold by fold; fold_all only where there is no other, as nnU-Net does."""
    folder = Path(folder)
    found = {p.name.removeprefix("fold_"): p for p in sorted(folder.glob("fold_*"), key=lambda p: (len(p.name), p.name)) if p.is_dir()}
    found = {k: p for k, p in found.items() if k == "all" or k.isdecimal()}
    if not found:
        raise DataError(folder, "no fold_* folder", "give the folder <trainer>__<plans>__<configuration> of nnUNet_results")
    if folds is None:
        chosen = [p for k, p in found.items() if k != "all"] or list(found.values())
        trained = [p for p in chosen if any((p / n).is_file() for n in ((name,) if name else FILES))]
        if not trained:
            raise DataError(folder, f"no fold holds {name or FILES[0]}", "copy the whole result folder, or name the file with --checkpoint")
        chosen = trained  # the others were not trained
    else:
        for f in folds:
            if f not in found:
                raise DataError(folder / f"fold_{f}", "missing", f"there are {', '.join(found)}: name them with --folds")
            if folds.count(f) > 1:
                raise DataError("--folds", f"{f} twice", "name each fold once")
        chosen = [found[f] for f in folds]
    if name is None:
        name = FILES[0] if any((p / FILES[0]).is_file() for p in chosen) else FILES[1]  # nnU-Net takes one kind, too
    for p in chosen:
        if not (p / name).is_file():
            other = next((n for n in FILES if (p / n).is_file()), None)
            raise DataError(p / name, "missing", f"its training has not ended (there is {other}): leave it out with --folds, or give --checkpoint {other}" if other else
                            "copy the whole result folder, or name the file with --checkpoint")
    return [p / name for p in chosen]
