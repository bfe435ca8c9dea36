"""Each library behind one face: Adapter(threads, home), variants(layer), prepare(layer, variant, x, kernel, gradient).

prepare does all that a program does once (packing the kernel, compiling, bringing the input to the variant's layout) and returns
an object whose run() is the operation alone, whose result() is its output, channels first, and whose time(budget, limit) is the
least time of a call. Arrays are float32, channels first, kernels as PyTorch has them. Libraries that have `gradients` are asked
for gradients too, and get the output's gradient."""
import ctypes
import os
import time

import numpy as np


class Prepared:
    """An operation that is called from Python."""

    def __init__(self, run, result, note=""):
        self.run, self.result, self.note = run, result, note

    def time(self, budget, limit):
        """The least time of a call within the budget; a call that takes longer than the limit is not repeated."""
        run, clock, least = self.run, time.perf_counter, float("inf")
        for attempt in range(2):  # something may come between
            start = clock()
            run()
            least = min(least, clock() - start)
            if least <= limit:
                break
        if least > limit:
            return least
        start, calls, after = clock(), 0, 0.0
        while after - start < budget or calls < 3:
            before = clock()
            run()
            after = clock()
            least = min(least, after - before)
            calls += 1
        return least


def channels_last(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def channels_first(array):
    return np.asarray(array).transpose(0, 3, 1, 2)


def aligned(array):
    """A copy that begins at a cache line."""
    memory = np.empty(array.size + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    copy = memory[start:start + array.size].reshape(array.shape)
    copy[...] = array
    return copy


# ------------------------------------------------------------------------------------------- called from C: native.h

NATIVE_FIELDS = ("operation pass batch channels height width out_channels out_height out_width kernel stride dilation groups "
                 "padding trailing_padding interpolation layout threads algorithm").split()
OPERATIONS = {"conv2d": 0, "conv2d_transpose": 1, "upsample2d": 2}
INTERPOLATIONS = {None: 0, "nearest": 0, "bilinear": 1, "bicubic": 2}
PASSES = {None: 0, "input": 1, "kernel": 2}
LAYOUTS = {"nhwc": 0, "nchw": 1, "any": 2}


class NativeLayer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in NATIVE_FIELDS]


class NativePrepared:
    def __init__(self, library, fields, arrays, result):
        self.library, self.arrays, self.bring = library, arrays, result
        self.handle = library.native_prepare(
            ctypes.byref(fields), *(None if array is None else array.ctypes.data for array in arrays))
        if not self.handle:
            raise NotImplementedError("refused")
        self.note = library.native_note(self.handle).decode()

    def run(self):
        if self.library.native_run(self.handle):
            raise RuntimeError("the call failed")

    def result(self):
        if self.library.native_result(self.handle):
            raise RuntimeError("no result")
        return self.bring()

    def time(self, budget, limit):
        least = self.library.native_time(self.handle, budget, limit)
        if least < 0:
            raise RuntimeError("the call failed")
        return least

    def __del__(self):
        if getattr(self, "handle", None):
            self.library.native_destroy(self.handle)


class Native:
    gradients = True
    algorithms = {}

    def __init__(self, threads, home, name):
        self.threads = threads
        self.library = library = ctypes.CDLL(f"{home}/native/{name}.so")
        pointer = ctypes.c_void_p
        for function, result, *arguments in (
                (library.native_prepare, pointer, pointer, pointer, pointer, pointer),
                (library.native_run, ctypes.c_int, pointer), (library.native_result, ctypes.c_int, pointer),
                (library.native_destroy, None, pointer), (library.native_note, ctypes.c_char_p, pointer),
                (library.native_time, ctypes.c_double, pointer, ctypes.c_double, ctypes.c_double)):
            function.restype, function.argtypes = result, arguments

    def prepare(self, layer, variant, x, kernel, gradient):
        layout, _, algorithm = variant.partition("-")
        fields = NativeLayer(
            **{"pass": PASSES[layer.gradient]}, operation=OPERATIONS[layer.operation], layout=LAYOUTS[layout],
            interpolation=INTERPOLATIONS[layer.interpolation], threads=self.threads, algorithm=self.algorithms.get(algorithm, 0))
        for name in NATIVE_FIELDS:
            if isinstance(getattr(layer, name, None), int):
                setattr(fields, name, getattr(layer, name))
        # The orders of the axes of images and kernels, and the way back.
        last = layout == "nhwc" and not self.reorders
        image, kernel_axes = ((0, 2, 3, 1), (2, 3, 1, 0)) if last else ((0, 1, 2, 3), (0, 1, 2, 3))
        if gradient is None:
            gradient = np.zeros(layer.output_shape, np.float32)
        arrays = [array if array is None else aligned(array.transpose(axes))
                  for array, axes in ((x, image), (kernel, kernel_axes), (gradient, image))]
        which = {None: 2, "input": 0, "kernel": 1}[layer.gradient]
        arrays[which][...] = np.nan
        back = np.argsort(kernel_axes if layer.gradient == "kernel" else image)
        prepared = NativePrepared(self.library, fields, arrays, lambda: arrays[which].transpose(back))
        prepared.run()
        return prepared


class Ours(Native):
    reorders = False

    def __init__(self, threads, home):
        super().__init__(threads, home, "ours")
        self.version = self.library.convolution_version()
        value = ctypes.c_int32()
        if self.library.convolution_constant(b"CONVOLUTION_ALGORITHM_WINOGRAD", ctypes.byref(value)) == 0:
            self.algorithms = {"winograd": value.value}

    def variants(self, layer):
        transposed = (layer.operation == "conv2d_transpose") != (layer.gradient == "input")
        phases = transposed and 2 <= layer.stride <= 4 and 2 * layer.stride <= layer.kernel <= 3 * layer.stride
        phases = phases and layer.gradient != "kernel"
        winograd = phases or layer.kernel == 3 and layer.stride == 1
        winograd = winograd and min(layer.channels, layer.out_channels) >= 16 * layer.groups
        return ["nhwc", "nchw"] + [f"{layout}-{a}" for a in self.algorithms for layout in ("nhwc", "nchw") if winograd]


class OneDNN(Native):
    # By itself: arrays are always channels first.
    reorders = True

    def __init__(self, threads, home, name="onednn"):
        super().__init__(threads, home, name)

        class Version(ctypes.Structure):
            _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int)]

        self.library.dnnl_version.restype = ctypes.POINTER(Version)
        version = self.library.dnnl_version().contents
        self.version = f"{version.major}.{version.minor}.{version.patch}"

    def variants(self, layer):
        if layer.operation == "upsample2d":
            return [] if layer.interpolation == "bicubic" else ["nhwc", "nchw"]
        return ["any", "nhwc", "nchw"]


