"""Turns a user's PyTorch or ONNX network into a bundle, checked as strictly as ours.

    net.onnx               as it is; weights in a file beside it are taken in
    net.pt, TorchScript    exported
    net.pt, state_dict     weights of `ich.unet.UNet`, also under "ema", "net", "model" or "state_dict": --arch unet
    net.pt of ich train    averaged weights with the settings they were trained by

What the network answers is named channel by channel (--channels). The product reads `any`, alone or with the five subtypes in
its own order; whatever else is given is brought into that form by a few operators at the end of the graph.
"""

from __future__ import annotations

import pickle
import re
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import torch

from . import card, manifest
from ..product.config import ROLES, SUBTYPES, Post, Settings
from ..product.evidence import ALWAYS_ML
from ..datasets.volume import DataError
from .examine import examine, open_onnx, opset_of
from .export import CAVITY_POST, bleed_post, entry_of, metrics_of, reference_input, torch_to_onnx
from .head import PRODUCT, SOFTMAX_OPSET, finish
from ..product.train import load_net
from ..product.unet import Probabilities, UNet

SHIPPED = Path(__file__).parents[3] / "bundles/ichor-synthetic"
WRAPPERS = ("ema", "net", "model", "state_dict", "model_state_dict")
UNKNOWN = "Brought by a user: ichor has measured nothing about this network but that it runs and repeats its reference."


@dataclass(frozen=True)
class Wish:
    """What the user says about the network. window_hu, pixel_mm, size, neighbours, slab_mm as in ich.config.Settings."""

    net: Path
    name: str
    data: str  # what it was trained on
    role: str = "bleed"
    window_hu: tuple[float, float] = (-50.0, 150.0)
    pixel_mm: float = 0.0
    size: int = 256
    neighbours: int = 0
    slab_mm: float = 0.0
    channels: tuple[str, ...] = ("any",)  # what the network's outputs are, in their order
    activation: str = "none"  # none, sigmoid or softmax: applied to the outputs
    arch: str | None = None
    post: Post = field(default_factory=lambda: Post(min_component_ml=0.0, sure_threshold=0.0))
    version: str = "1.0.0"
    licence: str = "not stated"
    description: str = ""
    commit: str = "unknown"
    limits: tuple[str, ...] = ()
    metrics: Path | None = None
    others: Path = SHIPPED  # bundle that the networks of the other roles come from

    @property
    def settings(self) -> Settings:
        outputs = ("cavity",) if self.role != "bleed" else PRODUCT if set(SUBTYPES) <= set(self.channels) else PRODUCT[:1]
        return Settings(role=self.role, window_hu=self.window_hu, size=self.size, train_size=self.size, pixel_mm=self.pixel_mm,
                        neighbours=self.neighbours, slab_mm=self.slab_mm, outputs=outputs)


def bring(wish: Wish, out: Path) -> Path:
    """Writes the bundle into `out`, which must not exist, or refuses with one line; returns the manifest's path."""
    check(wish)
    out = Path(out)
    if out.exists():
        raise DataError(out, "exists already", "remove it, or choose another --out")
    others = manifest.read(wish.others)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as part:
        folder = Path(part) / out.name  # appears whole or not at all
        folder.mkdir()
        entries = {n["role"]: n for n in others["networks"]}
        for role in ROLES:
            entries[role] = network(wish, folder) if role == wish.role else manifest.copied(wish.others, entries.get(role), role, folder)
        manifest.write(folder, {
            "schema": 1, "name": wish.name, "version": wish.version, "licence": wish.licence, "intended_use": manifest.INTENDED_USE,
            "description": wish.description or f"{wish.role} network brought by a user; the others from {others['name']} {others['version']}",
            "training": record(wish, others), "networks": [entries[r] for r in ROLES],
        })
        card.write(folder)
        folder.rename(out)
    return out / manifest.FILE


