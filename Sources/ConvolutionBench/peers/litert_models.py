"""litert_models.py DIR: the layers as models for LiteRT, converted by TensorFlow; those that are there already stay."""
import os
import pathlib
import sys

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")

import numpy as np
import tensorflow as tf

from adapters import same_padding, tensorflow_function
from layers import suite

folder = pathlib.Path(sys.argv[1])
for layer in suite():
    path = folder / f"{layer.name}-{layer.key:08x}.tflite"
    padding = same_padding(layer)
    if layer.gradient or path.exists() or padding is None or layer.interpolation == "bicubic":
        continue
    try:
        kernel = layer.arrays()[1]
        if padding == "turned":
            kernel, padding = np.ascontiguousarray(kernel[:, :, ::-1, ::-1]), "SAME"
        function = tf.function(tensorflow_function(tf, layer, kernel, padding))
        image = tf.TensorSpec([layer.batch, layer.height, layer.width, layer.channels], tf.float32)
        model = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(image)]).convert()
    except Exception as error:
        print(f"{layer.name}: no LiteRT model: {str(error)[:200]}", file=sys.stderr)
    else:
        path.write_bytes(model)
