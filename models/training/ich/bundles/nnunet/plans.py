"""What a result folder of nnU-Net v2 says: plans.json and dataset.json. Each thing that ichor cannot run is refused in one line."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from ...datasets.volume import DataError
from ...product.config import SUBTYPES
from .unet import Arch

CONFIGURATIONS = ("2d", "3d_fullres")
NOT_BLOOD = "-"
ANY = ("any", "ICH")
RESAMPLING = "resample_data_or_seg_to_shape"
AXES = ("slices", "rows", "columns")
ANISOTROPIC = 3  # pipeline/nnunet/grid.go
MOST_VOXELS = 1 << 24  # of a patch: models/bundle/nnunet.go
NETWORKS = {"PlainConvUNet": False, "ResidualEncoderUNet": True}
V2 = "give the result folder of a training with nnU-Net v2"


@dataclass(frozen=True)
class Plans:
    """Sizes and spacings in our order: slices, rows, columns; patch[0] is 1 and spacing[0] 0 for 2d."""

    configuration: str  # 2d or 3d_fullres, whatever its name is
    patch: tuple[int, int, int]
    spacing: tuple[float, float, float]
    clip: tuple[float, float]
    mean: float
    std: float
    forward: tuple[int, int, int]  # nnU-Net's transpose_forward: axis i of its arrays is axis forward[i] of ours
    orientation: str  # where columns, rows and slices of the training images rise to
    arch: Arch
    classes: tuple[str, ...]  # name of each channel
    dataset: str
    name: str

    @property
    def turn(self) -> tuple[int, ...] | None:
        """Axes of nnU-Net's patch as of ours; of a 2d patch, whose axes are rows and columns."""
        return self.forward if self.arch.dim == 3 else tuple(f - 1 for f in self.forward[1:])

    def ours(self, axes: tuple[int, ...]) -> list[int]:
        """Mirroring axes of a checkpoint, which count the axes of its patch, as of slices, rows, columns."""
        first = 3 - self.arch.dim
        return sorted(self.forward[a + first] for a in axes)


def load(path: Path) -> dict:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        if (path.parent / "plans.pkl").exists():
            raise DataError(path.parent, "a result folder of nnU-Net v1 (plans.pkl)", "train it again with nnU-Net v2") from None
        near = [p.parent for p in (path.parent.parent / path.name, *sorted(path.parent.glob(f"*/{path.name}"))) if p.is_file()]
        raise DataError(path, "missing", f"give {near[0]}" if len(near) == 1 else f"give one of {', '.join(p.name for p in near)} in it" if near else V2) from None
    except (OSError, ValueError, RecursionError) as err:
        raise DataError(path, f"cannot be read as JSON ({type(err).__name__})", "copy the folder again") from None
    if not isinstance(found, dict):
        raise DataError(path, "not a JSON object", "copy the folder again")
    return found


