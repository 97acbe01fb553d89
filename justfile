# `just` lists these. Nothing here is the only way: each recipe is one command you can type.

# list the recipes
default:
    @just --list --unsorted

# formatting, lints and the house rules: what to run before a commit
check:
    cargo fmt --all --check && cargo clippy --all-targets -- -D warnings && cargo test --quiet --test architecture

# every suite, on SQLite and on a throwaway PostgreSQL
test *ARGS:
    scripts/test {{ ARGS }}

# every suite, on SQLite only: needs nothing but Rust
test-sqlite *ARGS:
    scripts/test --sqlite-only {{ ARGS }}

# the crash rig alone: kills under load, at every sync, at every single write (strace), full and failing disks; RUNS times
rig RUNS="5":
    #!/usr/bin/env bash
    set -euo pipefail
    for run in $(seq {{ RUNS }}); do
      echo "== run $run of {{ RUNS }}"
      cargo test --test it crash:: -- --nocapture --test-threads=1 --skip killed_at_writes | grep -v '^warning'
    done
    STOCKHUB_RIG_STEP=1 cargo test --test it killed_at_writes -- --nocapture

# Chromium against a real hub; WORDS choose tests by name, STOCKHUB_SHOTS=folder takes pictures
browser *WORDS:
    cargo build --bin stockhub
    npm install --silent --no-audit --no-fund --ignore-scripts --no-package-lock --prefix tests/browser
    node tests/browser/run.mjs {{ WORDS }}

# a long campaign: so many kills (a hundred webhooks for each), then so many power cuts
campaign KILLS="200" CUTS="100":
    STOCKHUB_RIG_KILLS={{ KILLS }} cargo test --test it two_thousand_webhooks_survive -- --nocapture
    STOCKHUB_RIG_CUTS={{ CUTS }} cargo test --test it a_power_cut_loses_nothing -- --nocapture

# seven simulated shops with the real ones' limits under all chaos knobs: so many products, minutes of selling (ten times as fast), seed
fair PRODUCTS="500" MINUTES="20" SEED="1":
    STOCKHUB_FAIR="{{ PRODUCTS }} {{ MINUTES }}" STOCKHUB_FAIR_SEED={{ SEED }} cargo test --test it seven_shops -- --nocapture

# rewrite the committed copies that tests compare with; read the diff before committing it
bless:
    STOCKHUB_BLESS=1 cargo test --no-fail-fast

# the hub, with its default configuration unless told otherwise
run *ARGS:
    cargo run --release -- serve {{ ARGS }}

# the hub, simulated marketplaces, shoppers and a storefront, on loopback
demo *ARGS:
    cargo run --release -- demo {{ ARGS }}

# the figures of the README, measured on this machine
bench *ARGS:
    cargo run --release -- bench {{ ARGS }}

# the fan-out beside other servers (docs/performance.md): needs two cores, taskset, Node with npm, nginx with nchan
bench-fanout *ARGS="run":
    cargo build --release --bin stockhub
    npm install --silent --no-audit --no-fund --ignore-scripts --no-package-lock --prefix benches/fanout/peers
    cargo bench --bench fanout -- {{ ARGS }}

# exactly what continuous integration runs
ci:
    .ci/run
