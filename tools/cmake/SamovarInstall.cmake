# `cmake --install`: every file below one prefix, found from each other by relative paths, so that the prefix can be moved.
#
#   bin/samovar                              the command                                        component samovar_command
#   <libdir>/libsamovar.so.0.1               the library                                        component samovar_library
#   <libdir>/samovar/python/                 the Python package, and the default interpreter    component samovar_python
#   …/samovar/python/samovar/_native.*.so    the extension, one for each Python it is built for  component samovar_extension
#   include/, <libdir>/cmake/                what a build needs                                 component samovar_development
#   <libdir>/pkgconfig/, libsamovar.so       the same by pkg-config and -lsamovar               component samovar_pkgconfig
#   share/samovar/                           examples, what the demo and the benchmark run      component samovar_command
#
# A wheel has the same, but for pkg-config's part, below site-packages/samovar/_host, and the package around it. It can hold no
# symbolic links, so its library has one name.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(development COMPONENT samovar_development)
set(header_dir ${CMAKE_INSTALL_INCLUDEDIR})
set(third_party_dir ${header_dir}/samovar/third_party)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/samovar)

# The library and its headers. tl/expected.hpp (CC0) comes with them, in a folder of its own that comes
# last among a user's include folders: who has another tl::expected uses that one, under the same include guard.
find_path(TL_EXPECTED_INCLUDE_DIR tl/expected.hpp HINTS $<TARGET_PROPERTY:tl::expected,INTERFACE_INCLUDE_DIRECTORIES> REQUIRED)
mark_as_advanced(TL_EXPECTED_INCLUDE_DIR)
target_include_directories(samovar INTERFACE
  $<INSTALL_INTERFACE:${header_dir}> # of the file set, too, for a user's CMake before 3.23
  $<INSTALL_INTERFACE:${third_party_dir}>)
install(FILES ${TL_EXPECTED_INCLUDE_DIR}/tl/expected.hpp DESTINATION ${third_party_dir}/tl ${development})
if(SKBUILD)
  get_target_property(soversion samovar SOVERSION)
  set_target_properties(samovar PROPERTIES VERSION ${soversion})
endif()
install(TARGETS samovar EXPORT samovarTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT samovar_library NAMELINK_COMPONENT samovar_pkgconfig
  FILE_SET HEADERS DESTINATION ${header_dir} ${development})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT samovar_library)

# find_package(samovar). While the version is 0.x, a minor version may change the interface.
install(EXPORT samovarTargets NAMESPACE samovar:: DESTINATION ${package_dir} ${development})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/samovarConfig.cmake.in ${PROJECT_BINARY_DIR}/samovarConfig.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/samovarConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/samovarConfig.cmake ${PROJECT_BINARY_DIR}/samovarConfigVersion.cmake
  DESTINATION ${package_dir} ${development})

# pkg-config
file(RELATIVE_PATH prefix_of_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH libdir_of_prefix ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_LIBDIR})
string(REGEX REPLACE "/$" "" prefix_of_pc "${prefix_of_pc}")
file(RELATIVE_PATH includedir_of_prefix ${CMAKE_INSTALL_PREFIX} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(${CMAKE_CURRENT_LIST_DIR}/samovar.pc.in ${PROJECT_BINARY_DIR}/samovar.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/samovar.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT samovar_pkgconfig)

# The Python side. The extension alone can be added to a prefix once more, from a build for another Python.
if(SAMOVAR_PYTHON_EXT)
  if(SKBUILD)
    set(python_dir ${SKBUILD_PLATLIB_DIR}) # scikit-build-core puts the package there, and its installer knows the interpreter
  else()
    set(python_dir ${CMAKE_INSTALL_LIBDIR}/samovar/python)
    get_target_property(sources samovar_python SAMOVAR_PACKAGE_SOURCES)
    install(FILES ${sources} DESTINATION ${python_dir}/samovar COMPONENT samovar_python)
    # Not the virtual environment that a build has for itself: what is installed must not depend on it.
    set(SAMOVAR_DEFAULT_PYTHON "" CACHE FILEPATH
      "Default interpreter of the installed library; empty: the one that the extension is built for, outside of any venv")
    set(default_python ${SAMOVAR_DEFAULT_PYTHON})
    if(NOT default_python)
      find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
      execute_process(COMMAND ${Python_EXECUTABLE} -c "import sys; print(sys._base_executable)"
        OUTPUT_VARIABLE default_python OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    endif()
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/installed/default-interpreter CONTENT "${default_python}\n")
    install(FILES ${PROJECT_BINARY_DIR}/installed/default-interpreter DESTINATION ${python_dir} COMPONENT samovar_python)
  endif()
  install(TARGETS samovar_native LIBRARY DESTINATION ${python_dir}/samovar COMPONENT samovar_extension)
endif()

# The command, and what it reads.
if(SAMOVAR_TOOLS)
  file(RELATIVE_PATH libdir_of_bin ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(samovar_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${libdir_of_bin}")
  install(TARGETS samovar_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT samovar_command)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/tools/examples DESTINATION ${CMAKE_INSTALL_DATADIR}/samovar
    COMPONENT samovar_command PATTERN __pycache__ EXCLUDE)
  if(SAMOVAR_BENCH)
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/bench/peers DESTINATION ${CMAKE_INSTALL_DATADIR}/samovar/bench
      COMPONENT samovar_command PATTERN __pycache__ EXCLUDE)
    install(DIRECTORY ${PROJECT_BINARY_DIR}/bench/schemas/ DESTINATION ${CMAKE_INSTALL_DATADIR}/samovar/bench/compiled_schemas
      COMPONENT samovar_command PATTERN __pycache__ EXCLUDE)
    foreach(module busy.py noop.py model.py grow_forest.py payload_methods.py)
      install(FILES ${PROJECT_SOURCE_DIR}/bench/whole/${module} DESTINATION ${CMAKE_INSTALL_DATADIR}/samovar/bench/whole
        COMPONENT samovar_command)
    endforeach()
  endif()
endif()
