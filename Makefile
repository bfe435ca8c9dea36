# make              build/libconvolution.so, from the sources of the Swift package, in Embedded Swift: it needs libc and libm alone
# make demo         builds and runs every example and prints a table of all replicated results
# make test         all tests; ends with "N passed, N failed"
# make bench        verifies and times every layer of Sources/ConvolutionBench/suite.json; BENCH="--help" lists its options
# make bench-peers  ours and eight other libraries side by side (some GB, in PEERS=DIR outside the tree); BENCH_PEERS="--quick"
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
CFLAGS  ?= -std=c99 -O2 -Wall -Wextra -pedantic
CFLAGS  += -Iinclude

B := build
.DEFAULT_GOAL := all
.PHONY: all demo test bench bench-peers install arm64 clean
.SECONDARY:
.DELETE_ON_ERROR:

all: $(B)/libconvolution.so

# ---------------------------------------------------------------------------------------------------------- the library

# Embedded Swift, one object per module. The Swift face (Sources/Convolution/API) is for the Swift package only.
SWIFTFLAGS = -parse-as-library $(OPTIMIZE) -wmo -swift-version 6 -enable-experimental-feature Embedded -Xfrontend -function-sections \
             -Xcc -fPIC -I Sources/CConvolutionShims/include -I include -I $(@D) $(TARGETFLAGS)
