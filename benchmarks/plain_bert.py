"""all-MiniLM-L6-v2 once more, as plain NumPy in float64: what the package's own network is compared with.

Written from the papers and the published weights, one text at a time, without padding, and sharing no code with the package
beyond where the weights lie (Devlin et al. 2019; 6 layers of 12 heads; mean of the tokens, Euclidean norm 1).
"""

from collections.abc import Sequence

import numpy as np
from safetensors.numpy import load_file
from scipy.special import erf, softmax
from tokenizers import Tokenizer

from neonblue_lab.knowledge.minilm import model_folder

LAYERS, HEADS, WIDTH, TOKENS = 6, 12, 384, 256


def embed(texts: Sequence[str]) -> np.ndarray:
    """len(texts) x 384, float64."""
    folder = model_folder()
    w = {name: tensor.astype(np.float64) for name, tensor in load_file(folder / "model.safetensors").items()}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS)
    size = WIDTH // HEADS

    def norm(x: np.ndarray, path: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * w[f"{path}.weight"] + w[f"{path}.bias"]

    def dense(x: np.ndarray, path: str) -> np.ndarray:
        return x @ w[f"{path}.weight"].T + w[f"{path}.bias"]

    def encode(text: str) -> np.ndarray:
        ids = tokenizer.encode(text).ids
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
        x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(LAYERS):
            path = f"encoder.layer.{layer}"
            q, k, v = (dense(x, f"{path}.attention.self.{part}") for part in ("query", "key", "value"))
            heads = [slice(start, start + size) for start in range(0, WIDTH, size)]
            mixed = [softmax(q[:, h] @ k[:, h].T / np.sqrt(size), axis=-1) @ v[:, h] for h in heads]
            attended = dense(np.concatenate(mixed, axis=1), f"{path}.attention.output.dense")
            x = norm(x + attended, f"{path}.attention.output.LayerNorm")
            inner = dense(x, f"{path}.intermediate.dense")
            inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
            x = norm(x + dense(inner, f"{path}.output.dense"), f"{path}.output.LayerNorm")
        mean = x.mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean))

    return np.array([encode(text) for text in texts])