class OneDNNOpenMP(OneDNN):
    def __init__(self, threads, home):
        super().__init__(threads, home, "onednn-openmp")


# --------------------------------------------------------------------------------------------------- called from Python


class PyTorch:
    gradients = True

    def __init__(self, threads, home):
        import torch
        self.torch, self.version = torch, torch.__version__
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        torch.set_grad_enabled(False)

    def variants(self, layer):
        if layer.operation == "upsample2d" or layer.gradient:
            return ["nchw", "nhwc"]
        # packed: the kernel in oneDNN's layout, as torch.compile's freezing leaves it; opaque: images too.
        return ["nchw", "nhwc", "packed-nchw", "packed-nhwc"] + ["opaque"] * (layer.operation == "conv2d")

    def prepare(self, layer, variant, x, kernel, gradient):
        torch, functional, packed = self.torch, self.torch.nn.functional, self.torch.ops.mkldnn
        order = torch.channels_last if variant.endswith("nhwc") else torch.contiguous_format
        image = torch.from_numpy(x).contiguous(memory_format=order)
        if layer.operation == "upsample2d":
            size = (layer.out_height, layer.out_width)
            run = lambda: functional.interpolate(image, size=size, mode=layer.interpolation)
            return Prepared(run, lambda: run().contiguous().numpy())
        weight = torch.from_numpy(kernel)
        stride, padding, dilation = [layer.stride] * 2, [layer.padding] * 2, [layer.dilation] * 2
        extra, groups, shape = [layer.output_padding] * 2, layer.groups, list(layer.input_shape)
        direct = layer.operation == "conv2d"
        if layer.gradient:
            weight, slope = weight.contiguous(memory_format=order), torch.from_numpy(gradient).contiguous(memory_format=order)
            wanted = [layer.gradient == "input", layer.gradient == "kernel", False]
            run = lambda: torch.ops.aten.convolution_backward(
                slope, image, weight, None, stride, padding, dilation, not direct, extra, groups, wanted)[wanted.index(True)]
            return Prepared(run, lambda: run().contiguous().numpy())
        if variant == "opaque":
            image = image.to_mkldnn()
            weight = torch._C._nn.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), padding, stride, dilation, groups, shape)
            run = lambda: torch.mkldnn_convolution(image, weight, None, padding, stride, dilation, groups)
            return Prepared(run, lambda: run().to_dense().numpy())
        if variant.startswith("packed") and direct:
            weight = packed._reorder_convolution_weight(weight, padding, stride, dilation, groups, shape)
            run = lambda: packed._convolution_pointwise(
                image, weight, None, padding, stride, dilation, groups, "none", [], "")
        elif variant.startswith("packed"):
            weight = packed._reorder_convolution_transpose_weight(weight, padding, extra, stride, dilation, groups, shape)
            run = lambda: packed._convolution_transpose_pointwise(
                image, weight, None, padding, extra, stride, dilation, groups, "none", [], "")
        else:
            weight = weight.contiguous(memory_format=order)
            run = (lambda: functional.conv2d(image, weight, None, stride, padding, dilation, groups)) if direct else (
                lambda: functional.conv_transpose2d(image, weight, None, stride, padding, extra, groups, dilation))
        return Prepared(run, lambda: run().contiguous().numpy())


