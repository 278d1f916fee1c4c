# Run at every build: writes the source with the version and the git hash, and touches it only when they have changed.
# cmake -DSOURCE=project -DVERSION=x.y.z -DOUTPUT=file -P write_version.cmake
set(hash "unknown")
find_package(Git QUIET)
if(GIT_FOUND)
  # Of a folder without git inside another one's, the other's says nothing.
  get_filename_component(parent ${SOURCE} DIRECTORY)
  set(ENV{GIT_CEILING_DIRECTORIES} ${parent})
  execute_process(COMMAND ${GIT_EXECUTABLE} describe --always --dirty --abbrev=12 --exclude=*
                  WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE described RESULT_VARIABLE failed
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed)
    set(hash ${described})
  endif()
endif()
set(text "#include \"sim/base/version.h\"\n
namespace alchemist {\n
std::string_view engine_version() { return \"${VERSION}\"; }
std::string_view engine_git_hash() { return \"${hash}\"; }\n
}  // namespace alchemist\n")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} old)
endif()
if(NOT "${old}" STREQUAL "${text}")
  file(WRITE ${OUTPUT} "${text}")
endif()
