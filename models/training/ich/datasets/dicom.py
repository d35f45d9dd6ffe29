"""CT slices in DICOM files as canonical arrays. Geometry comes from orientation and position alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ImplicitVRLittleEndian

from .geometry import Frame
from .volume import AIR_HU, DataError

MAX_PIXELS = 2048 * 2048
MAX_SLICES = 3000
SAME_MM = 0.01  # slices closer than this are one slice sent twice
AGAIN = "download or unzip it again"


@dataclass(frozen=True)
class Series:
    """hu float32 (S, H, W) and, for each slice, its index in the files given. shape: rows and columns as stored."""

    hu: np.ndarray
    spacing: tuple[float, float]
    positions: np.ndarray
    order: np.ndarray
    shape: tuple[int, int]
    frame: Frame

    def turned(self, planes: list[np.ndarray]) -> np.ndarray:
        """One plane for each of the files given, as stored, to the layout of hu."""
        order = self.order[::-1] if self.frame.flips[0] else self.order
        return self.frame.turn(np.stack([planes[i] for i in order]))


def header(path: Path, pixels: bool = False) -> pydicom.Dataset:
    """The data set, without its pixels unless asked for."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
    except FileNotFoundError:
        raise DataError(path, "missing", AGAIN) from None
    except Exception as err:  # pydicom raises many kinds on damaged files
        raise DataError(path, f"unreadable DICOM ({type(err).__name__})", AGAIN) from None
    if "TransferSyntaxUID" not in ds.file_meta:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # PS3.5 §10.1: the default, where the file has no PS3.10 header
    return ds


def plane(ds: pydicom.Dataset, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]]:
    """ImagePositionPatient, direction along a row, direction down a column (PS3.3 C.7.6.2.1.1), PixelSpacing (C.7.6.3.1.7)."""
    try:
        iop = np.array(ds.ImageOrientationPatient, float)
        ipp = np.array(ds.ImagePositionPatient, float)
        spacing = np.array(ds.PixelSpacing, float)
    except (AttributeError, TypeError, ValueError):
        raise DataError(path, "has no usable ImageOrientationPatient, ImagePositionPatient or PixelSpacing", "leave the file out") from None
    good = iop.shape == (6,) and ipp.shape == (3,) and spacing.shape == (2,) and np.isfinite([*iop, *ipp, *spacing]).all()
    if not good or (spacing <= 0).any() or abs(np.linalg.norm(np.cross(iop[:3], iop[3:])) - 1) > 0.01:
        raise DataError(path, "states an impossible orientation, position or PixelSpacing", "leave the file out")
    return ipp, iop[:3], iop[3:], (float(spacing[0]), float(spacing[1]))


def axial(ds: pydicom.Dataset, path: Path) -> bool:
    """Whether the slice is nearer to axial than to any other plane."""
    _, along, down, _ = plane(ds, path)
    return int(np.abs(np.cross(along, down)).argmax()) == 2


def pixels(ds: pydicom.Dataset, path: Path, mend_unsigned: bool) -> np.ndarray:
    """HU of one slice, float32 (rows, columns).

    mend_unsigned: some scans of RSNA 2019 hold 12-bit values that went below 0 and came round at 4096, under a wrong
    intercept; what every user of that set does about them is done here.
    """
    rows, columns = int(ds.get("Rows", 0) or 0), int(ds.get("Columns", 0) or 0)
    if not 0 < rows * columns <= MAX_PIXELS or int(ds.get("SamplesPerPixel", 1) or 1) != 1 or int(ds.get("NumberOfFrames", 1) or 1) != 1:
        raise DataError(path, f"is not one slice of numbers ({rows}x{columns})", "leave the file out")
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not _decodable(syntax):
        raise DataError(path, f"compressed as {syntax.name}, which nothing installed decodes",
                        "convert the series with `gdcmconv --raw`, or install python-gdcm")
    try:
        stored = ds.pixel_array.astype(np.float32)
        slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
    except Exception as err:  # decoders raise many kinds
        raise DataError(path, f"its pixels cannot be decoded ({type(err).__name__})", "the file is damaged or cut short: " + AGAIN + ", or leave it out") from None
    if mend_unsigned and ds.get("PixelRepresentation") == 0 and ds.get("BitsStored") == 12 and intercept > -100:
        stored = (stored + 1000) % 4096
        intercept = -1000.0
    hu = stored * slope + intercept
    return np.maximum(np.nan_to_num(hu, nan=AIR_HU, posinf=AIR_HU, neginf=AIR_HU), AIR_HU).astype(np.float32)


def _decodable(syntax: UID) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def read(files: tuple[Path, ...], mend_unsigned: bool = False) -> Series:
    """One series, in any order of files. Raises DataError naming the slice that does not fit."""
    if not 0 < len(files) <= MAX_SLICES:
        raise DataError(files[0].parent if files else "series", f"{len(files)} slices", "one series a folder, at most 3000 slices")
    planes, places = [], []
    for path in files:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # values that break a VR's rules are common in these sets and read well
            ds = header(path, pixels=True)
            if ds.get("Modality", "CT") != "CT":
                raise DataError(path, f"is {ds.Modality}, not CT", "leave the file out")
            places.append(plane(ds, path))
            planes.append(pixels(ds, path, mend_unsigned))
        same = planes[-1].shape == planes[0].shape and np.allclose(places[-1][3], places[0][3], atol=1e-3)
        same &= np.allclose(places[-1][1], places[0][1], atol=1e-2) and np.allclose(places[-1][2], places[0][2], atol=1e-2)
        if not same:
            raise DataError(path, "size, pixel spacing or orientation differs from the slices before it", "keep one series a folder")
    ipp = np.stack([p[0] for p in places])
    _, along, down, (row_mm, column_mm) = places[0]
    normal = np.cross(along, down)
    order = np.argsort(ipp @ normal, kind="stable")
    at = (ipp @ normal)[order]
    order = order[np.concatenate([[True], np.diff(at) > SAME_MM])]
    lps = np.eye(4)
    lps[:3] = np.stack([normal, down * row_mm, along * column_mm, ipp[order[0]]], 1)
    frame = Frame.of(lps)
    if frame.axes[0] != 0:
        raise DataError(files[0].parent, "is not an axial series", "keep the axial series of the study")
    hu = frame.turn(np.stack([planes[i] for i in order]))
    order = order[::-1] if frame.flips[0] else order
    return Series(hu, frame.spacing, ipp[order] @ frame.normal, order, planes[0].shape, frame)
