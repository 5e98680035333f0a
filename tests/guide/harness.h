// What the guide's code leaves to its reader, and what it calls to say what is true.
#pragma once

#include <samovar/samovar.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <source_location>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

using namespace std::chrono_literals;

void expect(bool truth, std::source_location where = std::source_location::current());  // ends the test where it is not
void report(const samovar::Error& error);                                               // likewise, in any case
void fill(std::span<std::byte> frame);
void wait_readable(int fd);
void write_file(const std::string& name, std::string_view text);

samovar::Result<samovar::Pool> start_pool();  // of the guide
void run_guide(samovar::Pool& pool);          // all of its blocks, in order
