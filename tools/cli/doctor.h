// What `samovar doctor` looks at: each examination tries a thing that a pool needs, rather than asking for a version number, and
// adds what it found. Threads: one; an examination may start one of its own, and ends it.
#pragma once

#include <string>
#include <vector>

#include <samovar/options.h>

namespace samovar::cli {

enum class Verdict {
  ok,
  note,  // worth knowing; nothing follows from it
  warn,  // a pool runs, and something about it will be worse than it could be
  fail,  // no pool runs here
};

struct Finding {
  Verdict verdict = Verdict::ok;
  std::string section;  // "kernel", "machine", "python", "pool"
  std::string subject;  // "pidfd"
  std::string what;     // what was seen
  std::string follows;  // what follows from it and what helps; empty where all is well
};

using Findings = std::vector<Finding>;

void examine_kernel(Findings& findings);
void examine_limits(Findings& findings, const Options& options);
void examine_machine(Findings& findings);

// Starts the interpreter that a pool would start. Returns whether a pool may be tried.
bool examine_python(Findings& findings, const Options& options);

// Starts a pool and calls it.
void examine_pool(Findings& findings, const Options& options);

}  // namespace samovar::cli
