"""A BERT sentence encoder as an ONNX graph, written node by node from its weights.

Architecture: Devlin et al. (2019), "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
section 3 (post-layer-norm Transformer encoder, exact GELU). Pooling: Reimers and Gurevych (2019), "Sentence-BERT",
section 3 (mean over the tokens), then division by the Euclidean norm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

IDS = "token_ids"
MASK = "attention_mask"
VECTOR = "vector"

_OPSET = 20  # the first with Gelu
_IR_VERSION = 10
_MASKED = np.float32(-1e9)


@dataclass(frozen=True)
class Bert:
    """What the weights alone do not tell.

    Attributes:
        layers: number of encoder layers.
        heads: attention heads of a layer.
        epsilon: added to the variance by each layer norm.
    """

    layers: int
    heads: int
    epsilon: float


def sentence_encoder(bert: Bert, weights: Mapping[str, np.ndarray]) -> bytes:
    """The serialised ONNX model of token ids to sentence vectors, in the precision of the weights.

    Args:
        bert: the architecture's numbers.
        weights: tensors by the names of Hugging Face's `BertModel`.

    Returns:
        A model with inputs `token_ids` and `attention_mask` (int64, batch x tokens; 1 marks a token, 0 padding) and
        output `vector` (float32, batch x hidden), each row of Euclidean norm 1. The first segment's embedding is used.
    """
    return _SentenceEncoder(bert, weights).build()


class _SentenceEncoder:
    def __init__(self, bert: Bert, weights: Mapping[str, np.ndarray]) -> None:
        self.bert = bert
        self.weights = weights
        self.hidden = weights["embeddings.word_embeddings.weight"].shape[1]
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, np.ndarray] = {}

    def build(self) -> bytes:
        mask = self.node("Cast", MASK, name="mask", to=TensorProto.FLOAT)
        x = self.embeddings()
        bias = self.attention_bias(mask)
        for layer in range(self.bert.layers):
            x = self.layer(f"encoder.layer.{layer}", x, bias)
        self.pooling(x, mask)
        shape = ["batch", "tokens"]
        graph = helper.make_graph(
            self.nodes,
            "sentence_encoder",
            [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in (IDS, MASK)],
            [helper.make_tensor_value_info(VECTOR, TensorProto.FLOAT, ["batch", self.hidden])],
            [numpy_helper.from_array(tensor, name) for name, tensor in self.tensors.items()],
        )
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
        return bytes(model.SerializeToString())

    def embeddings(self) -> str:
        position = self.weights["embeddings.position_embeddings.weight"]
        segment = self.weights["embeddings.token_type_embeddings.weight"][0]
        words = self.node("Gather", self.weight("embeddings.word_embeddings.weight"), IDS, name="words")
        length = self.node("Shape", IDS, name="length", start=1, end=2)
        places = self.node("Slice", self.tensor("places", position + segment), self.ints(0), length, name="placed")
        return self.layer_norm("embeddings.LayerNorm", self.node("Add", words, places, name="embedded"))

    def attention_bias(self, mask: str) -> str:
        """0 for tokens and a large negative number for padding, to be added to attention scores (batch x 1 x 1 x tokens)."""
        padding = self.node("Sub", self.tensor("one", np.float32(1)), mask, name="padding")
        bias = self.node("Mul", padding, self.tensor("masked", _MASKED), name="bias")
        return self.node("Unsqueeze", bias, self.ints(1, 2), name="attention_bias")

    def layer(self, path: str, x: str, bias: str) -> str:
        attended = self.linear(f"{path}.attention.output.dense", self.attention(f"{path}.attention.self", x, bias))
        x = self.layer_norm(f"{path}.attention.output.LayerNorm", self.node("Add", attended, x, name=f"{path}.1"))
        inner = self.node("Gelu", self.linear(f"{path}.intermediate.dense", x), name=f"{path}.gelu")
        outer = self.linear(f"{path}.output.dense", inner)
        return self.layer_norm(f"{path}.output.LayerNorm", self.node("Add", outer, x, name=f"{path}.2"))

    def attention(self, path: str, x: str, bias: str) -> str:
        query = self.heads(f"{path}.query", x, [0, 2, 1, 3])
        key = self.heads(f"{path}.key", x, [0, 2, 3, 1])
        value = self.heads(f"{path}.value", x, [0, 2, 1, 3])
        scale = self.tensor("scale", np.float32((self.hidden // self.bert.heads) ** -0.5))
        products = self.node("MatMul", query, key, name=f"{path}.products")
        scaled = self.node("Mul", products, scale, name=f"{path}.scaled")
        scores = self.node("Add", scaled, bias, name=f"{path}.scores")
        shares = self.node("Softmax", scores, name=f"{path}.shares", axis=-1)
        mixed = self.node("MatMul", shares, value, name=f"{path}.mixed")
        tokens_first = self.node("Transpose", mixed, name=f"{path}.tokens", perm=[0, 2, 1, 3])
        return self.node("Reshape", tokens_first, self.ints(0, 0, self.hidden), name=f"{path}.context")

    def heads(self, path: str, x: str, order: list[int]) -> str:
        size = self.hidden // self.bert.heads
        split = self.node("Reshape", self.linear(path, x), self.ints(0, 0, self.bert.heads, size), name=f"{path}.split")
        return self.node("Transpose", split, name=f"{path}.heads", perm=order)

    def pooling(self, x: str, mask: str) -> None:
        """Sum over the tokens: once it has norm 1 it is the mean over the tokens with norm 1."""
        weights = self.node("Unsqueeze", mask, self.ints(2), name="token_weights")
        total = self.node(
            "ReduceSum", self.node("Mul", x, weights, name="kept"), self.ints(1), name="total", keepdims=0
        )
        self.node("LpNormalization", total, name=VECTOR, axis=-1, p=2)

    def layer_norm(self, path: str, x: str) -> str:
        scale, shift = self.weight(f"{path}.weight"), self.weight(f"{path}.bias")
        return self.node("LayerNormalization", x, scale, shift, name=path, axis=-1, epsilon=self.bert.epsilon)

    def linear(self, path: str, x: str) -> str:
        transposed = self.tensor(f"{path}.weight", self.weights[f"{path}.weight"].T)
        product = self.node("MatMul", x, transposed, name=f"{path}.product")
        return self.node("Add", product, self.weight(f"{path}.bias"), name=path)

    def node(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def weight(self, name: str) -> str:
        return self.tensor(name, self.weights[name])

    def ints(self, *values: int) -> str:
        return self.tensor(f"ints_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def tensor(self, name: str, value: np.ndarray | np.generic) -> str:
        self.tensors[name] = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        return name
