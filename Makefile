# The usual names for cargo's commands. `make` builds the programs into target/release/.

CARGO ?= cargo

.PHONY: all test bench demo clean

all:
	$(CARGO) build --release

test:
	$(CARGO) test --release

bench:
	scripts/bench.sh

demo:
	$(CARGO) run --release

clean:
	$(CARGO) clean
