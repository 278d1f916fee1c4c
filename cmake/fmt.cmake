# The target alchemist_fmt: fmt, compiled once. Debian has it only as a shared library, which machines that lend a GPU
# lack, or header-only, which compiles its formatting anew in each of our files: three seconds for most of them.
# fmt_library.cc names templates of fmt 9; other versions are taken header-only.
find_package(fmt REQUIRED)
if(fmt_VERSION VERSION_GREATER_EQUAL 9 AND fmt_VERSION VERSION_LESS 10)
  get_target_property(fmt_includes fmt::fmt-header-only INTERFACE_INCLUDE_DIRECTORIES)
  add_library(alchemist_fmt STATIC ${CMAKE_CURRENT_LIST_DIR}/fmt_library.cc)
  target_include_directories(alchemist_fmt SYSTEM PUBLIC ${fmt_includes})
else()
  add_library(alchemist_fmt INTERFACE)
  target_link_libraries(alchemist_fmt INTERFACE fmt::fmt-header-only)
endif()
