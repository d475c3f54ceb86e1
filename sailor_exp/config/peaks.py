"""The highest rates of each kind of GPU, from its data sheet: operations per second by precision, and bytes per second.

Rates are those of dense products: data sheets since Ampere's also give twice as much for sparse ones, some that alone.
fp32 is the rate without tensor cores, tf32 and bf16 that of tensor cores that accumulate in fp32. A precision that the
hardware does not have is absent, and so is a kind without a data sheet: nothing is judged by what is not known.

Where boards of several rates are one kind (SXM and PCIe), or editions of a data sheet differ, the largest rates stand
here, so no right measurement is above them. GeForce cards may clock some percent above their data sheet's boost clock.
Figures were compared with copies and quotations of the documents, not with the documents themselves.

To add a kind, add its row with its source. The name is that of the kind (`gpu.name`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sailor_exp.config.schema import Device

_VOLTA = (
    "images.nvidia.com/aem-dam/en-zz/Solutions/data-center/nvidia-ampere-architecture-whitepaper.pdf, table of V100"
)
_AMPERE = (
    "nvidia.com/content/dam/en-zz/Solutions/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web.pdf"
)
_HOPPER = "nvidia.com/en-us/data-center/h100 (TF32 and bf16 there with sparsity: halved)"
_GA102 = "nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf"
_TURING = "tomshardware.com/news/nvidia-titan-rtx-specs-pricing,38184.html, by NVIDIA"


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The highest rates of a kind of GPU. `flops_per_s`: by the name of the precision. `source`: where they stand."""

    flops_per_s: Mapping[str, float]
    bytes_per_s: float
    source: str


def _peak(
    source: str, *, gigabytes_per_s: float, fp32: float, tf32: float | None = None, bf16: float | None = None
) -> Peak:
    """Return a row from the units of data sheets: fp32, tf32 and bf16 in TFLOP/s."""
    teraflops = {"fp32": fp32, "tf32": tf32, "bf16": bf16}
    return Peak(
        flops_per_s=MappingProxyType({name: rate * 1e12 for name, rate in teraflops.items() if rate is not None}),
        bytes_per_s=gigabytes_per_s * 1e9,
        source=source,
    )


PEAKS: Mapping[str, Peak] = MappingProxyType(
    {
        "V100-16": _peak(f"{_VOLTA} (SXM2)", fp32=15.7, gigabytes_per_s=900),
        "T4": _peak("NVIDIA T4 data sheet", fp32=8.1, gigabytes_per_s=320),
        "Titan-RTX": _peak(_TURING, fp32=16.3, gigabytes_per_s=672),
        "RTX-2080": _peak(f"{_TURING} (2080 Ti Founders Edition)", fp32=14.2, gigabytes_per_s=616),
        "A100-40": _peak(f"{_AMPERE} (SXM)", fp32=19.5, tf32=156, bf16=312, gigabytes_per_s=1555),
        "A100-80": _peak(f"{_AMPERE} (SXM)", fp32=19.5, tf32=156, bf16=312, gigabytes_per_s=2039),
        "A10": _peak("NVIDIA A10 data sheet", fp32=31.2, tf32=62.5, bf16=125, gigabytes_per_s=600),
        "A6000": _peak(_GA102, fp32=38.7, tf32=77.4, bf16=154.8, gigabytes_per_s=768),
        "RTX-3090": _peak(_GA102, fp32=35.6, tf32=35.6, bf16=71, gigabytes_per_s=936),
        "L4": _peak(
            "nvidia.com/en-us/data-center/l4 (TF32 and bf16 there with sparsity: halved)",
            fp32=30.3, tf32=60, bf16=121, gigabytes_per_s=300,
        ),
        "L40S": _peak("NVIDIA L40S data sheet", fp32=91.6, tf32=183, bf16=362.05, gigabytes_per_s=864),
        "RTX-4090": _peak(
            "NVIDIA Ada GPU Architecture whitepaper", fp32=82.6, tf32=82.6, bf16=165.2, gigabytes_per_s=1008
        ),
        "H100-80": _peak(f"{_HOPPER}, SXM", fp32=67, tf32=494.5, bf16=989.5, gigabytes_per_s=3350),
        "H100-NVL": _peak(f"{_HOPPER}, NVL", fp32=60, tf32=417.5, bf16=835.5, gigabytes_per_s=3900),
        "H200-141": _peak(
            "nvidia.com/en-us/data-center/h200 (TF32 and bf16 there with sparsity: halved)",
            fp32=67, tf32=494.5, bf16=989.5, gigabytes_per_s=4800,
        ),
        "GH-96": _peak(
            "NVIDIA GH200 Grace Hopper Superchip data sheet (96 GB HBM3; the GPU is that of H100 SXM)",
            fp32=67, tf32=494.5, bf16=989.5, gigabytes_per_s=4000,
        ),
        "B200": _peak(
            "NVIDIA HGX B200 data sheets (fp32 75 or 80, memory 7.7 or 8 TB/s by edition; TF32 is half of bf16)",
            fp32=80, tf32=1125, bf16=2250, gigabytes_per_s=8000,
        ),
        "RTX-5090": _peak(
            "images.nvidia.com/aem-dam/Solutions/geforce/blackwell/nvidia-rtx-blackwell-gpu-architecture.pdf",
            fp32=104.8, tf32=104.8, bf16=209.5, gigabytes_per_s=1792,
        ),
    }
)  # fmt: skip


def peak_of(name: str, device: str) -> Peak | None:
    """Return the peak of a kind by its name; None where none is known, as for a CPU and for kinds of your own.

    device: `gpu.device`. A name of the table that is given to a CPU has none.
    """
    return PEAKS.get(name) if device == Device.cuda.value else None
