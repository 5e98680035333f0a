// What `samovar topology` prints of a machine and of a plan. Pure.
#pragma once

#include <string>

#include "core/topology/machine.h"
#include "core/topology/plan.h"

namespace samovar::cli {

// Packages, nodes, caches; the CPUs of each core below each other, each with who is kept there.
std::string draw_machine(const core::Machine& machine, const core::Plan& plan);

// The plan in words, and its notes.
std::string tell_plan(const core::Plan& plan);

std::string json_of(const core::Machine& machine, const core::Plan& plan);

}  // namespace samovar::cli
