# samovar_python_test(NAME LABEL file.py ENVIRONMENT...): one file under pytest, with the package of this build.

find_package(Python REQUIRED COMPONENTS Interpreter)

# An instrumented extension needs its runtime in an interpreter that was built without it; and libstdc++, or the runtime
# cannot intercept what the extension throws. Empty otherwise.
set(SAMOVAR_PYTHON_PRELOAD "")
if(SAMOVAR_SANITIZE)
  foreach(library IN ITEMS asan stdc++)
    execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=lib${library}.so
                    OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE)
    list(APPEND SAMOVAR_PYTHON_PRELOAD ${path})
  endforeach()
  list(JOIN SAMOVAR_PYTHON_PRELOAD ":" SAMOVAR_PYTHON_PRELOAD)
  set(SAMOVAR_SANITIZER_ENVIRONMENT
    LD_PRELOAD=${SAMOVAR_PYTHON_PRELOAD} ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:handle_segv=0:handle_abort=0)
endif()

function(samovar_python_test name label file)
  set(environment PYTHONPATH=${PROJECT_BINARY_DIR}/python PYTHONDONTWRITEBYTECODE=1 ${ARGN} ${SAMOVAR_SANITIZER_ENVIRONMENT})
  add_test(NAME ${label}.${name} COMMAND ${Python_EXECUTABLE} -m pytest -q -p no:cacheprovider ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set_tests_properties(${label}.${name} PROPERTIES LABELS ${label} TIMEOUT 300 ENVIRONMENT "${environment}")
endfunction()