class TensorFlow:
    def __init__(self, threads, home):
        import tensorflow
        self.tf, self.version = tensorflow, tensorflow.__version__
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)

    def variants(self, layer):
        return [] if layer.interpolation == "bicubic" else ["nhwc"]  # its cubic coefficient is another

    def prepare(self, layer, variant, x, kernel, gradient):
        image = self.tf.constant(channels_last(x))
        function = self.tf.function(tensorflow_function(self.tf, layer, kernel))
        function = function.get_concrete_function(self.tf.TensorSpec(image.shape, self.tf.float32))
        run = lambda: function(image)
        return Prepared(run, lambda: channels_first(run().numpy()))


def tensorflow_function(tf, layer, kernel, padding=None):
    """The layer on channels-last images, which TensorFlow's own CPU kernels want."""
    size = [layer.out_height, layer.out_width]
    if layer.interpolation == "nearest":
        return lambda image: tf.compat.v1.image.resize_nearest_neighbor(image, size)
    if layer.interpolation:
        return lambda image: tf.image.resize(image, size, method=layer.interpolation)
    stride, dilation = layer.stride, layer.dilation
    if padding is None:
        pads = [layer.padding, layer.trailing_padding]
        padding = [[0, 0], pads, pads, [0, 0]] if any(pads) else "VALID"
    if layer.operation == "conv2d_transpose":
        weight = tf.constant(np.ascontiguousarray(kernel.transpose(2, 3, 1, 0)))
        shape = [layer.batch, *size, layer.out_channels]
        return lambda image: tf.nn.conv2d_transpose(image, weight, shape, stride, padding)
    if layer.groups == layer.channels == layer.out_channels > 1:
        weight = tf.constant(np.ascontiguousarray(kernel.transpose(2, 3, 0, 1)))
        return lambda image: tf.nn.depthwise_conv2d(
            image, weight, [1, stride, stride, 1], padding, dilations=[dilation, dilation])
    weight = tf.constant(np.ascontiguousarray(kernel.transpose(2, 3, 1, 0)))
    return lambda image: tf.nn.conv2d(image, weight, stride, padding, dilations=dilation)


class LiteRT:
    """With its XNNPACK delegate. The models are TensorFlow's work: litert_models.py."""

    def __init__(self, threads, home):
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter
        self.interpreter, self.threads, self.home = Interpreter, threads, home
        self.version = ai_edge_litert.__version__

    def model(self, layer):
        return f"{self.home}/models/{layer.name}-{layer.key:08x}.tflite"

    def variants(self, layer):
        return ["nhwc"] if os.path.exists(self.model(layer)) else []

    def prepare(self, layer, variant, x, kernel, gradient):
        interpreter = self.interpreter(model_path=self.model(layer), num_threads=self.threads)
        interpreter.allocate_tensors()
        source, result = (details()[0]["index"] for details in (interpreter.get_input_details, interpreter.get_output_details))
        turned = same_padding(layer) == "turned"
        interpreter.set_tensor(source, channels_last(x[:, :, ::-1, ::-1] if turned else x))

        def output():
            interpreter.invoke()
            y = channels_first(interpreter.get_tensor(result))
            return y[:, :, ::-1, ::-1] if turned else y
        return Prepared(interpreter.invoke, output)


def same_padding(layer):
    """LiteRT knows the paddings VALID and SAME alone. "turned": SAME where image and kernel are turned by 180 degrees."""
    if layer.operation == "upsample2d":
        return "VALID"
    strided, dense = (layer.out_height, layer.height) if layer.operation == "conv2d" else (layer.height, layer.out_height)
    total = (strided - 1) * layer.stride + (layer.kernel - 1) * layer.dilation + 1 - dense
    before, after = layer.padding, total - layer.padding
    if before == 0 and after <= 0:
        return "VALID"
    smaller = max(total, 0) // 2
    return {smaller: "SAME", total - smaller: "turned"}.get(before) if after >= 0 else None


