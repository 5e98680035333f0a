#!/bin/sh
# run.sh BUILD SECONDS [NAME...]: each fuzz target (or those named) under libFuzzer for SECONDS, one after the other.
#
# What is learnt stays in BUILD/fuzz/NAME and is built on by the next run. An input that shows a bug is left in
# BUILD/fuzz/found and said in hex: save that as tests/fuzz/corpus/NAME/WHAT_IT_SHOWS.hex.
set -eu

build=$1
seconds=$2
shift 2
work=$build/fuzz
mkdir -p "$work/found"

if [ $# -eq 0 ]; then
  for seeds in "$build"/tests/fuzz/seeds/*; do set -- "$@" "${seeds##*/}"; done
fi

# libpython is not built for LeakSanitizer; what it keeps is no leak. And a caught bad_alloc is an answer.
for name in "$@"; do
  leaks=1
  case $name in python_*) leaks=0 ;; esac
  mkdir -p "$work/$name"
  echo "fuzz: $name for $seconds s ..."
  if ! ASAN_OPTIONS=detect_leaks=$leaks:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
    nice "$build/bin/samovar_fuzz_$name" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=4096 \
    -detect_leaks=$leaks -print_final_stats=1 -artifact_prefix="$work/found/$name-" \
    "$work/$name" "$build/tests/fuzz/seeds/$name" >"$work/$name.log" 2>&1; then
    tail -n 60 "$work/$name.log" >&2
    echo "fuzz: $name found something:" >&2
    for input in "$work/found/$name-"*; do
      echo "$input" >&2
      od -An -v -tx1 "$input" >&2
    done
    exit 1
  fi
  sed -n -e 's/^stat::\([a-z_]*\): */  \1 /p' "$work/$name.log" | grep -E 'number_of|average|peak'
done
