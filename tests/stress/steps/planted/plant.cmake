# cmake -DFAULT=file.cmake -DROOT=folder -DOUTPUT=file.cc -P plant.cmake: a copy of one source of the library with a fault in it.
# The fault's file sets `source`, `right` (a text that stands there once) and `wrong` (what stands there instead).

include(${FAULT})
file(READ ${ROOT}/${source} text)
string(FIND "${text}" "${right}" first)
string(FIND "${text}" "${right}" last REVERSE)
if(first EQUAL -1 OR NOT first EQUAL last)
  message(FATAL_ERROR "${source} does not hold this once, and so has no place for the fault of ${FAULT}:\n${right}")
endif()
string(REPLACE "${right}" "${wrong}" text "${text}")
file(WRITE ${OUTPUT} "${text}")
