import CConvolution

// upsample2d_conv2d: the params of both, which must agree.

/// A checked upsample2d, and a checked conv2d of its result. The layer's input strides mean nothing.
struct UpsampledLayer {
    var resampling: Resampling
    var layer: Layer
}

func validate(
    _ upsampling: UnsafePointer<upsample2d_params>?, _ convolution: UnsafePointer<conv2d_params>?
) throws(Failure) -> UpsampledLayer {
    if upsampling == nil {
        throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "upsampling is NULL; it must point to an upsample2d_params")
    }
    if convolution == nil {
        throw Failure(CONVOLUTION_ERROR_NULL_POINTER, "convolution is NULL; it must point to a conv2d_params")
    }
    var u = try about("upsampling") { () throws(Failure) in try read(upsampling) }
    var c = try about("convolution") { () throws(Failure) in try read(convolution) }
    if u.isa == nil {
        _ = try about("convolution") { () throws(Failure) in try Tier.chosen(c.isa) }
        u.isa = c.isa
    } else if c.isa == nil {
        c.isa = u.isa
    }

    let resampling = try about("upsampling") { () throws(Failure) in
        try checkNone(u.output_strides, "output_strides")
        if u.accumulate != 0 {
            throw Failure(
                CONVOLUTION_ERROR_FLAG,
                "accumulate is \(u.accumulate); the upsampled image is nowhere in memory, so it must be 0")
        }
        return try validate(u)
    }
    var layer = try about("convolution") { () throws(Failure) in
        try checkNone(c.input_strides, "input_strides")
        func agree(_ value: Int, _ name: StaticString, _ wanted: Int, _ status: Int) throws(Failure) {
            if value != wanted {
                throw Failure(status, "\(name) is \(value) and that of the upsampling is \(wanted); they must agree")
            }
        }
        try agree(Int(c.dtype), "dtype", Int(u.dtype), CONVOLUTION_ERROR_DTYPE)
        try agree(Int(c.data_format), "data_format", Int(u.data_format), CONVOLUTION_ERROR_DATA_FORMAT)
        if u.threads != 0, c.threads != 0 { try agree(Int(c.threads), "threads", Int(u.threads), CONVOLUTION_ERROR_THREADS) }
        if try Tier.chosen(c.isa) != resampling.tier {
            throw Failure(
                CONVOLUTION_ERROR_ISA,
                """
                isa is "\(try Tier.chosen(c.isa).cName)" and that of the upsampling is "\(resampling.tier.cName)"; they must agree
                """)
        }
        func take(_ field: inout Int64, _ name: StaticString, _ made: Int, _ status: Int) throws(Failure) {
            if field == 0 { field = Int64(made) }
            if field != Int64(made) {
                throw Failure(
                    status, "\(name) is \(Int(field)) and that of the upsampled image is \(made); it must be \(made), or 0")
            }
        }
        try take(&c.batch, "batch", resampling.batch, CONVOLUTION_ERROR_IMAGE_SIZE)
        try take(&c.height, "height", resampling.vertical.output, CONVOLUTION_ERROR_IMAGE_SIZE)
        try take(&c.width, "width", resampling.horizontal.output, CONVOLUTION_ERROR_IMAGE_SIZE)
        try take(&c.in_channels, "in_channels", resampling.channels, CONVOLUTION_ERROR_CHANNELS)
        return try validate(c)
    }
    layer.threads = max(layer.threads, resampling.threads)
    // Bands of output rows would cut tiles.
    layer.means.permitsWinograd = false
    return UpsampledLayer(resampling: resampling, layer: layer)
}

/// Runs `body` for one of two parameter structs: its failures say for which.
private func about<Result>(_ argument: StaticString, _ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    do throws(Failure) {
        return try body()
    } catch {
        throw error.about(argument)
    }
}

/// There is no image between the upsampling and the convolution that could have strides.
private func checkNone(_ strides: (Int64, Int64, Int64, Int64), _ name: StaticString) throws(Failure) {
    let first = strides.0 != 0 ? strides.0 : strides.1 != 0 ? strides.1 : strides.2 != 0 ? strides.2 : strides.3
    if first != 0 {
        throw Failure(
            CONVOLUTION_ERROR_ELEMENT_STRIDES,
            "\(name) has \(Int(first)); the upsampled image is nowhere in memory, so each must be 0")
    }
}
