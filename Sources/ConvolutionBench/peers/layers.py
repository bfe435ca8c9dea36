"""The layers of suite.json for NumPy: sizes, arrays, and a sample of the right answer. Arrays are channels first, kernels as
PyTorch has them."""
import copy
import json
import pathlib
import zlib

import numpy as np


class Layer:
    def __init__(self, entry):
        self.key = zlib.crc32(json.dumps(entry, sort_keys=True).encode())
        self.name, self.operation = entry["name"], entry["operation"]
        self.gradient = None
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

    @property
    def result_shape(self):
        return {None: self.output_shape, "input": self.input_shape, "kernel": self.kernel_shape}[self.gradient]

    def gradient_of(self, gradient):
        """The layer of this layer's gradient with respect to "input" or "kernel"."""
        layer = copy.copy(self)
        layer.gradient = gradient
        layer.name, layer.group = f"{self.name}/{gradient}", f"{self.group}_backward_{gradient}"
        return layer

    def arrays(self):
        """(input, kernel, gradient of the output), the same in every process. upsample2d has no kernel, and only the layer of a
        gradient has a gradient of the output."""
        random = np.random.default_rng(self.key)
        x = random.random(self.input_shape, np.float32) * 2 - 1
        if self.operation == "upsample2d":
            return x, None, None
        if self.weights == "sobel":
            kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        elif self.weights == "gaussian":
            line = np.exp(-((np.arange(self.kernel) - self.kernel // 2) ** 2) / 8)
            kernel = np.outer(line, line) / line.sum() ** 2
        else:
            kernel = random.random(self.kernel_shape, np.float32) * 2 - 1
        gradient = random.random(self.output_shape, np.float32) * 2 - 1 if self.gradient else None
        return x, np.ascontiguousarray(kernel, np.float32).reshape(self.kernel_shape), gradient


def suite():
    path = pathlib.Path(__file__).resolve().parent.parent / "suite.json"
    layers = [Layer(entry) for entry in json.loads(path.read_text())]
    trained = [layer for layer in layers if layer.group in ("conv2d", "conv2d_transpose")]
    return layers + [layer.gradient_of(gradient) for gradient in ("input", "kernel") for layer in trained]


class Oracle:
    """A sample of the result's elements in double precision: corners, and places at random."""

    def __init__(self, layer, x, kernel, gradient=None, count=200):
        random = np.random.default_rng(3)
        places = [random.integers(0, size, count) for size in layer.result_shape]
        for axis, size in enumerate(layer.result_shape):
            places[axis][:16] = [(number >> axis & 1) * (size - 1) for number in range(16)]
        self.layer, self.places, self.kernel = layer, places, kernel
        self.value, self.magnitude = np.zeros(count), np.zeros(count)
        direct = layer.operation == "conv2d"
        if layer.operation == "upsample2d":
            self._resize(x)
        elif layer.gradient == "kernel":
            self._pairs(*((gradient, x) if direct else (x, gradient)))
        elif direct == (layer.gradient is None):
            self._gather(x if layer.gradient is None else gradient)
        else:
            self._scatter(x if layer.gradient is None else gradient)
        del self.kernel

    def _add(self, weights, source, channels, rows, columns, inside=None):
        """Adds weights (count, channels) times the source's elements there, where inside."""
        if inside is not None:
            weights = weights * inside[:, None]
            rows, columns = np.where(inside, rows, 0), np.where(inside, columns, 0)
        products = weights * source[self.places[0][:, None], channels, rows[:, None], columns[:, None]].astype(np.float64)
        self.value += products.sum(1)
        self.magnitude += abs(products).sum(1)

    def _gather(self, source):
        """A window of the source times the kernel, whose outer channel is the result's."""
        layer, (_, channel, y, x) = self.layer, self.places
        outer, inner = layer.kernel_shape[:2]
        channels = (channel // (outer // layer.groups) * inner)[:, None] + np.arange(inner)
        for a in range(layer.kernel):
            for b in range(layer.kernel):
                row = y * layer.stride + a * layer.dilation - layer.padding
                column = x * layer.stride + b * layer.dilation - layer.padding
                inside = (row >= 0) & (row < source.shape[2]) & (column >= 0) & (column < source.shape[3])
                self._add(self.kernel[channel, :, a, b].astype(np.float64), source, channels, row, column, inside)

    def _scatter(self, source):
        """Every source element whose strokes of the kernel reach the place; the inner channel is the result's."""
        layer, (_, channel, y, x) = self.layer, self.places
        outer, inner = layer.kernel_shape[:2]
        channels = (channel // inner * (outer // layer.groups))[:, None] + np.arange(outer // layer.groups)
        for a in range(layer.kernel):
            for b in range(layer.kernel):
                row, row_rest = np.divmod(y + layer.padding - a * layer.dilation, layer.stride)
                column, column_rest = np.divmod(x + layer.padding - b * layer.dilation, layer.stride)
                inside = (row_rest == 0) & (column_rest == 0)
                inside &= (row >= 0) & (row < source.shape[2]) & (column >= 0) & (column < source.shape[3])
                weights = self.kernel[channels, (channel % inner)[:, None], a, b]
                self._add(weights.astype(np.float64), source, channels, row, column, inside)

    def _pairs(self, strided, dense):
        """All pairs of elements that a kernel element joins: the window moves over `dense` in strides."""
        layer = self.layer
        outer, inner = layer.kernel_shape[:2]
        rows, columns = np.arange(strided.shape[2]), np.arange(strided.shape[3])
        for number, (o, i, a, b) in enumerate(zip(*self.places)):
            row = rows * layer.stride + a * layer.dilation - layer.padding
            column = columns * layer.stride + b * layer.dilation - layer.padding
            down, right = (row >= 0) & (row < dense.shape[2]), (column >= 0) & (column < dense.shape[3])
            one = strided[:, o][:, down][:, :, right].astype(np.float64)
            other = dense[:, o // (outer // layer.groups) * inner + i][:, row[down]][:, :, column[right]].astype(np.float64)
            self.value[number], self.magnitude[number] = (one * other).sum(), abs(one * other).sum()

    def _resize(self, source):
        layer, (_, channel, y, x) = self.layer, self.places
        for row, v in self._taps(y, layer.height, layer.out_height):
            for column, u in self._taps(x, layer.width, layer.out_width):
                self._add((v * u)[:, None], source, channel[:, None], row, column)

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