def read(folder: Path, configuration: str) -> Plans:
    """The plans of one configuration. Errors name the file and the key."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(folder, "no such folder" if not folder.exists() else "a file, not a folder", V2)
    file = folder / "plans.json"
    plans, dataset = load(file), load(folder / "dataset.json")
    try:
        return _plans(file, plans, dataset, configuration)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError, OverflowError) as err:
        what = f"key {err} is missing" if isinstance(err, KeyError) else f"has another form ({' '.join(str(err).split())[:80]})"
        raise DataError(file, what, "it is of another version of nnU-Net: plans of v2.0 to v2.8 are read") from None


def _plans(file: Path, plans: dict, dataset: dict, configuration: str) -> Plans:
    if "cascade" in configuration or "lowres" in configuration:
        why = "a cascade, whose second network needs the mask of the first" if "cascade" in configuration else "another resolution"
        raise DataError(file, f"configuration {brief(configuration)}: {why}", f"train {' or '.join(CONFIGURATIONS)}")
    if not isinstance(plans.get("configurations"), dict):
        raise DataError(file, "no configurations in it", V2)
    c = inherited(file, plans["configurations"], configuration)
    if c.get("previous_stage"):
        raise DataError(file, f"{configuration} follows {c['previous_stage']}: a cascade, whose second network needs the mask of the first", "train 3d_fullres")
    channel(file.parent / "dataset.json", dataset)
    for key, want in (("preprocessor_name", "DefaultPreprocessor"), ("resampling_fn_data", RESAMPLING), ("resampling_fn_probabilities", RESAMPLING)):
        if c[key] != want:
            raise DataError(file, f"{key} is {brief(c[key])}", f"ichor resamples as nnU-Net's default does: plan with {want}")
    for key, orders in (("resampling_fn_data_kwargs", (3, 0)), ("resampling_fn_probabilities_kwargs", (1, 0))):
        k = c[key]
        if (k["order"], k["order_z"]) != orders or k.get("force_separate_z") is not None:
            raise DataError(file, f"{key} is {brief(json.dumps(k))}", f"ichor resamples with order {orders[0]} in the plane and {orders[1]} along z")
    if c["normalization_schemes"] != ["CTNormalization"]:
        raise DataError(file, f"normalization_schemes are {brief(c['normalization_schemes'])}", "ichor reads CTNormalization: name the channel CT in dataset.json and plan again")
    properties = plans.get("foreground_intensity_properties_per_channel") or plans["foreground_intensity_properties_by_modality"]
    i = properties.get("0") or properties[0]
    numbers = {k: float(i[k]) for k in ("percentile_00_5", "percentile_99_5", "mean", "std")}
    if not all(math.isfinite(v) for v in numbers.values()) or not numbers["percentile_00_5"] < numbers["percentile_99_5"] or numbers["std"] <= 0:
        raise DataError(file, "foreground intensity properties that no CT has", "plan and train again")
    forward = tuple(int(a) for a in plans.get("transpose_forward", (0, 1, 2)))
    if sorted(forward) != [0, 1, 2]:
        raise DataError(file, f"transpose_forward is {brief(forward)}", "copy the folder again")
    arch = architecture(file, c)
    patch, spacing = [int(p) for p in c["patch_size"]], [float(s) for s in c["spacing"]]
    kind = CONFIGURATIONS[len(patch) == 3]  # the name is free, as 3d_fullres_bs80 that inherits from 3d_fullres
    if kind == "2d":
        if forward[0] != 0:
            raise DataError(file, f"2d over planes across {AXES[forward[0]]}", "ichor reads axial planes: train 3d_fullres")
        patch, spacing = [1, *patch], [0.0, *spacing]
    if len(patch) != 3 or len(spacing) != 3 or arch.dim != (2 if kind == "2d" else 3):
        raise DataError(file, f"a patch of {len(patch)} and a spacing of {len(spacing)} dimensions for {brief(configuration)}", "copy the folder again")
    back = [forward.index(a) for a in range(3)]
    patch, spacing = tuple(patch[b] for b in back), tuple(spacing[b] for b in back)
    if min(patch) < 1 or math.prod(patch) > MOST_VOXELS or max(patch) > 1024 or any(not 0.05 <= s <= 50 for s in spacing[3 - arch.dim:]):
        raise DataError(file, f"a patch of {'x'.join(map(str, patch))} voxels at {'x'.join(f'{s:g}' for s in spacing)} mm", "copy the folder again")
    if arch.dim == 3 and max(spacing) > ANISOTROPIC * min(spacing) and spacing.count(max(spacing)) == 1 and spacing[0] != max(spacing):
        raise DataError(file, f"planes {max(spacing):g} mm apart across {AXES[spacing.index(max(spacing))]}, which nnU-Net resamples one by one",
                        "ichor reads axial planes: train on axial images")
    reader = str(plans.get("image_reader_writer", ""))
    return Plans(kind, patch, spacing, (numbers["percentile_00_5"], numbers["percentile_99_5"]), numbers["mean"], numbers["std"], forward,
                 "RAS" if reader == "NibabelIOWithReorient" else "", arch, labels(file.parent / "dataset.json", dataset),
                 str(plans.get("dataset_name", "unknown")), str(plans.get("plans_name", "unknown")))


def brief(value) -> str:
    """What a file says, in one line that is not long."""
    text = " ".join(str(value).split())
    return text if len(text) <= 120 else f"{text[:120]}..."


def inherited(file: Path, all_: dict, name: str, seen: tuple[str, ...] = ()) -> dict:
    if name not in all_:
        raise DataError(file, f"no configuration {brief(name)} among {brief(', '.join(all_))}", "copy the plans.json of this very training")
    if name in seen:
        raise DataError(file, f"configurations inherit in a circle: {' -> '.join((*seen, name))}", "copy the folder again")
    own = dict(all_[name])
    parent = own.get("inherits_from")
    return {**inherited(file, all_, parent, (*seen, name)), **own} if parent else own


def channel(file: Path, dataset: dict) -> None:
    names = dataset.get("channel_names") or dataset.get("modality")
    if not isinstance(names, dict) or not names:
        raise DataError(file, "channel_names are missing", V2)
    if len(names) > 1:
        raise DataError(file, f"{len(names)} input channels ({', '.join(map(str, names.values()))})", "ichor reads one series: train on the CT only")


def labels(file: Path, dataset: dict) -> tuple[str, ...]:
    """Name of each output channel."""
    found = dataset.get("labels")
    if not isinstance(found, dict) or not found:
        raise DataError(file, "labels are missing", V2)
    found = {str(k): v for k, v in found.items() if k != "ignore"}
    if regions := [k for k, v in found.items() if isinstance(v, (list, tuple)) and len(v) > 1]:
        raise DataError(file, f"regions that overlap ({', '.join(regions)})", "ichor reads one class a voxel: train on plain labels")
    try:
        values = {k: int(v[0] if isinstance(v, (list, tuple)) else v) for k, v in found.items()}
    except (TypeError, ValueError, IndexError, OverflowError):
        raise DataError(file, f"labels {brief(found)}", "nnU-Net gives each a whole number") from None
    names = sorted(values, key=values.get)
    if [values[n] for n in names] != list(range(len(names))) or len(names) < 2 or len(names) > 64:
        raise DataError(file, f"labels {brief(values)}", "nnU-Net numbers them from 0, the background, without a gap")
    return tuple(names)


def mapped(file: Path, names: tuple[str, ...], text: str | None) -> list[str]:
    """What each channel is called in the manifest: background, a subtype, any, or - for what is not blood.

    text: "1=IPH,2=IVH"; None where the names of the labels are ours already.
    """
    out = ["background", *([NOT_BLOOD] * (len(names) - 1))]
    known = {s.lower(): s for s in SUBTYPES} | {a.lower(): "any" for a in ANY} | {NOT_BLOOD: NOT_BLOOD}
    if text is None:
        text = ",".join(f"{i}={n}" for i, n in enumerate(names) if i)
    given = {}
    for part in text.split(","):
        key, _, value = (s.strip() for s in part.partition("="))
        number = names.index(key) if key in names else int(key) if key.isdigit() else -1
        if not 0 < number < len(names):
            raise DataError("--classes", f"{part.strip()!r} names no class of the network", f"it has {', '.join(f'{i}={n}' for i, n in enumerate(names) if i)}")
        if value.lower() not in known:
            raise DataError("--classes", f"{part.strip()!r}", f"map each class to {', '.join(SUBTYPES)}, any, or {NOT_BLOOD} for what is not blood, as 1=IPH,2=IVH")
        if number in given:
            raise DataError("--classes", f"class {number} twice", "name each class once")
        given[number] = out[number] = known[value.lower()]
    if missing := [f"{i}={n}" for i, n in enumerate(names) if i and i not in given]:
        raise DataError("--classes", f"says nothing about {', '.join(missing)}", f"map each to a subtype, to any, or to {NOT_BLOOD}")
    blood = {v for v in out if v not in ("background", NOT_BLOOD)}
    if not blood:
        raise DataError("--classes", "none of them is blood", "map at least one class to a subtype or to any")
    if "any" in blood and len(blood) > 1:
        raise DataError("--classes", "any beside subtypes", "a result names the subtypes, or hemorrhage of unknown subtype, not both")
    return out


def architecture(file: Path, c: dict) -> Arch:
    a = c.get("architecture")
    if a is None:
        return older(file, c)
    name, k = str(a["network_class_name"]).rpartition(".")[2], a["arch_kwargs"]
    if name not in NETWORKS:
        raise DataError(file, f"a network {brief(name)}", f"ichor builds {' and '.join(NETWORKS)}")
    dim = len(c["patch_size"])
    for key, want in (("norm_op", f"InstanceNorm{dim}d"), ("nonlin", "LeakyReLU"), ("conv_op", f"Conv{dim}d")):
        if str(k[key]).rpartition(".")[2] != want:
            raise DataError(file, f"{key} is {brief(k[key])}", f"ichor builds networks with {want}")
    if k.get("nonlin_first") or k.get("bottleneck_channels") or k.get("stem_channels") not in (None, k["features_per_stage"][0]) \
            or str(k.get("block", "BasicBlockD")).rpartition(".")[2] != "BasicBlockD" or not (k.get("norm_op_kwargs") or {}).get("affine", False):
        raise DataError(file, f"a variant of {name} that nnU-Net does not plan", "plan with one of nnU-Net's own planners")
    residual = NETWORKS[name]
    return _arch(file, residual, k["n_stages"], k["features_per_stage"], k["kernel_sizes"], k["strides"],
                 k["n_blocks_per_stage" if residual else "n_conv_per_stage"], k["n_conv_per_stage_decoder"], dim, bool(k.get("conv_bias", False)),
                 float((k.get("norm_op_kwargs") or {}).get("eps", 1e-5)), float((k.get("nonlin_kwargs") or {}).get("negative_slope", 0.01)))


def older(file: Path, c: dict) -> Arch:
    """Plans of nnU-Net v2.0 to v2.4 describe the network in the configuration itself."""
    name = c.get("UNet_class_name")
    if name not in NETWORKS:
        raise DataError(file, f"a network {brief(name)}" if name else "no architecture in it", f"ichor builds {' and '.join(NETWORKS)}")
    n = len(c["n_conv_per_stage_encoder"])
    features = [min(c["UNet_base_num_features"] * 2**i, c["unet_max_num_features"]) for i in range(n)]
    return _arch(file, NETWORKS[name], n, features, c["conv_kernel_sizes"], c["pool_op_kernel_sizes"], c["n_conv_per_stage_encoder"],
                 c["n_conv_per_stage_decoder"], len(c["patch_size"]), True, 1e-5, 0.01)


def _arch(file: Path, residual: bool, n: int, features, kernels, strides, blocks, decoder, dim: int, bias: bool, eps: float, slope: float) -> Arch:
    each = lambda v, count: [v] * count if isinstance(v, int) else list(v)  # noqa: E731
    sizes = lambda v: tuple(tuple(int(x) for x in each(s, dim)) for s in each(v, n))  # noqa: E731
    a = Arch(residual, tuple(int(f) for f in each(features, n)), sizes(kernels), sizes(strides), tuple(int(b) for b in each(blocks, n)),
             tuple(int(d) for d in each(decoder, n - 1)), bias, eps, slope)
    counts = (len(a.features), len(a.kernels), len(a.strides), len(a.blocks), len(a.decoder) + 1)
    if set(counts) != {n} or not 2 <= n <= 12 or max(a.features) > 4096 or min(a.features) < 1 or not all(1 <= b <= 32 for b in (*a.blocks, *a.decoder)) \
            or any(len(s) != dim or not all(1 <= x <= 9 for x in s) for s in (*a.kernels, *a.strides)):
        raise DataError(file, "an architecture whose stages do not fit together", "copy the folder again")
    return a
