# The usual names for cargo's commands. `make` builds the programs into target/release/ and leaves
# kvstore2pcsystem here as well.

CARGO ?= cargo
TARGET = $(or $(CARGO_TARGET_DIR),target)

.PHONY: all test bench demo clean

all:
	$(CARGO) build --release
	cp -f $(TARGET)/release/kvstore2pcsystem .

test:
	$(CARGO) test --release

bench:
	scripts/bench.sh

demo:
	$(CARGO) run --release

clean:
	$(CARGO) clean
	rm -f kvstore2pcsystem