def check(wish: Wish) -> None:
    """The bounds of models/bundle/check.go, in words of the command line."""
    low, high = wish.window_hu
    refuse(
        *common(wish),
        (-2000 <= low < high <= 32767, "--window", f"{low:g} {high:g}", "give the lower end first, in HU"),
        (16 <= wish.size <= 1024 and wish.size % 16 == 0, "--size", wish.size, "use a multiple of 16 from 16 to 1024"),
        (wish.pixel_mm == 0 or 0.1 <= wish.pixel_mm <= 10, "--pixel-mm", wish.pixel_mm, "use 0.1 to 10, or 0 to resize the whole image"),
        (0 <= wish.neighbours <= 8, "--neighbours", wish.neighbours, "use 0 to 8"),
        (0 <= wish.slab_mm <= 50, "--slab-mm", wish.slab_mm, "use 0 to 50"),
        (0 < wish.post.threshold < 1, "--threshold", wish.post.threshold, "use a number between 0 and 1"),
        (wish.post.sure_threshold == 0 or wish.post.threshold <= wish.post.sure_threshold < 1, "--sure", wish.post.sure_threshold,
         "use a number from the threshold to below 1, or 0 for the threshold"),
        (0 <= wish.post.opening_mm <= 50, "--opening-mm", wish.post.opening_mm, "use 0 to 50"),
        (0 <= wish.post.rim_mm <= 200, "--rim-mm", wish.post.rim_mm, "use 0 to 200"),
    )
    check_channels(wish)