class ONNXRuntime:
    def __init__(self, threads, home):
        import onnx
        import onnxruntime
        onnxruntime.set_default_logger_severity(4)
        self.onnx, self.ort, self.threads, self.version = onnx, onnxruntime, threads, onnxruntime.__version__

    def variants(self, layer):
        return ["nchw"]

    def prepare(self, layer, variant, x, kernel, gradient):
        ort, options = self.ort, self.ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        session = ort.InferenceSession(self.model(layer, kernel), options, providers=["CPUExecutionProvider"])
        binding, y = session.io_binding(), ort.OrtValue.ortvalue_from_shape_and_type(layer.output_shape, np.float32, "cpu")
        binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x, "cpu"))
        binding.bind_ortvalue_output("y", y)
        run = lambda: session.run_with_iobinding(binding)
        run()
        return Prepared(run, y.numpy)

    def model(self, layer, kernel):
        helper, to_tensor = self.onnx.helper, self.onnx.numpy_helper.from_array
        if layer.operation == "upsample2d":
            mode = {"bilinear": "linear", "bicubic": "cubic"}.get(layer.interpolation, "nearest")
            places = "asymmetric" if mode == "nearest" else "half_pixel"
            constants = [to_tensor(np.array(layer.output_shape, np.int64), "size")]
            node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode=mode, coordinate_transformation_mode=places,
                                    **({"nearest_mode": "floor"} if mode == "nearest" else {}))
        else:
            name, extra = "Conv", {}
            if layer.operation == "conv2d_transpose":
                name, extra = "ConvTranspose", {"output_padding": [layer.output_padding] * 2}
            constants = [to_tensor(kernel, "w")]
            node = helper.make_node(name, ["x", "w"], ["y"], strides=[layer.stride] * 2, dilations=[layer.dilation] * 2,
                                    group=layer.groups, pads=[layer.padding] * 4, **extra)
        value = lambda name, shape: helper.make_tensor_value_info(name, self.onnx.TensorProto.FLOAT, shape)
        graph = helper.make_graph([node], "layer", [value("x", layer.input_shape)], [value("y", layer.output_shape)], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
        return model.SerializeToString()


class OpenVINO:
    def __init__(self, threads, home):
        import openvino
        self.ov, self.core, self.version = openvino, openvino.Core(), openvino.__version__
        self.options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
                        "ENABLE_CPU_PINNING": False}

    def variants(self, layer):
        return ["nchw", "nhwc"]

    def prepare(self, layer, variant, x, kernel, gradient):
        from openvino import opset13 as op
        source = op.parameter(layer.input_shape, np.float32)
        strides, pads, dilations = [layer.stride] * 2, [layer.padding] * 2, [layer.dilation] * 2
        if layer.operation == "upsample2d":
            nearest = layer.interpolation == "nearest"
            node = op.interpolate(
                source, np.array([layer.out_height, layer.out_width]),
                {"bilinear": "linear_onnx", "bicubic": "cubic"}.get(layer.interpolation, "nearest"), "sizes",
                axes=np.array([2, 3]), coordinate_transformation_mode="asymmetric" if nearest else "half_pixel",
                nearest_mode="floor" if nearest else "round_prefer_floor", cube_coeff=-0.75)
        elif layer.operation == "conv2d_transpose":
            node = op.convolution_backprop_data(
                source, op.constant(kernel), strides, pads_begin=pads, pads_end=pads, dilations=dilations,
                output_padding=[layer.output_padding] * 2)
        elif layer.groups == 1:
            node = op.convolution(source, op.constant(kernel), strides, pads, pads, dilations)
        else:
            weight = kernel.reshape(layer.groups, -1, *kernel.shape[1:])
            node = op.group_convolution(source, op.constant(weight), strides, pads, pads, dilations)
        model = self.ov.Model([node], [source], "layer")
        if variant == "nhwc":
            steps = self.ov.preprocess.PrePostProcessor(model)
            for end in (steps.input(), steps.output()):
                end.tensor().set_layout(self.ov.Layout("NHWC"))
                end.model().set_layout(self.ov.Layout("NCHW"))
            model, x = steps.build(), channels_last(x)
        request = self.core.compile_model(model, "CPU", self.options).create_infer_request()
        request.set_input_tensor(self.ov.Tensor(x, shared_memory=True))

        def result(x=x):  # the tensor is x's memory
            y = request.get_output_tensor().data
            return channels_first(y) if variant == "nhwc" else y
        request.infer()
        return Prepared(request.infer, result)


