# cuDNN's attention is one choice of a device, and an optional one: it takes cuDNN's header and its C++ front end, which is
# headers alone (tools/get_cudnn_frontend); cuDNN itself is opened at run time. Sets ALCHEMIST_HAS_CUDNN.
set(ALCHEMIST_HAS_CUDNN OFF)
if(ALCHEMIST_HAS_CUDA)
  find_path(ALCHEMIST_CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_path(ALCHEMIST_CUDNN_FRONTEND_INCLUDE cudnn_frontend.h HINTS ${PROJECT_SOURCE_DIR}/build/cudnn_frontend/include)
  mark_as_advanced(ALCHEMIST_CUDNN_INCLUDE ALCHEMIST_CUDNN_FRONTEND_INCLUDE)
  if(ALCHEMIST_CUDNN_INCLUDE AND ALCHEMIST_CUDNN_FRONTEND_INCLUDE)
    set(ALCHEMIST_HAS_CUDNN ON)
    add_library(cudnn_frontend INTERFACE)
    target_include_directories(cudnn_frontend SYSTEM INTERFACE ${ALCHEMIST_CUDNN_FRONTEND_INCLUDE} ${ALCHEMIST_CUDNN_INCLUDE})
    target_compile_definitions(cudnn_frontend INTERFACE NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
                               NV_CUDNN_FRONTEND_SKIP_JSON_LIB NV_CUDNN_FRONTEND_DISABLE_LOGGING)
    message(STATUS "cuDNN's attention: front end in ${ALCHEMIST_CUDNN_FRONTEND_INCLUDE}")
  else()
    message(STATUS "cuDNN's attention: left out, no cudnn.h or no cudnn_frontend.h (tools/get_cudnn_frontend fetches it)")
  endif()
endif()
