"""A result folder as nnU-Net v2 writes it, with a tiny network that was trained for seconds on a phantom."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from ich.bundles.nnunet.unet import Arch, NNUNet

CT = {"percentile_00_5": -20.0, "percentile_99_5": 90.0, "mean": 35.0, "std": 18.0, "max": 1500.0, "min": -1024.0, "median": 34.0}
RESAMPLING = "resample_data_or_seg_to_shape"


def plans(configuration: str, patch: list[int], spacing: list[float], residual: bool = False, stages: int = 3, features: int = 4, most: int = 16,
          strides: list | None = None, kernels: list | None = None, forward: tuple[int, int, int] = (0, 1, 2)) -> dict:
    dim = len(patch)
    conv, norm = f"torch.nn.modules.conv.Conv{dim}d", f"torch.nn.modules.instancenorm.InstanceNorm{dim}d"
    blocks = {"n_blocks_per_stage": [1, *[2] * (stages - 1)]} if residual else {"n_conv_per_stage": [2] * stages}
    kwargs = {
        "n_stages": stages, "features_per_stage": [min(features * 2**i, most) for i in range(stages)], "conv_op": conv,
        "kernel_sizes": kernels or [[3] * dim] * stages, "strides": strides or [[1] * dim] + [[2] * dim] * (stages - 1), **blocks,
        "n_conv_per_stage_decoder": [2] * (stages - 1) if not residual else [1] * (stages - 1), "conv_bias": True, "norm_op": norm,
        "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    name = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    own = {
        "data_identifier": f"nnUNetPlans_{configuration}", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2, "patch_size": patch,
        "median_image_size_in_voxels": [float(p) for p in patch], "spacing": spacing, "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False], "resampling_fn_data": RESAMPLING, "resampling_fn_seg": RESAMPLING, "resampling_fn_probabilities": RESAMPLING,
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
        "architecture": {"network_class_name": f"dynamic_network_architectures.architectures.unet.{name}", "arch_kwargs": kwargs,
                         "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"]},
        "batch_dice": True,
    }
    return {
        "dataset_name": "Dataset950_Phantom", "plans_name": "nnUNetPlans", "original_median_spacing_after_transp": [5.0, 0.9, 0.9],
        "original_median_shape_after_transp": [30, 256, 256], "image_reader_writer": "SimpleITKIO", "transpose_forward": list(forward),
        "transpose_backward": [forward.index(i) for i in range(3)], "configurations": {configuration: own},
        "experiment_planner_used": "ExperimentPlanner", "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": CT},
    }


def dataset(labels: dict) -> dict:
    return {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"}


def arch(p: dict, configuration: str) -> Arch:
    from ich.bundles.nnunet.plans import architecture

    return architecture(Path("plans.json"), p["configurations"][configuration])


def train(net: torch.nn.Module, hu: np.ndarray, label: np.ndarray, patch: tuple[int, ...], steps: int, seed: int) -> None:
    """A few steps of cross-entropy on patches around blood. hu, label: (S, H, W) at the spacing of the plans; label 0 .. classes - 1."""
    rng = np.random.default_rng(seed)
    x = (np.clip(hu, CT["percentile_00_5"], CT["percentile_99_5"]) - CT["mean"]) / CT["std"]
    size = np.array((1, *patch) if len(patch) == 2 else patch)
    pad = [(0, max(0, s - n)) for s, n in zip(size, x.shape)]
    x, y = np.pad(x, pad), np.pad(label, pad)
    blood = np.argwhere(y > 0)
    opt = torch.optim.Adam(net.parameters(), 4e-3 if net.encoder.residual else 1e-2)
    classes = net.decoder.seg_layers[-1].out_channels
    weight = torch.tensor([1.0] + [8.0] * (classes - 1))  # so that a few steps find some blood
    for _ in range(steps):
        corner = (blood[rng.integers(len(blood))] if len(blood) and rng.random() < 0.7 else rng.integers(0, x.shape) if len(blood) else np.array(x.shape) // 2) - rng.integers(0, size)
        corner = np.clip(corner, 0, np.array(x.shape) - size)
        cut = tuple(slice(c, c + s) for c, s in zip(corner, size))
        a, b = x[cut], y[cut]
        if len(patch) == 2:
            a, b = a[0], b[0]
        opt.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(torch.from_numpy(a[None, None].astype(np.float32))), torch.from_numpy(b[None].astype(np.int64)), weight)
        loss.backward()
        opt.step()


def checkpoint(net: NNUNet, p: dict, d: dict, configuration: str, fold: int, mirror: tuple[int, ...] | None) -> dict:
    """As nnUNetTrainer.save_checkpoint writes it: duplicates of each parameter, numpy scalars in the log."""
    own = net.state_dict()
    weights = {}
    for name, value in own.items():
        weights[name] = value
        if ".conv." in name or ".norm." in name:
            weights[name.replace(".conv.", ".all_modules.0.").replace(".norm.", ".all_modules.1.")] = value
    for s in range(len(net.decoder.seg_layers) - 1):  # deep supervision: written, never used again
        last = weights[f"decoder.seg_layers.{len(net.decoder.seg_layers) - 1}.weight"]
        features = own[f"decoder.stages.{s}.convs.0.conv.weight"].shape[0]
        weights[f"decoder.seg_layers.{s}.weight"] = torch.zeros(last.shape[0], features, *last.shape[2:])
        weights[f"decoder.seg_layers.{s}.bias"] = torch.zeros(last.shape[0])
    for name, value in list(weights.items()):
        if name.startswith("encoder."):
            weights["decoder." + name] = value
    return {
        "network_weights": weights, "optimizer_state": {"state": {}, "param_groups": []}, "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5)], "ema_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(0.1)], "lrs": [0.01],
                    "dice_per_class_or_region": [[np.float64(0.5)]]},
        "_best_ema": np.float64(0.5), "current_epoch": 1,
        "init_args": {"plans": p, "configuration": configuration, "fold": fold, "dataset_json": d, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer", "inference_allowed_mirroring_axes": mirror,
    }


def write(folder: Path, configuration: str = "3d_fullres", patch: list[int] | None = None, spacing: list[float] | None = None, labels: dict | None = None,
          folds: int = 1, mirror: bool = True, steps: int = 0, scan: tuple | None = None, seed: int = 0, **changes) -> Path:
    """The folder. scan: (hu, label) at the spacing of the plans to train on for `steps`; without, the weights are random."""
    patch = patch or ([16, 32, 32] if configuration == "3d_fullres" else [64, 64])
    spacing = spacing or ([5.0, 2.0, 2.0] if configuration == "3d_fullres" else [2.0, 2.0])
    labels = labels or {"background": 0, "ICH": 1}
    p, d = plans(configuration, patch, spacing, **changes), dataset(labels)
    folder = Path(folder)
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(p, indent=1))
    (folder / "dataset.json").write_text(json.dumps(d, indent=1))
    for fold in range(folds):
        torch.manual_seed(seed + fold)
        net = NNUNet(arch(p, configuration), len([k for k in labels if k != "ignore"]))
        if steps:
            train(net.train(), *scan, tuple(patch), steps, seed + fold)
        (folder / f"fold_{fold}").mkdir()
        torch.save(checkpoint(net, p, d, configuration, fold, tuple(range(len(patch))) if mirror else None), folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder
