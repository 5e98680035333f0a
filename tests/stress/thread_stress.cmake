# Stress with workers that are threads: no process, no Python, so that ThreadSanitizer sees both ends of every lane.
add_library(samovar_thread_worker STATIC
  ${PROJECT_SOURCE_DIR}/tests/support/fleet_checks.h
  ${PROJECT_SOURCE_DIR}/tests/support/thread_batch.cc
  ${PROJECT_SOURCE_DIR}/tests/support/thread_event_loop.cc
  ${PROJECT_SOURCE_DIR}/tests/support/thread_questions.cc
  ${PROJECT_SOURCE_DIR}/tests/support/thread_worker.cc ${PROJECT_SOURCE_DIR}/tests/support/thread_worker.h)
samovar_target(samovar_thread_worker)
target_include_directories(samovar_thread_worker PUBLIC ${PROJECT_SOURCE_DIR} ${CONCURRENTQUEUE_INCLUDE_DIR})
target_link_libraries(samovar_thread_worker PUBLIC samovar_core samovar::ipc)

samovar_test(thread_dispatch_test stress ${CMAKE_CURRENT_LIST_DIR}/thread_dispatch_test.cc)
target_link_libraries(thread_dispatch_test PRIVATE samovar_thread_worker)

samovar_test(thread_stress_test stress ${CMAKE_CURRENT_LIST_DIR}/thread_stress_test.cc)
target_link_libraries(thread_stress_test PRIVATE samovar_thread_worker)

samovar_test(thread_async_test stress ${CMAKE_CURRENT_LIST_DIR}/thread_async_test.cc)
target_link_libraries(thread_async_test PRIVATE samovar_thread_worker)

samovar_test(thread_event_loop_test stress ${CMAKE_CURRENT_LIST_DIR}/thread_event_loop_test.cc)
target_link_libraries(thread_event_loop_test PRIVATE samovar_thread_worker)
samovar_test(thread_stream_test stress ${CMAKE_CURRENT_LIST_DIR}/thread_stream_test.cc)
target_link_libraries(thread_stream_test PRIVATE samovar_thread_worker)

samovar_test(thread_question_test stress ${CMAKE_CURRENT_LIST_DIR}/thread_question_test.cc)
target_link_libraries(thread_question_test PRIVATE samovar_thread_worker)

samovar_test(thread_batch_test stress ${CMAKE_CURRENT_LIST_DIR}/thread_batch_test.cc)
target_link_libraries(thread_batch_test PRIVATE samovar_thread_worker)

samovar_test(thread_breaker_test stress ${CMAKE_CURRENT_LIST_DIR}/thread_breaker_test.cc)
target_link_libraries(thread_breaker_test PRIVATE samovar_thread_worker)
