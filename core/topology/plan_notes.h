// What is worth knowing about a plan: what is left, what is shared, what is far. Pure.
#pragma once

#include <string>
#include <vector>

#include "core/topology/plan.h"

namespace samovar::core {

// Of a plan that is complete but for its notes.
std::vector<std::string> notes_on(const Plan& plan, const Machine& machine, const PlanRequest& request);

}  // namespace samovar::core