KERNELS := $(wildcard Sources/ConvolutionKernels/*.swift)
CORE    := $(filter-out Sources/Convolution/API/%,$(wildcard Sources/Convolution/*/*.swift))
HEADERS := include/convolution.h include/module.modulemap $(wildcard Sources/CConvolutionShims/include/*)
# The compiler leaves a file alone that would be the same: hence the touch.
module   = $(SWIFTC) $(SWIFTFLAGS) -module-name $(basename $(@F)) -emit-module -emit-module-path $(basename $@).swiftmodule \
             -c -o $@ $(1) && touch $@

# The baseline comes first: where two objects hold the same weak function (Swift's runtime in miniature), the linker keeps the first.
OBJECTS := $(addprefix $(B)/,ConvolutionKernels.o Convolution.o ConvolutionAVX2.o ConvolutionAVX512.o)

# Functions begin with a cache line, 4 kB: where they fell, some loops took up to a sixth longer in one build than in the next.
# Kernels keep nothing on the stack but registers, in arrays of constant size: to guard it took 11 kB, and 1 % of short tiles.
KERNEL := -Xfrontend -disable-stack-protector
%/ConvolutionKernels.o: $(KERNELS) $(HEADERS) Makefile
	@mkdir -p $(@D)
	$(call module,$(KERNEL) -Xllvm -align-all-functions=6 $(KERNELS))

%/ConvolutionAVX2.o: Sources/ConvolutionAVX2/AVX2.swift %/ConvolutionKernels.o
	$(call module,$(KERNEL) -Xcc -march=x86-64-v3 $<)

%/ConvolutionAVX512.o: Sources/ConvolutionAVX512/AVX512.swift %/ConvolutionKernels.o
	$(call module,$(KERNEL) -Xcc -march=x86-64-v4 -Xcc -mprefer-vector-width=512 $<)

ifneq (,$(filter x86_64 amd64,$(shell uname -m)))
$(B)/Convolution.o: $(B)/ConvolutionAVX2.o $(B)/ConvolutionAVX512.o
else
OBJECTS := $(filter-out %AVX2.o %AVX512.o,$(OBJECTS))
endif

# What calls the kernels is small rather than fast, save what an execution passes (@_optimize(speed)): 50 kB, at equal speed.
# Its loops begin where they fall: their padding took 7 kB.
OPTIMIZE := -O
%/Convolution.o: private OPTIMIZE := -Osize
%/Convolution.o: $(CORE) %/ConvolutionKernels.o
	$(call module,-Xllvm -max-bytes-for-alignment=1 $(CORE))

# Exactly the functions that the header declares are exported.
$(B)/exports.map: include/convolution.h
	@mkdir -p $(B)
	{ echo '{ global:'; $(CC) -E -P -x c $< | grep -oE '(convolution|conv2d|upsample2d)[a-z0-9_]* ?\(' | tr -d ' (' | sort -u | sed 's/$$/;/'; \
	  echo 'local: *; };'; } > $@

LINK = -shared -Wl,-soname,$(SONAME),--version-script=$(B)/exports.map,--gc-sections,-z,relro,-z,now,-z,noexecstack,--no-undefined -s

$(B)/libconvolution.so: $(OBJECTS) $(B)/exports.map
	$(CC) -o $@.$(VERSION) $(OBJECTS) $(LINK) -lm
	ln -sf $(@F).$(VERSION) $(@D)/$(SONAME)
	ln -sf $(SONAME) $@

# --------------------------------------------------------------------------------------------------------------- arm64

# There is no Swift for arm64 Linux needed: Embedded Swift makes plain objects, and Debian's cross compiler links them.
ARM64CC ?= aarch64-linux-gnu-gcc
ARM64OBJECTS := $(addprefix $(B)/arm64/,ConvolutionKernels.o Convolution.o)
EXAMPLES := $(basename $(notdir $(wildcard c-examples/[0-9]*.c)))
ARM64EXAMPLES := $(addprefix $(B)/arm64/,$(filter-out %-picture %-libffi,$(EXAMPLES)))

$(ARM64OBJECTS): TARGETFLAGS = -target aarch64-none-none-elf -Xcc -isystem -Xcc /usr/aarch64-linux-gnu/include

$(B)/arm64/libconvolution.so: $(ARM64OBJECTS) $(B)/exports.map
	$(ARM64CC) -o $@.$(VERSION) $(ARM64OBJECTS) $(LINK) -lm
	ln -sf $(@F).$(VERSION) $(@D)/$(SONAME)
	ln -sf $(SONAME) $@

$(B)/arm64/%: c-examples/%.c c-examples/check.h $(B)/arm64/libconvolution.so
	$(ARM64CC) $(CFLAGS) -o $@ $< -L $(@D) -Wl,-rpath,'$$ORIGIN' -lconvolution -lm

arm64: $(B)/arm64/libconvolution.so $(ARM64EXAMPLES)

# ----------------------------------------------------------------------------------------------------------- benchmark

# An ordinary Swift program over the library that users load, so that it measures what they get.
$(B)/convolution-bench: $(wildcard Sources/ConvolutionBench/*.swift Sources/CRoofline/include/*) $(B)/libconvolution.so
	$(SWIFTC) -O -wmo -swift-version 6 -parse-as-library -module-name ConvolutionBench -I include -I Sources/CRoofline/include \
	  $(abspath $(filter %.swift,$^)) -o $@ -L $(B) -lconvolution -Xlinker -rpath -Xlinker '$$ORIGIN'

BENCH ?=
bench: $(B)/convolution-bench
	@$< $(BENCH)

# Where the other libraries are installed. Figures go to build/peers.json, the picture to build/peers.svg.
PEERS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/convolution-peers
BENCH_PEERS ?=
bench-peers: $(B)/libconvolution.so
	@Sources/ConvolutionBench/peers/setup.sh $(PEERS)
	@python3 -B Sources/ConvolutionBench/peers/bench_peers.py --home $(abspath $(PEERS)) --json $(B)/peers.json \
	  --svg $(B)/peers.svg $(BENCH_PEERS)

# ------------------------------------------------------------------------------------------------------- demo and tests

BINARIES := $(addprefix $(B)/examples/,$(EXAMPLES))
$(B)/examples/%-picture: LIBS = $$(pkg-config --cflags --libs libpng)
$(B)/examples/%-libffi: LIBS = $$(pkg-config --cflags --libs libffi) -ldl

$(B)/examples/%: c-examples/%.c $(wildcard c-examples/*.h) $(B)/libconvolution.so
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $< -L $(B) -Wl,-rpath,'$$ORIGIN/..' -lconvolution $(LIBS) -lm

setup-%:
	@.ci/setup $*

demo: setup-demo
	@echo '== building the library and the examples'
	@$(MAKE) --no-print-directory $(BINARIES)
	@rm -f $(B)/report.tsv; mkdir -p $(B)/pictures
	@for example in $(BINARIES); do \
	    echo "== $$example"; \
	    case $$example in *-picture) set -- c-examples/images/astronaut.png $(B)/pictures ;; *) set -- ;; esac; \
	    CONVOLUTION_REPORT=$(B)/report.tsv CONVOLUTION_LIBRARY=$(B)/libconvolution.so $$example "$$@" || exit 1; \
	done
	@for example in c-examples/ctypes/[0-9]*.py; do \
	    echo "== $$example"; CONVOLUTION_REPORT=$(B)/report.tsv $(B)/venv/bin/python $$example || exit 1; \
	done
	@echo '== every replicated result'
	@c-examples/report.sh $(B)/report.tsv

test: setup-test
	@echo '== building the library, the examples, the benchmark and the arm64 build'
	@$(MAKE) --no-print-directory all arm64 $(BINARIES) $(B)/convolution-bench
	@echo '== building the Swift package'
	@swift build -q
	@Tests/run.sh

# ------------------------------------------------------------------------------------------------------------- install

$(B)/convolution.pc: include/convolution.h Makefile
	@mkdir -p $(B)
	printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' 'Name: convolution' \
	    'Description: 2-D convolution, transposed convolution and upsampling' 'Version: $(VERSION)' \
	    'Libs: -L$${libdir} -lconvolution' 'Libs.private: -lm' 'Cflags: -I$${includedir}' > $@

.PHONY: $(B)/convolution.pc
install: $(B)/libconvolution.so $(B)/convolution.pc
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 include/convolution.h $(DESTDIR)$(PREFIX)/include/
	install -m 755 $(B)/libconvolution.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/
	ln -sf libconvolution.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(PREFIX)/lib/libconvolution.so
	install -m 644 $(B)/convolution.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/

clean:
	rm -rf $(B) .build
