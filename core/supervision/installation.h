// Installation: where this library's Python side lies. It follows from where the library itself lies, so a prefix can be moved.
//
//              the library                              the package samovar             the default interpreter
//   build      <build>/lib/                             <build>/python/                 <build>/python/default-interpreter
//   prefix     <libdir>/                                <libdir>/samovar/python/        …/samovar/python/default-interpreter
//   wheel      <env>/lib/python3.X/site-packages/samovar/_host/lib/    site-packages    <env>/bin/python3.X, else from $PATH
//
// <libdir> is lib, lib64 or lib/x86_64-linux-gnu.
#pragma once

#include <filesystem>
#include <string>

namespace samovar::core {

struct Installation {
  // To put in front of a worker's sys.path. Empty: its interpreter finds the package by itself (wheel), or there is none.
  std::string package_folder;

  // A path, or a name for $PATH to resolve. Empty: this installation knows none.
  std::string interpreter;
};

Installation find_installation(const std::filesystem::path& library_folder);

// The folder of the library or program that this code is linked into; empty if the system cannot tell.
std::filesystem::path library_folder();

}  // namespace samovar::core
