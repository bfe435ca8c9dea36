"""The layers of suite.json for NumPy: sizes, arrays, and a sample of the right answer. Arrays are channels first, kernels as
PyTorch has them."""
import json
import pathlib
import zlib

import numpy as np


class Layer:
    def __init__(self, entry):
        self.key = zlib.crc32(json.dumps(entry, sort_keys=True).encode())
        self.name, self.operation = entry["name"], entry["operation"]
        self.group = entry.get("group", self.operation)
        self.batch = entry.get("batch", 1)
        self.channels, self.height, self.width = entry["input"]
        self.out_channels = entry.get("output_channels", self.channels)
        self.kernel, self.stride = entry.get("kernel", 1), entry.get("stride", 1)
        self.dilation, self.groups = entry.get("dilation", 1), entry.get("groups", 1)
        self.padding, self.output_padding = entry.get("padding", 0), entry.get("output_padding", 0)
        self.interpolation, self.weights = entry.get("interpolation"), entry.get("weights")
        self.trailing_padding = self.padding - self.output_padding
        extent, pads = (self.kernel - 1) * self.dilation + 1, self.padding + self.trailing_padding
        if self.operation == "conv2d":
            self.out_height, self.out_width = ((size + pads - extent) // self.stride + 1 for size in (self.height, self.width))
        elif self.operation == "conv2d_transpose":
            self.out_height, self.out_width = ((size - 1) * self.stride + extent - pads for size in (self.height, self.width))
        else:
            self.out_height = self.out_width = entry["output_size"]

    @property
    def input_shape(self):
        return self.batch, self.channels, self.height, self.width

    @property
    def output_shape(self):
        return self.batch, self.out_channels, self.out_height, self.out_width

    @property
    def kernel_shape(self):
        outer, inner = self.out_channels, self.channels // self.groups
        if self.operation == "conv2d_transpose":
            outer, inner = self.channels, self.out_channels // self.groups
        return outer, inner, self.kernel, self.kernel

    def arrays(self):
        """(input, kernel); no kernel for upsample2d. The same in every process."""
        random = np.random.default_rng(self.key)
        x = random.random(self.input_shape, np.float32) * 2 - 1
        if self.operation == "upsample2d":
            return x, None
        if self.weights == "sobel":
            kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        elif self.weights == "gaussian":
            line = np.exp(-((np.arange(self.kernel) - self.kernel // 2) ** 2) / 8)
            kernel = np.outer(line, line) / line.sum() ** 2
        else:
            kernel = random.random(self.kernel_shape, np.float32) * 2 - 1
        return x, np.ascontiguousarray(kernel, np.float32).reshape(self.kernel_shape)


def suite():
    path = pathlib.Path(__file__).resolve().parent.parent / "suite.json"
    return [Layer(entry) for entry in json.loads(path.read_text())]


class Oracle:
    """A sample of output elements in double precision: corners, and places at random."""

    def __init__(self, layer, x, kernel, count=200):
        random = np.random.default_rng(3)
        places = [random.integers(0, size, count) for size in layer.output_shape]
        for axis, size in enumerate(layer.output_shape):
            places[axis][:16] = [(number >> axis & 1) * (size - 1) for number in range(16)]
        self.layer, self.places, self.x, self.kernel = layer, places, x, kernel
        self.value, self.magnitude = np.zeros(count), np.zeros(count)
        getattr(self, "_" + layer.operation)()
        del self.x, self.kernel

    def _add(self, weights, channels, rows, columns, inside=None):
        """Adds weights (count, channels) times the input elements there, where inside."""
        image = self.places[0]
        if inside is not None:
            weights = weights * inside[:, None]
            rows, columns = np.where(inside, rows, 0), np.where(inside, columns, 0)
        products = weights * self.x[image[:, None], channels, rows[:, None], columns[:, None]].astype(np.float64)
        self.value += products.sum(1)
        self.magnitude += abs(products).sum(1)

    def _conv2d(self):
        layer, (_, channel, y, x) = self.layer, self.places
        per_group = layer.channels // layer.groups
        channels = (channel // (layer.out_channels // layer.groups) * per_group)[:, None] + np.arange(per_group)
        for a in range(layer.kernel):
            for b in range(layer.kernel):
                row = y * layer.stride + a * layer.dilation - layer.padding
                column = x * layer.stride + b * layer.dilation - layer.padding
                inside = (row >= 0) & (row < layer.height) & (column >= 0) & (column < layer.width)
                self._add(self.kernel[channel, :, a, b].astype(np.float64), channels, row, column, inside)

    def _conv2d_transpose(self):
        layer, (_, channel, y, x) = self.layer, self.places
        per_group, out_per_group = layer.channels // layer.groups, layer.out_channels // layer.groups
        channels = (channel // out_per_group * per_group)[:, None] + np.arange(per_group)
        for a in range(layer.kernel):
            for b in range(layer.kernel):
                row, row_rest = np.divmod(y + layer.padding - a * layer.dilation, layer.stride)
                column, column_rest = np.divmod(x + layer.padding - b * layer.dilation, layer.stride)
                inside = (row_rest == 0) & (column_rest == 0)
                inside &= (row >= 0) & (row < layer.height) & (column >= 0) & (column < layer.width)
                weights = self.kernel[channels, (channel % out_per_group)[:, None], a, b]
                self._add(weights.astype(np.float64), channels, row, column, inside)

    def _upsample2d(self):
        layer, (_, channel, y, x) = self.layer, self.places
        for row, v in self._taps(y, layer.height, layer.out_height):
            for column, u in self._taps(x, layer.width, layer.out_width):
                self._add((v * u)[:, None], channel[:, None], row, column)

    def _taps(self, t, length, out_length):
        """The input lines that line t of the output is made of, and their weights; half-pixel places in float32."""
        if self.layer.interpolation == "nearest":
            return [(t * length // out_length, np.ones(len(t)))]
        place = np.float32(length / out_length) * (t.astype(np.float32) + np.float32(0.5)) - np.float32(0.5)
        if self.layer.interpolation == "bilinear":
            place = np.maximum(place, 0)
            low = np.floor(place).astype(int)
            share = (place - low).astype(np.float64)
            weights = {0: 1 - share, 1: share}
        else:
            low, k = np.floor(place).astype(int), -0.75
            share = (place - low).astype(np.float64)
            weights = {}
            for offset in range(-1, 3):
                d = abs(share - offset)
                weights[offset] = np.where(d <= 1, ((k + 2) * d - (k + 3)) * d * d + 1, ((d - 5) * d + 8) * d * k - 4 * k)
        return [(np.clip(low + offset, 0, length - 1), weight) for offset, weight in weights.items()]

    def error(self, result, strict):
        """The largest error of a result (channels first) as a share of what is permitted: strict, our header's bound; else 1/200
        of the largest element, which tells another operation or another rule from an algorithm that rounds more."""
        got = np.asarray(result)[tuple(self.places)].astype(np.float64)
        tolerance = 8 * 2.0**-24 * self.magnitude if strict else np.full(len(got), abs(self.value).max() / 200)
        error = abs(got - self.value)
        if strict and self.layer.interpolation == "nearest":
            return 0.0 if (error == 0).all() else np.inf
        return float(np.where(error > 0, error / np.maximum(tolerance, 1e-300), 0).max()) if np.isfinite(got).all() else np.inf
