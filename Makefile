# make              build/libconvolution.so, from the sources of the Swift package, in Embedded Swift: it needs libc and libm alone
# make demo         builds and runs every example and prints a table of all replicated results
# make test         all tests; ends with "N passed, N failed"
# make install PREFIX=/usr/local [DESTDIR=...]
# make arm64        the library and the C examples for arm64 Linux, cross-built, run under emulation by the tests
# make clean

MAJOR   := $(shell sed -n 's/^.define CONVOLUTION_VERSION_MAJOR //p' include/convolution.h)
MINOR   := $(shell sed -n 's/^.define CONVOLUTION_VERSION_MINOR //p' include/convolution.h)
PATCH   := $(shell sed -n 's/^.define CONVOLUTION_VERSION_PATCH //p' include/convolution.h)
VERSION := $(MAJOR).$(MINOR).$(PATCH)
SONAME  := libconvolution.so.$(MAJOR)
PREFIX  ?= /usr/local
SWIFTC  ?= swiftc
CC      ?= cc

B := build
.DEFAULT_GOAL := all
.PHONY: all demo test install arm64 clean setup-demo setup-test
.DELETE_ON_ERROR:

all: $(B)/libconvolution.so

# ---------------------------------------------------------------------------------------------------------- the library

# Embedded Swift, one object per module. The Swift face (Sources/Convolution/API) is for the Swift package only.
SWIFTFLAGS = -parse-as-library -O -wmo -swift-version 6 -enable-experimental-feature Embedded -Xfrontend -function-sections \
             -Xcc -fPIC -I Sources/CConvolutionShims/include -I include
KERNELS := $(wildcard Sources/ConvolutionKernels/*.swift)
CORE    := $(wildcard Sources/Convolution/*.swift)
CHEADERS := include/convolution.h include/module.modulemap $(wildcard Sources/CConvolutionShims/include/*)

# The baseline comes first: where two objects hold the same weak function (Swift's runtime in miniature), the linker keeps the first.
OBJECTS := $(addprefix $(B)/,ConvolutionKernels.o Convolution.o ConvolutionAVX2.o ConvolutionAVX512.o)

$(B)/ConvolutionKernels.o: $(KERNELS) $(CHEADERS) Makefile
	@mkdir -p $(B)
	$(SWIFTC) $(SWIFTFLAGS) -module-name ConvolutionKernels -emit-module -emit-module-path $(B)/ConvolutionKernels.swiftmodule -c -o $@ $(KERNELS)

$(B)/ConvolutionAVX2.o: Sources/ConvolutionAVX2/AVX2.swift $(B)/ConvolutionKernels.o
	$(SWIFTC) $(SWIFTFLAGS) -I $(B) -Xcc -march=x86-64-v3 -module-name ConvolutionAVX2 \
	    -emit-module -emit-module-path $(B)/ConvolutionAVX2.swiftmodule -c -o $@ $<

$(B)/ConvolutionAVX512.o: Sources/ConvolutionAVX512/AVX512.swift $(B)/ConvolutionKernels.o
	$(SWIFTC) $(SWIFTFLAGS) -I $(B) -Xcc -march=x86-64-v4 -Xcc -mprefer-vector-width=512 -module-name ConvolutionAVX512 \
	    -emit-module -emit-module-path $(B)/ConvolutionAVX512.swiftmodule -c -o $@ $<

$(B)/Convolution.o: $(CORE) $(B)/ConvolutionAVX2.o $(B)/ConvolutionAVX512.o
	$(SWIFTC) $(SWIFTFLAGS) -I $(B) -module-name Convolution -c -o $@ $(CORE)

# Exactly the functions that the header declares are exported.
$(B)/exports.map: include/convolution.h
	@mkdir -p $(B)
	{ echo '{ global:'; $(CC) -E -P -x c $< | grep -oE '(convolution|conv2d|upsample2d)[a-z0-9_]* ?\(' | tr -d ' (' | sort -u | sed 's/$$/;/'; \
	  echo 'local: *; };'; } > $@

LINK = -shared -Wl,-soname,$(SONAME),--version-script=$(B)/exports.map,--gc-sections,-z,relro,-z,now,-z,noexecstack,--no-undefined -s -lm

$(B)/libconvolution.so: $(OBJECTS) $(B)/exports.map
	$(CC) -o $(B)/libconvolution.so.$(VERSION) $(OBJECTS) $(LINK)
	ln -sf libconvolution.so.$(VERSION) $(B)/$(SONAME)
	ln -sf $(SONAME) $@