def common(wish) -> tuple[tuple, ...]:
    """Bounds of every brought bundle, as `refuse` takes them. wish: with name, version, data, licence and post."""
    ml = wish.post.min_component_ml
    return (
        (re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", wish.name), "--name", wish.name, "use up to 32 letters, digits, dots and dashes"),
        (wish.version.strip() and len(wish.version) <= 16, "--version", wish.version, "use up to 16 characters"),
        (wish.data.strip(), "--data", wish.data, "say in a line what the network was trained on"),
        (wish.licence.strip(), "--licence", wish.licence, "name the licence of the weights"),
        (0 <= ml <= ALWAYS_ML, "--min-ml", ml, f"use 0 to {ALWAYS_ML:g}: no rule may drop a clot of {ALWAYS_ML:g} mL or more"),
    )


def refuse(*bounds: tuple) -> None:
    """Raises DataError for the first (holds, option, value, remedy) that does not hold."""
    for ok, option, value, remedy in bounds:
        if not ok:
            raise DataError(option, f"{value!r} does not do", remedy)


def check_channels(wish: Wish) -> None:
    names, known = set(wish.channels), {"any", "background", *SUBTYPES}
    if wish.role != "bleed":
        if wish.channels != ("cavity",):
            raise DataError("--channels", f"{','.join(wish.channels)} for role {wish.role}", "a cavity network has the one channel cavity")
        return
    if names - known or len(names) != len(wish.channels):
        raise DataError("--channels", f"{','.join(wish.channels)!r}", f"name each output once, in order: {', '.join(sorted(known))}")
    told = names & set(SUBTYPES)
    if told and told != set(SUBTYPES):
        raise DataError("--channels", f"subtypes {', '.join(sorted(told))} alone", "the product needs all five, or none: call hemorrhage of any kind `any`")
    if not told and "any" not in names:
        raise DataError("--channels", "no hemorrhage among them", "name the channel of hemorrhage of any kind `any`")


def network(wish: Wish, folder: Path) -> dict:
    """Exports or copies the network into the folder and examines it; returns its entry."""
    path = folder / f"{manifest.stem(wish.role)}.onnx"
    cfg, names, activation = wish.settings, wish.channels, wish.activation
    if Path(wish.net).suffix.lower() == ".onnx":
        model = open_onnx(Path(wish.net))
    else:
        net, own = load_torch(wish)
        if own is not None:
            cfg, names, activation = own, own.outputs, "none"
        try:
            torch_to_onnx(net.eval(), cfg.channels, cfg.size, path)
        except Exception as err:  # whatever a user's forward raises
            raise DataError(wish.net, f"cannot be exported for {cfg.channels} channels of {cfg.size} x {cfg.size} ({' '.join(str(err).split())[:160]})",
                            "check --neighbours and --size, or export it to ONNX yourself") from None
        model = open_onnx(path)
    import onnx

    if activation == "softmax" and opset_of(wish.net, model) < SOFTMAX_OPSET:
        raise DataError(wish.net, "its opset has another softmax", f"export with opset {SOFTMAX_OPSET} or newer, or with the softmax inside")
    onnx.save(finish(wish.net, model, names, activation, cfg.size), str(path))
    x = reference_input(cfg, reference_stretches())
    try:
        seen = examine(path, x, len(cfg.outputs))
    except DataError as err:
        raise DataError(wish.net, err.what, err.remedy) from None
    if seen.difference > manifest.TOLERANCE:
        raise DataError(wish.net, f"ONNX Runtime's optimised graph is {seen.difference:.2g} away from the graph as written", "export in float32")
    facts = {"file": path.name, "sha256": manifest.sha256(path), "opset": seen.opset, "base_width": seen.base_width, "parameters": seen.parameters,
             "input": seen.input, "output": seen.output}
    bleed = cfg.role == "bleed"
    return entry_of(cfg, facts, wish.post.threshold, bleed_post(wish.post, cfg.outputs) if bleed else CAVITY_POST,
                    manifest.reference(folder, cfg.role, x, seen.y))


def reference_stretches() -> list:
    """Seven slices of a head with blood and of one without, rendered in seconds."""
    from ..heads.phantom.study import Plan, generate

    bleeding = Plan((("IPH", 30.0, 70.0), ("SDH", 30.0, 70.0)))
    return [generate(seed, plan, slices=7, runs=1)[0] for seed, plan in ((9_000_011, bleeding), (9_000_012, Plan()))]


def load_torch(wish: Wish) -> tuple[torch.nn.Module, Settings | None]:
    """A module that is ready to export; settings where the file holds them."""
    path = Path(wish.net)
    if not path.is_file():
        raise DataError(path, "no such file", "give a network: net.onnx, or net.pt")
    if scripted(path):
        try:
            return torch.jit.load(str(path), map_location="cpu"), None
        except RuntimeError as err:
            raise DataError(path, f"damaged TorchScript ({' '.join(str(err).split())[:120]})", "save it again with torch.jit.save") from None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(path, "holds a pickled module, which could run code when read",
                        "save net.state_dict(), or torch.jit.script(net).save(...), or ONNX") from None
    except (RuntimeError, EOFError, ValueError, KeyError) as err:
        raise DataError(path, f"not a PyTorch file ({type(err).__name__})", "give net.onnx, TorchScript or a state_dict") from None
    if isinstance(saved, dict) and {"settings", "ema"} <= saved.keys():
        net, cfg, _ = load_net(path)
        if cfg.role != wish.role:
            raise DataError(path, f"a checkpoint of role {cfg.role}", f"say --role {cfg.role}")
        return Probabilities(net, cfg.role), cfg
    if wish.arch != "unet":
        raise DataError(path, "weights without a network", "say --arch unet if they are of ich.unet.UNet; else give TorchScript or ONNX")
    return unet_of(path, saved), None


def scripted(path: Path) -> bool:
    """Whether a file is TorchScript, without running any of it."""
    try:
        with zipfile.ZipFile(path) as z:
            return any(n.endswith("/constants.pkl") or "/code/" in n for n in z.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def unet_of(path: Path, saved) -> UNet:
    """The paper's U-Net of the widths that the weights have."""
    for key in WRAPPERS:
        if isinstance(saved, dict) and isinstance(saved.get(key), dict):
            saved = saved[key]
            break
    if not isinstance(saved, dict) or not all(isinstance(v, torch.Tensor) for v in saved.values()):
        raise DataError(path, "no state_dict", "save net.state_dict()")
    saved = {k.removeprefix("module."): v for k, v in saved.items()}
    try:
        first, last = saved["down_block.0.conv1.weight"], saved["final_conv.weight"]
        net = UNet(first.shape[1], last.shape[0], last.shape[1], last.shape[1] // first.shape[0])
        net.load_state_dict(saved)
    except (KeyError, RuntimeError, IndexError, ZeroDivisionError) as err:
        raise DataError(path, f"not the weights of ich.unet.UNet ({' '.join(str(err).split())[:120]})", "give TorchScript or ONNX") from None
    return net


def record(wish: Wish, others: dict) -> dict:
    """The training record, as far as it is known."""
    brought = {"net": Path(wish.net).name, "sha256": manifest.sha256(wish.net), "channels": list(wish.channels), "activation": wish.activation}
    rest = [r for r in ROLES if r != wish.role]
    return {
        "data": f"{wish.role}: {wish.data.strip()}; {', '.join(rest)}: {others['training']['data']}", "seed": 0, "commit": wish.commit,
        "settings": {wish.role: brought, "others": {"bundle": f"{others['name']} {others['version']}", "roles": rest}},
        "metrics": metrics_of(wish.metrics), "limits": [*([UNKNOWN] if wish.metrics is None else []), *wish.limits],
    }

