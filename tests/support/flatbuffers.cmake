# SAMOVAR_TEST_SCHEMAS: a folder with what flatc makes of tests/support/schemas, for C++, Python and samovar.schema(), and the
# methods that use it. Target samovar_test_schemas.

set(SAMOVAR_TEST_SCHEMAS ${PROJECT_BINARY_DIR}/tests/schemas)
if(NOT TARGET samovar_test_schemas)
  set(from ${PROJECT_SOURCE_DIR}/tests/support/schemas)
  set(made ${SAMOVAR_TEST_SCHEMAS}/answer.bfbs ${SAMOVAR_TEST_SCHEMAS}/shop.bfbs ${SAMOVAR_TEST_SCHEMAS}/answer_generated.h
           ${SAMOVAR_TEST_SCHEMAS}/fbs/Answer.py ${SAMOVAR_TEST_SCHEMAS}/flat.py)
  add_custom_command(
    OUTPUT ${made}
    COMMAND ${FLATC} --binary --schema --bfbs-comments -o ${SAMOVAR_TEST_SCHEMAS} ${from}/answer.fbs ${from}/shop.fbs
    COMMAND ${FLATC} --cpp --scoped-enums -o ${SAMOVAR_TEST_SCHEMAS} ${from}/answer.fbs
    COMMAND ${FLATC} --python -o ${SAMOVAR_TEST_SCHEMAS} ${from}/answer.fbs
    COMMAND ${CMAKE_COMMAND} -E copy ${PROJECT_SOURCE_DIR}/tests/support/modules/flat.py ${SAMOVAR_TEST_SCHEMAS}/flat.py
    DEPENDS ${from}/answer.fbs ${from}/shop.fbs ${PROJECT_SOURCE_DIR}/tests/support/modules/flat.py
    COMMENT "flatc answer.fbs shop.fbs"
    VERBATIM)
  add_custom_target(samovar_test_schemas ALL DEPENDS ${made})
endif()
