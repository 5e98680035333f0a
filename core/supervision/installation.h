// Installation: where this library's Python side lies. That follows from where the library itself lies, so a prefix can move.
//
//            the library                      the package samovar           the default interpreter is in, or is
//   build    <build>/lib/                     <build>/python/               <build>/python/default-interpreter
//   prefix   <libdir>/                        <libdir>/samovar/python/      <libdir>/samovar/python/default-interpreter
//   wheel    <site>/samovar/_host/lib/        <site>                        <env>/bin/python3.X, else python3.X of $PATH
//
// <site> is <env>/lib/python3.X/site-packages; <libdir> is lib, lib64 or lib/x86_64-linux-gnu.
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