class NCNN:
    """Images one at a time: it knows no batches."""

    def __init__(self, threads, home):
        import ncnn
        self.ncnn, self.threads, self.home, self.version = ncnn, threads, home, ncnn.__version__

    def variants(self, layer):
        return ["chw"]

    def prepare(self, layer, variant, x, kernel, gradient):
        net = self.ncnn.Net()
        net.opt.num_threads, net.opt.use_vulkan_compute = self.threads, False
        for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(net.opt, option, False)
        weights = b""
        if layer.operation == "upsample2d":
            number = {"nearest": 1, "bilinear": 2, "bicubic": 3}[layer.interpolation]
            line = f"Interp layer 1 1 x y 0={number} 3={layer.out_height} 4={layer.out_width}"
        else:
            name = "Convolution"
            if layer.operation == "conv2d_transpose":
                name, kernel = "Deconvolution", np.ascontiguousarray(kernel.transpose(1, 0, 2, 3))
            line = (f"{name}{'DepthWise' if layer.groups > 1 else ''} layer 1 1 x y 0={layer.out_channels} 1={layer.kernel} "
                    f"2={layer.dilation} 3={layer.stride} 4={layer.padding} 6={kernel.size} 7={layer.groups} "
                    f"18={layer.output_padding} 19={layer.output_padding}")
            if name == "Convolution":
                line = line.partition(" 18=")[0]
            if layer.groups == 1:
                line = line.replace(f" 7={layer.groups}", "", 1)
            weights = bytes(4) + kernel.tobytes()
        path = f"{self.home}/models/ncnn-{os.getpid()}"
        with open(path + ".param", "w") as file:
            file.write(f"7767517\n2 2\nInput input 0 1 x\n{line}\n")
        with open(path + ".bin", "wb") as file:
            file.write(weights)
        failed = net.load_param(path + ".param") or net.load_model(path + ".bin")
        os.remove(path + ".param")
        os.remove(path + ".bin")
        if failed:
            raise RuntimeError("the model is not understood")
        images = [self.ncnn.Mat(np.ascontiguousarray(image)).clone() for image in x]

        def extract(image):
            extractor = net.create_extractor()
            extractor.input("x", image)
            return extractor.extract("y")

        def run():
            for image in images:
                extract(image)
        return Prepared(run, lambda: np.stack([np.array(extract(image)[1]) for image in images]).reshape(layer.output_shape))


class OpenCV:
    """Its image functions. (Its network module comes nowhere near the others on these layers.)"""

    def __init__(self, threads, home):
        import cv2
        cv2.setNumThreads(threads)
        self.cv, self.version = cv2, cv2.__version__

    def variants(self, layer):
        if layer.operation == "upsample2d":
            return ["resize"]
        if layer.operation != "conv2d" or layer.groups != layer.channels or layer.channels > 4:
            return []
        return ["filter2D"] + {"sobel": ["Sobel"], "gaussian": ["GaussianBlur"]}.get(layer.weights, [])

    def prepare(self, layer, variant, x, kernel, gradient):
        cv, border = self.cv, self.cv.BORDER_CONSTANT
        if variant == "resize":
            image, y = channels_last(x)[0], np.empty((layer.out_height, layer.out_width, layer.channels), np.float32)
            flag = {"nearest": cv.INTER_NEAREST, "bilinear": cv.INTER_LINEAR, "bicubic": cv.INTER_CUBIC}[layer.interpolation]
            run = lambda: cv.resize(image, (layer.out_width, layer.out_height), y, interpolation=flag)
            run()
            return Prepared(run, lambda: channels_first(y[None]))
        planes = [(plane, weight[0], np.empty_like(plane)) for plane, weight in zip(x[0], kernel)]
        size = (layer.kernel, layer.kernel)

        def run():
            for image, weight, y in planes:
                if variant == "filter2D":
                    cv.filter2D(image, -1, weight, y, borderType=border)
                elif variant == "Sobel":
                    cv.Sobel(image, cv.CV_32F, 1, 0, y, ksize=layer.kernel, borderType=border)
                else:
                    cv.GaussianBlur(image, size, 2.0, y, borderType=border)
        run()
        return Prepared(run, lambda: np.stack([y for _, _, y in planes])[None])


ADAPTERS = {"ours": Ours, "onednn": OneDNN, "onednn-openmp": OneDNNOpenMP, "pytorch": PyTorch, "openvino": OpenVINO,
            "onnxruntime": ONNXRuntime, "tensorflow": TensorFlow, "litert": LiteRT, "ncnn": NCNN, "opencv": OpenCV}
