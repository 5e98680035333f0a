// SAMOVAR_API: marks what the shared host library exports. Everything else is hidden.
#pragma once

#define SAMOVAR_API __attribute__((visibility("default")))
