# What every target of the project is built with. Nothing here leaks into a user's build: all of it is PRIVATE to our targets.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)

find_package(Threads REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_program(FLATC flatc REQUIRED)

# Link-time optimisation of what is shipped (library and extension): the way of a call crosses three rooms. The objects are
# fat, so that tests link the same ones without it.
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT SAMOVAR_SANITIZE)
  set(samovar_lto_compile -flto=auto -ffat-lto-objects)
  set(samovar_lto_link -flto=auto)
endif()

# GCC 12 makes `rep movs` out of a short copy whose length it does not know, which takes 12 ns to begin; a payload is mostly such a one.
include(CheckCXXCompilerFlag)
set(samovar_short_copies -mmemcpy-strategy=unrolled_loop:64:noalign,libcall:-1:noalign)
check_cxx_compiler_flag(${samovar_short_copies} samovar_has_short_copies)
if(NOT samovar_has_short_copies)
  set(samovar_short_copies "")
endif()

# samovar_target(NAME): the house's compile options.
function(samovar_target name)
  target_compile_features(${name} PUBLIC cxx_std_20)
  set_target_properties(${name} PROPERTIES
    CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wno-missing-field-initializers
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>  # false on std::string in GCC 12 (GCC bug 105329)
    $<$<BOOL:${SAMOVAR_WERROR}>:-Werror> ${samovar_short_copies})
  target_link_options(${name} PRIVATE ${samovar_short_copies})  # which makes the code, where it optimises
  get_target_property(type ${name} TYPE)
  if(type STREQUAL "STATIC_LIBRARY" OR type STREQUAL "MODULE_LIBRARY")
    target_compile_options(${name} PRIVATE ${samovar_lto_compile})
  endif()
  if(type STREQUAL "SHARED_LIBRARY" OR type STREQUAL "MODULE_LIBRARY")
    target_link_options(${name} PRIVATE ${samovar_lto_link} -O3)
  endif()
  if(SAMOVAR_SANITIZE)
    target_compile_options(${name} PRIVATE -fsanitize=${SAMOVAR_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(${name} PRIVATE -fsanitize=${SAMOVAR_SANITIZE})
  endif()
  if(SAMOVAR_FUZZ) # what libFuzzer steers by; and what is undefined ends the run
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link -fno-sanitize-recover=all)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()
