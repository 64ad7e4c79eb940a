"""Make digits.parquet from the copy of the handwritten digits that scikit-learn bundles (see README.md)."""

import hashlib
import io
import pathlib
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

PATH = pathlib.Path(__file__).with_name("digits.parquet")
SCHEMA = pa.schema(
    [
        pa.field("digit", pa.int8(), nullable=False),
        *(pa.field(f"pixel_{row}_{column}", pa.uint8(), nullable=False) for row in range(8) for column in range(8)),
    ],
    metadata={
        "title": "Optical Recognition of Handwritten Digits, test part",
        "authors": "E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository",
        "doi": "10.24432/C50P49",
        "licence": "CC BY 4.0",
    },
)


def table() -> pa.Table:
    """Return the 1797 images as rows, refusing to round or wrap a value."""
    digits = load_digits()
    pixels = digits.data.astype(np.uint8)
    if pixels.shape != (1797, 64) or not np.array_equal(pixels, digits.data):
        raise ValueError("scikit-learn's digits are no longer 1797 images of 64 small integers")
    return pa.table([digits.target.astype(np.int8), *pixels.T.copy()], schema=SCHEMA)


def main() -> None:
    """Write the file once it reads back as it should, and print what README.md states of it."""
    wanted, sink = table(), io.BytesIO()
    pq.write_table(wanted, sink, compression="zstd")
    if not pq.read_table(pa.BufferReader(sink.getvalue())).equals(wanted, check_metadata=True):
        raise ValueError(f"{PATH.name} would not read back as it was written")
    PATH.write_bytes(sink.getvalue())
    print("sha256", hashlib.sha256(sink.getvalue()).hexdigest())
    print("bytes", len(sink.getvalue()))
    for package in ("pyarrow", "scikit-learn"):
        print(package, version(package))


if __name__ == "__main__":
    main()
